"""What holds of every verb's result: whole on a narrow terminal, on a page, and made again from its own JSON."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

from rich.console import Console

from summand.report.terminal import drawn
from summand.studies.result import Result
from tests.commands import command


def assert_whole(result: Result, width: int = 80) -> None:
    """Every id and number of every table stands in one piece, and no line is wider than the terminal."""
    for table in result.tables():
        console = Console(width=width, record=True, file=io.StringIO(), highlight=False)
        console.print(drawn(table))
        text = console.export_text()
        lines = text.splitlines()
        assert max(map(len, lines)) <= width
        for row in table.rows.to_dict("records"):
            for column in table.columns:
                if column.kind in ("id", "number"):
                    said = column.text(row[column.name])
                    assert any(said in line for line in lines), (said, text)
        joined = "".join(text.split())
        for column in table.columns:
            if column.kind == "words":
                longest = max((word for value in table.rows[column.name] for word in str(value).split()), key=len)
                assert longest in text or len(longest) > 12, (longest, text)
        assert "…" not in joined or any("…" in column.header for column in table.columns)


def assert_page(result: Result) -> None:
    """The notebook's view holds every cell as text."""
    import html

    page = result._repr_html_()
    for table in result.tables():
        for row in table.rows.to_dict("records"):
            for column in table.columns:
                assert html.escape(column.text(row[column.name])) in page


def again(name: str, record: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The result that `--config` makes of a result's own JSON."""
    path = folder / "again.json"
    path.write_text(json.dumps({key: record[key] for key in ("command", "options")}))
    return command(name, "--config", path, "--json").json


def close(one: Any, other: Any, tolerance: float = 1e-5) -> bool:
    """Whether two JSON values are the same but for the rounding of their numbers: a model that the process has had for
    long has encoded its texts in other batches than one that is loaded now."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(close(value, other[key], tolerance) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(close(a, b, tolerance) for a, b in zip(one, other, strict=True))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=tolerance, abs_tol=tolerance)
    return type(one) is type(other) and one == other


def same(record: dict[str, Any], result: Result, *but: str) -> None:
    """A command's JSON is the result of Python's one line, but for how the options were spelled."""
    own = json.loads(result.to_json())
    for key in own.keys() - {"options", "data", *but}:
        assert close(record[key], own[key]), key
    for key, value in own["options"].items():
        assert record["options"][key] == value, key
