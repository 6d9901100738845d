"""Products in half precision keep the digits of fp32, where those as they are rounded lose them."""

from __future__ import annotations

import pytest
import torch

import summand
from summand.towers.products import exact_product, mixed_product, rounded_product
from tests.border import CLIP
from tests.test_operations import TEXT, VISION

KEPT = {torch.bfloat16: 3e-5, torch.float16: 2e-6}


def off(got: torch.Tensor, want: torch.Tensor) -> float:
    return float((got.double() - want).abs().max() / want.abs().max())


@pytest.mark.parametrize("dtype", KEPT)
def test_both_factors_in_half_precision(dtype):
    left, right = torch.randn(3, 7, 90).to(dtype), torch.randn(3, 90, 5).to(dtype)
    want = left.double() @ right.double()
    assert exact_product(left, right).dtype == torch.float32
    assert off(exact_product(left, right), want) < KEPT[dtype] < off(rounded_product(left, right), want)


@pytest.mark.parametrize("dtype", KEPT)
def test_one_factor_in_half_precision(dtype):
    rows, right = torch.randn(3, 7, 90).softmax(dim=-1), torch.randn(3, 90, 5).to(dtype)
    want = rows.double() @ right.double()
    assert mixed_product(rows, right).dtype == torch.float32
    assert off(mixed_product(rows, right), want) < KEPT[dtype] < off(rounded_product(rows.to(dtype), right), want)


@pytest.mark.parametrize("dtype", KEPT)
def test_a_factor_that_lies_column_by_column(dtype):
    rows, right = torch.randn(3, 90, 7).softmax(dim=1).transpose(1, 2), torch.randn(3, 90, 5).to(dtype)
    assert off(mixed_product(rows, right), rows.double() @ right.double()) < KEPT[dtype]


@pytest.mark.parametrize(("dtype", "allowed"), [(torch.bfloat16, 1e-2), (torch.float16, 2e-3), (torch.float32, 1e-5)])
def test_a_sum_is_off_by_the_models_own_rounding(dtype, allowed):
    torch.manual_seed(0)
    model = summand.wrap(CLIP(64, VISION, TEXT).eval().to(dtype))
    parts = model.decompose(torch.randn(4, 3, 56, 56).to(dtype))
    assert parts.residual() <= allowed
    texts = torch.randn(9, 64)
    whole = parts.heads().sum(dim=(1, 2)) @ texts.T
    assert off(parts.tokens_toward(texts).sum(dim=1), whole.double()) <= allowed
