"""Units that write something else than they do: the one mechanism of ablations and steering, within the one pass.

A unit's effect is coefficients c times fixed directions; an edited one is k c + a. k = 0 and a = c̄ hold it at its mean,
k = 1 − s and a = s c̄ move it there by a share, k = 2 doubles it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ...effects.ablated import shares
from ...effects.effects import Effects
from ...towers import Trace


def heads_moved(
    trace: Trace,
    heads: Sequence[tuple[int, int]],
    keep: Sequence[float],
    put: Float[Tensor, "head channel"],
) -> Trace:
    """Σ_i a_i v_i of these heads (layer, head) → k Σ_i a_i v_i + a. keep: k; put: a, as coefficients, behind 1/σ."""
    chosen = slice(None), [layer for layer, _ in heads], [head for _, head in heads]
    values, put = trace.values.clone(), put.to(trace.values) / trace.scale[:, None, None]
    if any(keep):
        put = put + values[chosen] * torch.tensor(keep).to(values)[:, None]
    values[chosen] = put
    return trace.moved(values)


def excess(
    effects: Effects, left: dict[tuple[int, int], float], keep: Tensor, put: Float[Tensor, "neuron path"]
) -> Float[Tensor, "image neuron path"]:
    """c − (k c + a), what neurons (or latents) write too much through every later head. left: of these heads, where an
    edit behind this one moves them: a goes through them as c does."""
    found = effects.coefficients
    return (1 - keep.to(found))[:, None] * found - put.to(found) * shares(left, effects)


def neurons_moved(
    trace: Trace,
    layer: int,
    excess: Float[Tensor, "image neuron path"],
    reads: Float[Tensor, "neuron path channel"],
    heads: int,
) -> Trace:
    """Without what neurons of a layer write too much. What a neuron adds through a later head it adds to the values of
    that head (paper A, Eq. 5): Σ_i a_i v_i loses Σ_n excess_n w_n γ W_V of the head."""
    read = torch.einsum("inp,npc->ipc", excess, reads.to(excess))
    values, later = trace.values.clone(), slice(layer + 1, None)
    values[:, later] -= read.unflatten(1, (-1, heads)) / trace.scale[:, None, None, None]
    return trace.moved(values)


def pairs_moved(trace: Trace, rows: Sequence[tuple[int, int]], excess: Tensor, reads: Tensor) -> Trace:
    """Without what neuron–head pairs (neuron, head) of an attention pool write too much, [image, pair]. reads: row n of
    W_V^h for each, [pair, channel]."""
    values = trace.values.clone()
    for place, (_, head) in enumerate(rows):
        values[:, 0, head] -= excess[:, place, None] * reads[place].to(excess) / trace.scale[:, None]
    return trace.moved(values)
