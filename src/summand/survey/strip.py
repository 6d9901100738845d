"""The images in which a unit does most, as one picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from ..data import ImageSource
from ..errors import SummandError
from ..visible import drawn
from .survey import Survey
from .units import Group

_TILE = 192


@dataclass(frozen=True)
class Shown:
    """An image of a unit: its number and name, and x_n there, in standard deviations."""

    image: int
    name: str
    x: float


def strongest(run: Survey, group: Group, index: tuple[int, ...], count: int = 8) -> tuple[list[Shown], list[Shown]]:
    """Of the unit's top images those of largest x_n, and those of most negative x_n, largest |x_n| first.

    r_n points to the side of most top images, so the second list is the shorter one, and often empty.
    """
    data = run.dataset(group)
    if "top_image" not in data:
        return [], []
    place = dict(zip(data.attrs["units"], index, strict=True))
    one = data[["top_image", "top_coefficient", "direction_weight", "scale"]].isel(place)
    basis = run.rank_one(group).basis.select([index[0]])
    gram = basis.double()._gram()[(0, *index[1:])]
    weights = torch.from_numpy(one["direction_weight"].values).double()
    x = torch.from_numpy(one["top_coefficient"].values).double() @ (gram @ weights)
    x = x / (float(one["scale"]) or 1.0)
    names = run.images["name"]
    shown = [
        Shown(int(image), str(names.get(int(image), "")), float(value))
        for image, value in zip(one["top_image"].values, x, strict=True)
    ]
    shown.sort(key=lambda item: -abs(item.x))
    return [item for item in shown if item.x > 0][:count], [item for item in shown if item.x < 0][:count]


def picture_strip(source: ImageSource, rows: list[list[Shown]], title: str, below: str = "") -> Any:
    """A matplotlib figure: a row of pictures for each list, x_n under each. Pictures that cannot be read stay blank."""
    from ..plots import Plot

    rows = [row for row in rows if row]
    columns = max((len(row) for row in rows), default=1)
    width, top = max(1.25 * columns + 0.1, 5.0), 0.62 if below else 0.38
    height = 1.42 * len(rows) + top
    figure = Plot(figsize=(width, height))
    figure.text(0.1 / width, 1 - 0.08 / height, title, fontsize=11, fontweight="bold", va="top")
    if below:
        figure.text(0.1 / width, 1 - 0.32 / height, below, fontsize=9, color="0.35", va="top")
    for line, row in enumerate(rows):
        for column, shown in enumerate(row):
            left, bottom = 0.1 + 1.25 * column, height - top - 1.42 * (line + 1) + 0.24
            axis = figure.add_axes((left / width, bottom / height, 1.15 / width, 1.15 / height))
            axis.set_axis_off()
            picture = _tile(source, shown.image)
            if picture is None:
                axis.text(0.5, 0.5, "not readable", ha="center", va="center", fontsize=8, color="0.5")
            else:
                axis.imshow(picture)
            colour = "#a11d21" if shown.x > 0 else "#2166ac"
            axis.set_title(f"{shown.x:+.1f} σ".replace("-", "−"), fontsize=9, y=-0.19, color=colour)
    return figure


def _tile(source: ImageSource, index: int) -> Image.Image | None:
    """The middle square of an image, as CLIP's own crop takes it."""
    try:
        picture = source.image(index)
    except OSError:
        return None
    side = min(picture.size)
    left, upper = (picture.width - side) // 2, (picture.height - side) // 2
    return picture.crop((left, upper, left + side, upper + side)).resize(
        (_TILE, _TILE), Image.Resampling.NEAREST if side < _TILE else Image.Resampling.LANCZOS
    )


def save_strip(figure: Any, path: Path) -> None:
    if path.suffix.lower() not in (".png", ".pdf", ".svg", ".jpg"):
        raise SummandError(f"cannot write a picture to {path}: the name must end in .png, .jpg, .svg or .pdf")
    try:
        drawn(figure).savefig(path, dpi=160)
    except OSError as error:
        raise SummandError(f"cannot write {path}: {error.strerror or error}") from error
