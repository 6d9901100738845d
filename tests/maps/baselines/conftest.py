from __future__ import annotations

import pytest
import torch

import summand
from tests import tiny


@pytest.fixture(scope="package")
def small() -> summand.Model:
    """A class-token ViT with three layers and a 4 × 4 grid, in fp64, parameters that need no gradient."""
    return summand.wrap(tiny.clip(vision={"layers": 3}).double().requires_grad_(False))


@pytest.fixture(scope="package")
def small_pixels() -> torch.Tensor:
    return torch.randn(3, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="package")
def texts() -> torch.Tensor:
    return torch.randn(2, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
