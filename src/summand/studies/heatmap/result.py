"""Maps of many pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from ...errors import SummandError
from ...maps.covered import together
from ...maps.heatmap import Heatmap
from ...maps.look import ON_A_SHEET
from ...maps.options import HeatmapOptions
from ..columns import Column, Table
from ..result import Result


class Heatmaps(Result):
    """A `Heatmap` of each of some pictures, in their order: `found[3]`, `for one in found`.

    rows: image, text, similarity (the model's own cosine), sum, max and min of the map, and where its largest cell is
    (x, y) in the original picture. quantity: what the numbers are. pictures: where each map lies in its original. grid:
    the maps [text, row, column]; of several pictures a list of these, or, where windows were read, nothing.
    """

    command: ClassVar[str] = "heatmap"
    drawn_by: str | None = "summand.maps.look:sheet"

    def __init__(
        self, maps: Sequence[Heatmap], options: HeatmapOptions, notes: Sequence[str] = (), **more: Any
    ) -> None:
        self.maps = list(maps)
        said = str(together(one.covered for one in self.maps) or "")
        rows = pd.DataFrame([{**row, "image": one.name} for one in self.maps for row in one.rows.to_dict("records")])
        places = [{"image": one.name, **one.place()} for one in self.maps]
        grids = [one.grid for one in self.maps] if options.windows is None or len(self.maps) == 1 else []
        super().__init__(
            pd.DataFrame(rows, columns=["image", *(name for name in rows if name != "image")]), options,
            notes=[*notes, *([said] if said else [])], quantity=self.maps[0].quantity,
            pictures=places, grid=grids[0] if len(grids) == 1 else grids, **more,
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.maps)

    def __getitem__(self, index: int) -> Heatmap:
        return self.maps[index]

    def __iter__(self) -> Iterator[Heatmap]:
        return iter(self.maps)

    def tables(self) -> list[Table]:
        rows = self.rows.assign(at=[_place(x, y) for x, y in zip(self.rows["x"], self.rows["y"], strict=True)])
        several = [Column("image", kind="words")] * (len(self.maps) > 1)
        columns = [
            *several,
            Column("text", kind="words"),
            Column("similarity", "cosine", form="+.3f"),
            Column("sum", form="+.3f"),
            Column("max", form="+.4f"),
            Column("at", "at x, y"),
        ]
        caption = f"{self.quantity}; x and y of the largest cell, in pixels of the original picture"
        if len(self.maps) > ON_A_SHEET:
            caption += f". The figure shows the first {ON_A_SHEET} of {len(self.maps)} pictures; a folder gets each"
        return [Table(rows, columns, caption=caption)]

    def _repr_html_(self) -> str:
        """The first pictures with their maps, a text that is pointed at shows its own."""
        notes = "".join(f"<p><b>Note.</b> {escape(note)}</p>" for note in self.notes)
        some = self.maps[:ON_A_SHEET]
        more = f"<p>the first {len(some)} of {len(self.maps)} pictures</p>" if len(some) < len(self.maps) else ""
        shown = "".join(
            f"<h4>{escape(one.name)}</h4>{replace(one, covered=None)._repr_html_()}" for one in some
        )  # said of all of them in the notes
        return f"{notes}{shown}{more}"

    def save_more(self, folder: Path) -> dict[str, Path]:
        """A picture of each, in the folder maps/."""
        if len(self.maps) == 1:
            return {}
        place = folder / "maps"
        for name, one in zip(_files(self.maps), self.maps, strict=True):
            path = place / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            one.save(path)
        return {"maps": place}

    def save_arrays(self, path: Path) -> dict[str, Path]:
        return {"maps": self.save_maps(path)}

    def save_maps(self, place: str | Path) -> Path:
        """The maps as .npz: of one picture a file, of several a folder with a file for each."""
        place = Path(place).expanduser()
        check_arrays(place, len(self.maps) == 1)
        if len(self.maps) == 1:
            place.parent.mkdir(parents=True, exist_ok=True)
            self.maps[0].save(place)
            return place
        for name, one in zip(_files(self.maps), self.maps, strict=True):
            path = place / f"{name}.npz"
            path.parent.mkdir(parents=True, exist_ok=True)
            one.save(path)
        return place

    def _draw(self, path: Path) -> Path:
        if len(self.maps) > 1:
            return super()._draw(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        return self.maps[0].save(path)["figure"]


def check_arrays(place: str | Path, single: bool) -> None:
    """Raises `SummandError` unless the maps can be written to such a place."""
    if single and Path(place).suffix.lower() != ".npz":
        raise SummandError(f"the maps of a picture are written as .npz, got {place}")
    if not single and Path(place).suffix:
        raise SummandError(f"the maps of several pictures are an .npz each, in a folder; got {place}")


def _files(maps: Sequence[Heatmap]) -> list[str]:
    """A file for each picture: its name in the source without the ending, numbered where two would be the same."""
    found: list[str] = []
    for i, one in enumerate(maps):
        path = Path(one.name)
        inside = path.parts and not path.is_absolute() and ".." not in path.parts
        name = str(path) if inside else path.name
        stem = name.removesuffix(path.suffix)
        found.append(stem if stem and stem not in found else f"{stem or 'picture'} {i}")
    return found


def _place(x: float | None, y: float | None) -> str:
    return "" if x is None or x != x or y is None else f"{x:.0f}, {y:.0f}"
