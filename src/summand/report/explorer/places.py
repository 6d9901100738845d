"""One patch of the picture: which heads write what from there, and which texts it goes with."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ...effects.effects import Effects
from ...errors import SummandError
from ...maps.heatmap import Heatmap
from .known import Known
from .pictures import heatmap_of_grids
from .question import Along, Reading

_TEXTS = 6


@dataclass(frozen=True)
class Writer:
    """A head that writes from a patch. value: what that adds to the score. writes: the text of the vocabulary that it
    points most along."""

    unit: str
    value: float
    writes: str


@dataclass(frozen=True)
class Patch:
    """row, column: from the upper left, from 0. value: what the patch adds to the score through all heads. writers:
    the heads of largest |value|, largest first. asked: ⟨c, t − usual⟩ of the user's texts; texts: the same of the
    vocabulary, its largest; both in units of the score."""

    row: int
    column: int
    value: float
    writers: tuple[Writer, ...]
    asked: tuple[tuple[str, float], ...]
    texts: tuple[tuple[str, float], ...]


def patch_at(reading: Reading, x: float, y: float) -> tuple[int, int]:
    """(row, column) of the patch under a point of `reading.picture`, in pixels. Raises `SummandError` for a point that
    the model does not see."""
    heatmap = heatmap_of_grids(reading, [torch.zeros(reading.model.tower.grid)], ["-"])
    left, top, right, bottom = _box(heatmap)
    rows, columns = reading.model.tower.grid
    column, row = (x - left) / (right - left) * columns, (y - top) / (bottom - top) * rows
    if not (0 <= row < rows and 0 <= column < columns):
        raise SummandError("the model does not see that part of the picture; click inside the coloured square")
    return int(row), int(column)


def box_of_patch(reading: Reading, row: int, column: int) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of a patch in `reading.picture`."""
    heatmap = heatmap_of_grids(reading, [torch.zeros(reading.model.tower.grid)], ["-"])
    left, top, right, bottom = _box(heatmap)
    rows, columns = reading.model.tower.grid
    across, down = (right - left) / columns, (bottom - top) / rows
    return left + column * across, top + row * down, left + (column + 1) * across, top + (row + 1) * down


def _box(heatmap: Heatmap) -> tuple[float, float, float, float]:
    """What the grid covers: of the picture, or, where preprocessing does more than cut and resize, of what the model
    saw, which is drawn in its place."""
    found = heatmap.place()["grid_box"]
    if found is not None:
        return found
    height, width = heatmap.picture.shape[:2]
    return 0.0, 0.0, width * heatmap.share[1], height * heatmap.share[0]


@torch.no_grad()
def patch(known: Known, reading: Reading, along: Along, row: int, column: int, count: int = 8) -> Patch:
    """What is written from one patch. One pass more, for what each head writes there as a whole."""
    model, unit = reading.model, reading.scale / max(float(reading.terms.output.norm()), 1e-12)
    token = model.tower.prefix + row * model.tower.grid[1] + column
    toward = unit * reading.tokens[:, :, token]  # [layer, head, text or usual]
    values = toward @ reading.weights(along)
    written = unit * model.at_once(lambda: _written(reading, token))
    texts, vocabulary = known.vocabulary
    each = written.flatten(0, 1) @ vocabulary.T
    order = values.flatten().abs().argsort(descending=True, stable=True)[:count].tolist()
    heads = values.shape[1]
    writers = tuple(
        Writer(f"{place // heads}.{place % heads}", float(values.flatten()[place]), texts[int(each[place].argmax())])
        for place in order
    )
    asked = (toward[..., :-1] - toward[..., -1:]).sum(dim=(0, 1))
    whole = each.sum(dim=0)
    best = [(texts[int(i)], float(whole[i])) for i in whole.argsort(descending=True, stable=True)[:_TEXTS]]
    return Patch(row, column, float(values.sum()), writers, tuple(zip(reading.texts, asked.tolist(), strict=True)),
                 tuple((text, value) for text, value in best if value > 0))  # fmt: skip


def _written(reading: Reading, token: int) -> Float[Tensor, "layer head embed"]:
    """c^{l,h} of one token, of every head."""
    parts = reading.model.decompose(reading.pixels)
    effects = parts.token_effects()
    one = Effects(effects.coefficients[:, :, :, token], parts.head_effects().basis, ("layer", "head"), ("channel",))
    return one.vectors()[0].float().cpu()
