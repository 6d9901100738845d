"""Edits that are edits of weights: a network that computes M' by its own forward."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import SummandError
from ...towers.effective import seen_through
from ..ablations import Ablation, AxisRemoval, Steering
from ..model import Model

_ELSE = "export to .pt2 or .onnx, which hold it exactly"


@torch.no_grad()
def folded(model: Model) -> nn.Module:
    """A copy of the wrapped network whose weights hold every edit of the model.

    An edit of the output is one of weights where nothing else reads what it changes: M' = M − AᵀA (M − M̄) folds into
    the projection; heads of an attention pool without an MLP behind it (CLIP's ResNets) into W_O and b_O. Everything
    else is refused by name: later layers still read what ablated heads and neurons wrote, and weights that are zero
    would take it from them.
    """
    clip = copy.deepcopy(model.clip)
    for edit in model._ablations:
        visual: Any = seen_through(getattr(clip, "visual", None))
        pooled = isinstance(getattr(getattr(visual, "attnpool", None), "c_proj", None), nn.Linear)
        if pooled and isinstance(edit, Steering):
            _steered_pool(visual.attnpool, edit)
        elif not isinstance(edit, (Ablation, AxisRemoval)):
            raise SummandError(f"{_named(edit)} reaches the output by other paths than its weights; {_ELSE}")
        elif pooled:
            _into_pool(visual.attnpool, edit)
        elif not isinstance(edit, AxisRemoval) or edit.where != "embedding":
            raise SummandError(
                f"{_named(edit)} is no edit of weights: later layers read what it changes in the output alone; {_ELSE}"
            )
        elif isinstance(getattr(visual, "proj", None), Tensor) and isinstance(visual.ln_post, nn.LayerNorm):
            _into_projection(visual, edit, model.name)
        else:
            raise SummandError(
                f"the projection of {model.name} ({model.tower.kind}) has no place for {_named(edit)}; {_ELSE}"
            )
    return clip


def _named(edit: Any) -> str:
    return f"the {edit.kind} ({edit._what})" if hasattr(edit, "_what") else f"the {edit.kind}"


def _into_pool(pool: Any, edit: Ablation | AxisRemoval) -> None:
    """M = Σ_h W_O^h o_h + b_O: every head's columns, and the constants in b_O."""
    weight, bias = pool.c_proj.weight, pool.c_proj.bias
    heads = weight.unflatten(1, (pool.num_heads, -1))  # [embed, head, channel], a view
    if isinstance(edit, Ablation):
        for (_, head), mean in zip(edit.heads, edit.means.to(weight), strict=True):
            bias += edit.strength * heads[:, head] @ mean
            heads[:, head] *= 1 - edit.strength
        return
    axes = edit.axes.to(weight)
    chosen = [head for _, head in edit.heads] if edit.where == "heads" else list(range(pool.num_heads))
    heads[:, chosen] -= torch.einsum("ae,af,fhc->ehc", axes, axes, heads[:, chosen])
    if edit.where == "embedding":
        bias -= axes.T @ (axes @ bias)
    bias += edit.mean.to(bias)


def _steered_pool(pool: Any, edit: Steering) -> None:
    """A pair is what one column of W_V^h adds, a head the columns of W_O^h; what they are set to is a constant."""
    weight, bias = pool.c_proj.weight, pool.c_proj.bias
    heads = weight.unflatten(1, (pool.num_heads, -1))  # [embed, head, channel], a view
    values = pool.v_proj.weight.unflatten(0, (pool.num_heads, -1))  # [head, channel, neuron], a view
    factors = {unit.index[1]: factor for unit, factor, _ in edit.chosen("heads")}
    for unit, factor, put in edit.chosen("pairs"):
        neuron, head = unit.index
        if put is not None:
            bias += factors.get(head, 1.0) * float(put) * heads[:, head] @ values[head, :, neuron]
        values[head, :, neuron] *= factor
    for unit, factor, put in edit.chosen("heads"):
        if put is not None:
            bias += heads[:, unit.index[1]] @ put.to(weight)
        heads[:, unit.index[1]] *= factor


def _into_projection(visual: Any, edit: AxisRemoval, name: str) -> None:
    r"""P' = P (I − AᵀA) + u ⊗ M̄_A / c, with u = 1/γ and c = ⟨u, β⟩.

    There is no bias behind the projection; but γ x̂ + β, what it reads, has ⟨u, γ x̂ + β⟩ = Σ x̂ + ⟨u, β⟩ = c whatever
    the image is, for a LayerNorm's x̂ sums to zero. So the constant goes there."""
    axes, weight, norm = edit.axes.to(visual.proj), visual.proj, visual.ln_post
    gain = torch.ones_like(weight[:, 0]) if norm.weight is None else norm.weight
    if norm.bias is None or bool((gain == 0).any()):
        raise SummandError(f"the last norm of {name} has no shift, or a gain of zero, to hold a constant; {_ELSE}")
    reads = 1 / gain
    constant = (reads * norm.bias).sum()
    weight -= (weight @ axes.T) @ axes
    weight += torch.outer(reads, edit.mean.to(weight)) / constant
