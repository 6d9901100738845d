"""What is drawn or scored is finite; else the weight is named that is not."""

from __future__ import annotations

from torch import Tensor

from ..errors import SummandError, listed
from ..models import Model
from ..towers.finite import all_finite, broken_weights


def check_sound(model: Model, numbers: Tensor, what: str) -> None:
    """Raises `SummandError` unless the numbers are finite, which names the model's weights that are not. what: the
    numbers, for a reader, as "the map"."""
    if all_finite(numbers):
        return
    names = list(broken_weights(model.clip))
    if names:
        raise SummandError(
            f"{what} holds NaN or infinite numbers, because weights of {model.name} do: {listed(names, most=4)}; load "
            f"sound weights, or train them again"
        )
    raise SummandError(
        f"{what} holds NaN or infinite numbers, though no weight of {model.name} does: {model.dtype} overflows on the "
        f"way; load the model with precision='fp32'"
    )
