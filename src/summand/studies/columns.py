"""How rows are shown: columns, and the tables that they make."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from ..visible import visible


@dataclass(frozen=True)
class Column:
    """How a column of rows is shown. kind: of "id" and "number" nothing is ever cut or wrapped; "words" may wrap; a
    "bar" is a number as a bar to either side. form: a format of Python, or a function that gives the text."""

    name: str
    title: str = ""
    kind: Literal["id", "number", "words", "bar"] = "number"
    form: str | Callable[[Any], str] = ""

    @property
    def header(self) -> str:
        return self.title or self.name.replace("_", " ")

    def text(self, value: Any) -> str:
        """The value as people read it; nothing for what is missing."""
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return ""
        if callable(self.form):
            return visible(self.form(value))
        return format(value, self.form).replace("-", "−") if self.form else visible(str(value))


@dataclass(frozen=True)
class Table:
    """Some rows to be shown: a title above, columns in their order, a caption below. plain: one column of lines, for
    other programs to read."""

    rows: pd.DataFrame
    columns: Sequence[Column]
    title: str = ""
    caption: str = ""
    plain: bool = False


def html_table(table: Table) -> str:
    def cell(column: Column, value: Any) -> str:
        right = ' style="text-align:right"' if column.kind in ("number", "bar") else ""
        return f"<td{right}>{html.escape(column.text(value))}</td>"

    head = "".join(f"<th>{html.escape(column.header)}</th>" for column in table.columns)
    body = "".join(
        f"<tr>{''.join(cell(column, row[column.name]) for column in table.columns)}</tr>"
        for row in table.rows.to_dict("records")
    )
    title = f"<caption>{html.escape(table.title)}</caption>" if table.title else ""
    below = f"<p>{html.escape(table.caption)}</p>" if table.caption else ""
    return f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{below}"
