"""Effects and the trace of one and the same pass, of whichever kind was asked for."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..towers import Trace
from .ablated import Needs
from .effects import Effects
from .pairs import pairs_and_trace
from .second_order import second_orders


def seen(tower: Any, pixels: Tensor, asked: Needs) -> tuple[dict[Any, Effects], Trace]:
    """Effects by layer or autoencoder, under None those of an attention pool's pairs; and the trace of their pass."""
    if asked.pairs:
        found, trace = pairs_and_trace(tower, pixels)
        return {None: found}, trace
    if asked.layers or asked.latents:
        return second_orders(tower, pixels, asked.layers, neurons=asked.neurons, latents=asked.latents)
    return {}, tower.run(pixels)
