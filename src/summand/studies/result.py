"""What a verb returns: rows, the options that made them, a figure; saved, as JSON, and as notebooks show it."""

from __future__ import annotations

import html
import json
import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from ..arguments import names_wrong_arguments
from ..atomic import replacing
from ..errors import SummandError
from ..notebook import as_img, called
from ..visible import drawn
from .columns import Column, Table, html_table

PICTURES = (".png", ".jpg", ".svg", ".pdf")
TABLES = (".csv", ".parquet", ".json")
ARRAYS = (".npz",)
PAGE = ".html"
_OTHER = frozenset((".doc", ".docx", ".txt", ".md", ".gif", ".webp", ".jpeg", ".tif", ".tiff", ".bmp", ".xls", ".xlsx",
                    ".tsv", ".npy", ".pkl", ".pt", ".ps", ".eps"))  # fmt: skip
"""Endings of files, of which a result cannot be one."""


@names_wrong_arguments
class Result:
    """What every verb returns.

    rows: a DataFrame, one finding a row. options: the dataclass that made it, whole. model, data: what it was asked of,
    for a reader. more: findings that are no rows, by name. notes: sentences that must be read beside the numbers.
    alarm: whether a check failed (the command then exits with 1).

    Subclasses say how they are shown (`tables`), and where their figure is drawn and their page is written (`drawn_by`,
    `paged_by`: "module:function", by name, for both stand above the studies).
    """

    command: ClassVar[str] = ""
    drawn_by: str | None = None
    drawn_in: str | None = None
    paged_by: str | None = None

    def __init__(
        self,
        rows: pd.DataFrame | Sequence[Mapping[str, Any]],
        options: Any,
        *,
        model: str | None = None,
        data: str | None = None,
        notes: Sequence[str] = (),
        alarm: bool = False,
        **more: Any,
    ) -> None:
        self.rows: pd.DataFrame = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(list(rows))
        self.options, self.data = options, data
        self.model: Any = model  # of debias the repaired model itself
        self.notes, self.alarm, self.more = tuple(notes), alarm, more

    def __getattr__(self, name: str) -> Any:
        more = self.__dict__.get("more", {})
        if name in more:
            return more[name]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __repr__(self) -> str:
        about = "".join(f", {text}" for text in (self.data, self.model) if text)
        return f"<{type(self).__name__}: {len(self.rows)} rows{about}>"

    def tell_skipped(self, skipped: Mapping[str, str]) -> None:
        """Pictures that could not be read, and why: those that no note names yet are noted."""
        said = "\n".join(self.notes)
        left = [f"skipped {name}: {reason}" for name, reason in skipped.items() if name not in said]
        self.notes = (*self.notes, *left)
        if skipped:
            self.more.setdefault("skipped", [{"name": name, "reason": why} for name, why in skipped.items()])

    def tables(self) -> list[Table]:
        """What a terminal and a notebook show."""
        columns = [
            Column(str(name), kind="number", form=".3f") if pd.api.types.is_float_dtype(self.rows[name])
            else Column(str(name), kind="id" if i == 0 else "words")
            for i, name in enumerate(self.rows.columns)
        ]  # fmt: skip
        return [Table(self.rows, columns)]

    def figure(self) -> Any:
        """A matplotlib figure, or None where there is nothing to draw."""
        return None if self.drawn_by is None else called(self.drawn_by, self)

    def plot(self) -> Any:
        """The figure, which a notebook shows. Raises `SummandError` where there is nothing to draw."""
        found = self.figure()
        if found is None:
            raise SummandError(f"{self!r} has no figure; its rows and tables are all there is")
        return found

    def page(self) -> str | None:
        """The whole as one HTML page, or None where there is none."""
        return None if self.paged_by is None else called(self.paged_by, self)

    def record(self) -> dict[str, Any]:
        """The result as plain values: command, model, data, options, rows, and what is no row."""
        options = asdict(self.options) if is_dataclass(self.options) and not isinstance(self.options, type) else {}
        rows = self.rows.to_dict("records")
        found = {"command": self.command, "model": self.model, "data": self.data, "options": options, "rows": rows}
        notes = {"notes": list(self.notes)} if self.notes else {}
        return _plain({**found, **notes, **self.more})

    def to_json(self) -> str:
        """The record as JSON; its `options` make the result again (`--config`)."""
        return json.dumps(self.record(), ensure_ascii=False)

    def save(self, place: str | Path) -> dict[str, Path]:
        """Write the result, and say what stands where.

        A folder gets everything: result.json, rows.csv, figure.png and index.html where there are such, and what the
        study adds. A name that ends in .png, .jpg, .svg or .pdf gets the figure alone; one in .csv, .parquet or .json
        the rows alone, or the record; one in .npz the arrays that some studies
        leave; one in .html the page.
        """
        place = check_place(place)
        suffix = place.suffix.lower()
        if suffix in PICTURES:
            return {"figure": self._draw(place)}
        if suffix == PAGE:
            return {"page": self._write_page(place)}
        if suffix in TABLES:
            place.parent.mkdir(parents=True, exist_ok=True)
            self._write_table(place)
            return {"rows": place}
        if suffix in ARRAYS:
            place.parent.mkdir(parents=True, exist_ok=True)
            return self.save_arrays(place)
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".summand-", dir=place) as made:  # all of it, or nothing
            written = self._save_all(Path(made))
            for path in sorted(Path(made).rglob("*")):
                inside = place / path.relative_to(made)
                if path.is_dir():
                    inside.mkdir(exist_ok=True)
                else:
                    os.replace(path, inside)
            return {what: place / path.relative_to(made) for what, path in written.items()}

    def _save_all(self, folder: Path) -> dict[str, Path]:
        written = {"result": folder / "result.json", "rows": folder / "rows.csv"}
        for path in written.values():
            self._write_table(path)
        if self.drawn_by is not None:
            written["figure"] = self._draw(folder / "figure.png")
        if self.paged_by is not None:
            written["page"] = self._write_page(folder / "index.html")
        return {**written, **self.save_more(folder)}

    def save_more(self, folder: Path) -> dict[str, Path]:
        """What else this result leaves in its folder, by what it is."""
        return {}

    def save_arrays(self, path: Path) -> dict[str, Path]:
        """What a study keeps in an .npz file of its own."""
        raise SummandError(f"this result has no arrays for {path}; give a folder, or a file that ends otherwise")

    def _write_table(self, path: Path) -> None:
        with replacing(path) as temporary:
            if path.suffix == ".csv":
                self.rows.to_csv(temporary, index=False)
            elif path.suffix == ".parquet":
                self.rows.to_parquet(temporary)
            else:
                temporary.write_text(self.to_json() + "\n", encoding="utf-8")

    def _write_page(self, path: Path) -> Path:
        page = self.page()
        if page is None:
            raise SummandError(f"this result has no page; give a folder in the place of {path}")
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_text(page, encoding="utf-8")
        return path

    def _draw(self, path: Path) -> Path:
        figure = self.figure()
        if figure is None:
            raise SummandError(f"this result has no figure; give a folder in the place of {path}")
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            drawn(figure).savefig(temporary, dpi=160, format=path.suffix[1:].lower())
        return path

    def _repr_html_(self) -> str:
        found = "".join(html_table(table) for table in self.tables())
        notes = "".join(f"<p><b>Note.</b> {html.escape(note)}</p>" for note in self.notes)
        figure = self.figure()
        about = f"figure of {self.command or type(self).__name__}"
        return notes + found + ("" if figure is None else as_img(figure, about))


