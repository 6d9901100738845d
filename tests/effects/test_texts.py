"""What is asked of many texts without the tensor of every head and token: parts and sums of `toward`."""

from __future__ import annotations

import pytest
import torch

import summand
from tests.towers.test_towers import small_resnet, small_vit


@pytest.fixture(params=["vit", "averaged", "published", "resnet"])
def parts(request):
    if request.param == "resnet":
        return summand.wrap(small_resnet()).decompose(torch.randn(2, 3, 64, 64).double())
    model = summand.wrap(small_vit(**({"pool_type": "avg"} if request.param == "averaged" else {})))
    return model.decompose(torch.randn(2, 3, 32, 32).double(), parity="paper" if request.param == "published" else None)


def test_sums_and_parts_of_toward(parts):
    texts = torch.randn(5, parts.total().shape[1]).double()
    whole = parts.toward(texts)  # [image, layer, head, token, text]
    near = {"rtol": 0, "atol": 1e-12 * float(whole.abs().sum(dim=3).max())}
    torch.testing.assert_close(parts.heads_toward(texts), whole.sum(dim=3), **near)
    last = whole.shape[1] - 1
    for layer, head in ((0, 0), (last, 1)):
        torch.testing.assert_close(parts.head_tokens_toward(texts, layer, head), whole[:, layer, head], **near)
    values, which = parts.top_tokens(texts, 3)
    every = whole.sum(dim=(1, 2)).transpose(1, 2)
    torch.testing.assert_close(values, every.sort(dim=-1, descending=True).values[..., :3], **near)
    torch.testing.assert_close(values, every.gather(-1, which), **near)


def test_what_does_not_exist_is_said(parts):
    texts = torch.randn(5, parts.total().shape[1]).double()
    with pytest.raises(summand.SummandError, match="heads 0 to"):
        parts.head_tokens_toward(texts, 0, 99)
    with pytest.raises(summand.SummandError, match="layers 0 to"):
        parts.head_tokens_toward(texts, 99, 0)
    with pytest.raises(summand.SummandError, match="count must be"):
        parts.top_tokens(texts, 0)


def test_texts_that_require_a_gradient(parts):
    texts = torch.randn(2, parts.total().shape[1]).double().requires_grad_()
    parts.heads_toward(texts).square().sum().backward()
    got, texts.grad = texts.grad, None
    parts.toward(texts).sum(dim=3).square().sum().backward()
    torch.testing.assert_close(got, texts.grad, rtol=1e-9, atol=1e-9)
