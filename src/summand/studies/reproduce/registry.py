"""All tables and figures by their ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...errors import SummandError, nearest
from ...unit import split
from . import (
    paper_a,
    paper_a_layer,
    paper_a_use,
    paper_a_words,
    paper_b,
    paper_b_shift,
    paper_b_use,
    paper_c,
    paper_c_groups,
    paper_c_heads,
    paper_c_maps,
)
from .row import PAPERS, Row

_MODULES = (
    paper_c,
    paper_c_heads,
    paper_c_groups,
    paper_c_maps,
    paper_a,
    paper_a_layer,
    paper_a_words,
    paper_a_use,
    paper_b,
    paper_b_use,
    paper_b_shift,
)


def _order(row: Row) -> tuple[int, int, int]:
    """By paper, figures before tables, by number; those of paper B as they are listed."""
    paper, _, name = row.id.partition(":")
    number = int("".join(filter(str.isdigit, name)) or 0)
    kind = next((i for i, start in enumerate(("fig", "table", "app")) if name.startswith(start)), 3)
    return list(PAPERS).index(paper), kind, number if kind < 3 else 0


ROWS: Mapping[str, Row] = {row.id: row for row in sorted((row for m in _MODULES for row in m.ROWS), key=_order)}


def chosen(names: str | Sequence[str]) -> list[Row]:
    """`all`, a paper (A, B, C), or ids with commas between them, in the order of the papers.

    >>> [row.id for row in chosen("C:table3,c:fig2")]
    ['C:fig2', 'C:table3']
    """
    wanted: set[str] = set()
    for name in split(names):
        found = [row.id for row in ROWS.values() if name.lower() in ("all", row.paper.lower(), row.id.lower())]
        if not found:
            raise SummandError(
                f"no table or figure {name!r}{nearest(name, list(ROWS))} (all, A, B, C, or one of {', '.join(ROWS)})"
            )
        wanted |= set(found)
    if not wanted:
        raise SummandError("name a table or figure, such as C:table3; `summand reproduce list` names them all")
    return [row for row in ROWS.values() if row.id in wanted]
