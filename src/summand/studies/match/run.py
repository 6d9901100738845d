"""Which part of an image or a text goes with which part of another."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...data.pictures import as_picture
from ...data.sources import EXTENSIONS
from ...errors import SummandError
from ...maps.contrast import contrast_texts
from ...maps.crop import box_of
from ...maps.match import Match, Side, image_side, text_side
from ...maps.placing import share_of
from ...maps.token_terms import Head, heads_asked, usual_image
from ...models import Model
from ...survey import Survey
from ...unit import parse_layers, units_of
from ..given import Given, few, images_of
from ..verb import OptionError, verb
from .options import MatchOptions
from .result import Matched

MOST = 500
"""Images of a reference that say what is usual."""


@verb(MatchOptions)
def match(model: Model, a: Any, b: Any, reference: Any = None, *, options: MatchOptions) -> Matched:
    r"""cos(a, b) = Σ_ij ⟨a_i, b_j⟩ / (‖M(a)‖ ‖M(b)‖) + rest, i and j the tokens of each, exactly.

    a, b: a picture in any form, or a text; a string is a text unless it is the path of a file (or ends as one). a_i:
    what token i adds through all heads (`Parts.tokens`). rest: MLPs, the embedding, biases, heads that were not asked
    for, and what is usual, each with each. reference: images, or a survey, that say what is usual of pictures;
    contrast: the same of texts. Then the matrix is of a_i − ā_i with b_j − b̄_j, and the sum is as exact.

    Raises `SummandError` for pictures and texts that cannot be read, heads that do not exist, and a reference or a
    contrast that no side has a use for.
    """
    kinds = [kind_of(one) for one in (a, b)]
    _check(kinds, reference, options)
    tower = model.tower
    image_heads = _asked("image", options.layers, options.heads, (tower.layers, tower.heads))
    words = model.text_tower if "text" in kinds else None
    text_heads = words and _asked("text", options.text_layers, options.text_heads, (words.layers, words.heads))
    pictures = [as_picture(one) if kind == "image" else None for one, kind in zip((a, b), kinds, strict=True)]
    contrast = None if options.contrast is None else contrast_texts(options.contrast)
    given = None if reference is None else images_of(reference, options.count)
    usual = None
    if given is not None:
        usual = usual_image(model, few(given, options.count or MOST), image_heads, options.batch_size)
    sides = [
        text_side(model, str(one), text_heads, contrast)
        if picture is None
        else image_side(model, picture, _label(one, name), image_heads, usual)
        for one, picture, name in zip((a, b), pictures, ("image a", "image b"), strict=True)
    ]
    found = Match(*sides)
    return Matched(
        pairs(model, found, options.top), options, model=model.name, data=f"{sides[0].label} | {sides[1].label}",
        found=found, head_pairs=head_pairs(found, options.top, labels_of(model, given)),
        similarity=found.similarity, residual=found.residual, account=found.account,
        unusual=found.unusual if usual is not None or contrast is not None else None,
        usual=given.name if given is not None else None,
    )  # fmt: skip


def kind_of(given: Any) -> str:
    """Whether it is a text or a picture: a string is a text, unless a file has that name or it ends as pictures do.
    Raises `SummandError` for the path of a folder."""
    if not isinstance(given, str):
        return "image"
    path = Path(given).expanduser()
    if os.sep in given and path.is_dir():
        raise SummandError(f"{given} is a folder; match takes one picture, or a text, on either side")
    return "image" if path.suffix.lower() in EXTENSIONS or _is_file(path) else "text"


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a text may be longer than any name
        return False


def _check(kinds: Sequence[str], reference: Any, options: MatchOptions) -> None:
    asked = {"image": ("layers", "heads"), "text": ("text_layers", "text_heads", "contrast")}
    for kind, names in asked.items():
        for name in names:
            if getattr(options, name) is not None and kind not in kinds:
                said = "two texts" if kind == "text" else "two pictures"
                other = "two pictures" if kind == "text" else "two texts"
                raise OptionError(name, f"is about {said.split()[1]}, and {other} are matched; leave it out")
    if reference is not None and "image" not in kinds:
        raise SummandError("reference=IMAGES says what is usual of pictures, and two texts are matched; use contrast")
    if reference is None and options.count is not None:
        raise OptionError("count", "is of the images of a reference, and none is given; leave it out")


def _asked(side: str, layers: Any, heads: Any, have: tuple[int, int]) -> tuple[Head, ...] | None:
    some = None if layers is None else parse_layers(layers)
    return heads_asked(side, some, None if heads is None else units_of(heads, "heads"), have)


def _label(given: Any, name: str) -> str:
    return str(given) if isinstance(given, (str, os.PathLike)) else name


def labels_of(model: Model, given: Given | None) -> Mapping[Head, str]:
    """Head → its label, where the reference is a labelled survey of this model's heads."""
    run = None if given is None else given.run
    if not isinstance(run, Survey) or not run.labelled or not run.holds("heads"):
        return {}
    run.check_model(model)
    table = run.labels
    heads = table[table["kind"] == "head"]
    return {(int(row.layer), int(row.head)): str(row.label) for row in heads.itertuples()}  # type: ignore[arg-type]


def pairs(model: Model, found: Match, top: int) -> list[dict[str, Any]]:
    """The pairs of words, or patches, that add most or take most away, the furthest from zero first."""
    values = found.words
    order = np.argsort(-np.abs(values), axis=None, kind="stable")[:top]
    rows = []
    for i, j in zip(*np.unravel_index(order, values.shape), strict=True):
        ends = [(found.a, found.a.words[i]), (found.b, found.b.words[j])]
        row: dict[str, Any] = {"a": ends[0][1][0], "b": ends[1][1][0], "adds": float(values[i, j])}
        for name, (side, (_, places)) in zip("ab", ends, strict=True):
            row |= dict(zip((f"{name}_x", f"{name}_y"), centre_of(model, side, places[0]), strict=True))
        rows.append(row)
    return rows


def centre_of(model: Model, side: Side, token: int) -> tuple[float | None, float | None]:
    """Where a patch's middle lies in the original picture, x and y; None for what is no patch, or cannot be told."""
    patch = token - side.prefix
    if side.kind == "text" or patch < 0 or side.size is None or (box := box_of(model, side.size)) is None:
        return None, None
    (row, column), (rows, columns), (down, across) = divmod(patch, side.grid[1]), side.grid, share_of(model)
    left, top, right, bottom = box
    x, y = (column + 0.5) / columns * across, (row + 0.5) / rows * down
    return round(left + x * (right - left), 1), round(top + y * (bottom - top), 1)


def head_pairs(found: Match, top: int, labels: Mapping[Head, str]) -> list[dict[str, Any]]:
    """The pairs of heads that add most or take most away, the furthest from zero first."""
    values = found.heads
    order = np.argsort(-np.abs(values), axis=None, kind="stable")[:top]
    rows = []
    for i, j in zip(*np.unravel_index(order, values.shape), strict=True):
        ends = (found.a, found.a.terms.chosen[i]), (found.b, found.b.terms.chosen[j])
        row: dict[str, Any] = {}
        for name, (side, (layer, head)) in zip("ab", ends, strict=True):
            known = labels if side.kind == "image" else {}
            row |= {name: f"{layer}.{head}", f"{name}_label": known.get((layer, head))}
        rows.append({**row, "adds": float(values[i, j])})
    return rows
