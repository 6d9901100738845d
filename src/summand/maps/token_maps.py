"""The token decomposition along texts as maps, contracted layer by layer (paper C, section 5)."""

from __future__ import annotations

from collections.abc import Collection

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import SummandError
from ..models import Model
from ..towers import AttentionView
from ..whole_numbers import whole_number


@torch.no_grad()
def token_maps(
    model: Model,
    pixels: Float[Tensor, "image 3 height width"],
    directions: Float[Tensor, "text embed"],
    layers: Collection[int] | None = None,
) -> Float[Tensor, "image text row column"]:
    r"""map[patch] = Σ_l Σ_h ⟨a_patch^{l,h} v_patch^{l,h} W_O^{l,h} F / σ, t⟩: what a patch adds to ⟨M(x), t⟩
    through the heads (paper C). Signed, in units of the embedding.

    layers: only these; all by default. `Parts.tokens_toward` as a picture, without the tokens before the grid. Raises
    `SummandError` for a layer or a direction that the model does not have.
    """
    tower = model.tower
    chosen = list(range(tower.layers) if layers is None else layers)
    if not chosen or any(whole_number(layer) not in range(tower.layers) for layer in chosen):
        raise SummandError(f"layers must be some of 0 to {tower.layers - 1}, got {chosen}")
    found = model.decompose(pixels).tokens_toward(directions, chosen)[:, tower.prefix :]
    return found.transpose(1, 2).unflatten(2, tower.grid)


@torch.no_grad()
def head_maps(
    model: Model,
    pixels: Float[Tensor, "image 3 height width"],
    directions: Float[Tensor, "text embed"],
    layer: int,
    head: int,
) -> Float[Tensor, "image text row column"]:
    """The same of one head: ⟨c_patch^{l,h}, t⟩."""
    tower = model.tower
    check_head(model, layer, head)
    layer, head = int(layer), int(head)
    found: list[Tensor] = []

    def visit(at: int, view: AttentionView) -> None:
        if at == layer:
            weight, bias = view.value_weight[head], view.value_bias[head]
            values = view.inputs[:, tower.prefix :] @ weight.T + bias
            found.append(view.row[:, head, tower.prefix :, None] * values)

    model.check_pixels(pixels)
    trace = tower.run(pixels, visit)
    maps = tower.head_maps().kept[layer, head]
    along = found[0] @ (maps @ directions.to(maps).T)
    return (along * trace.scale[:, None, None]).transpose(1, 2).unflatten(2, tower.grid)


def check_head(model: Model, layer: int, head: int) -> None:
    """Raises `SummandError` for a head that the model does not have."""
    tower = model.tower
    if whole_number(layer) not in range(tower.layers) or whole_number(head) not in range(tower.heads):
        raise SummandError(
            f"{model.name} has no head {layer}.{head}; its heads are 0.0 to {tower.layers - 1}.{tower.heads - 1}"
        )