def check_place(place: str | Path) -> Path:
    """The path. Raises `SummandError` for a place that nothing can be written to, before the work is done."""
    whole = place = Path(place).expanduser()
    endings = (*PICTURES, *TABLES, *ARRAYS, PAGE)
    if place.suffix.lower() in endings:
        if place.is_dir():
            raise SummandError(f"{place} is a folder; name a file, or a folder without {place.suffix}")
        place = place.parent
    elif place.exists() and not place.is_dir():
        raise SummandError(
            f"{place} is a file; a result goes into a folder, or into a file that ends in "
            f"{', '.join((*PICTURES, *TABLES, PAGE))}"
        )
    elif place.suffix.lower() in _OTHER and not place.is_dir():
        raise SummandError(f"cannot write {place}: the name must end in {', '.join(endings)}, or be a folder's")
    above = next((folder for folder in (place, *place.absolute().parents) if folder.exists()), None)
    if above is not None and not above.is_dir():
        raise SummandError(f"{above} is no folder, so {place} cannot be made in it")
    return whole


def _plain(value: Any) -> Any:
    """Values that JSON knows: no arrays, paths or dataclasses; what is not finite becomes null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    if isinstance(value, pd.DataFrame):
        return _plain(value.to_dict("records"))
    numbers = getattr(value, "tolist", None)  # of numpy and torch
    if callable(numbers):
        return _plain(numbers())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)
