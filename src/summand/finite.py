"""Whether numbers are finite, in one pass over them."""

from __future__ import annotations

import torch
from torch import Tensor


def all_finite(numbers: Tensor) -> bool:
    """Whether none is NaN or infinite. A finite sum has only finite parts; one that is not may have overflown, so only
    then is every number looked at."""
    wide = torch.promote_types(numbers.dtype, torch.float32)
    return bool(torch.isfinite(numbers.sum(dtype=wide))) or bool(torch.isfinite(numbers).all())
