"""What the page shows of one patch, and of units inside heads."""

from __future__ import annotations

from typing import Any

from ...errors import SummandError
from ...unit import Unit
from . import unit_views, views
from .known import Known
from .one_unit import active_map, added, unit_map
from .pictures import data_uri, overlays
from .places import patch
from .session import Session
from .spoken import word_maps


def moved_view(session: Session) -> str:
    about = (
        "An effect is unusual where it is larger than on 98 % of the survey's images; “adds” is to the score, over the "
        "unit's mean. Choose a unit to see its map."
    )
    return f'<div class="sx">{views.note(about)}{unit_views.moved(session.moved or (), session.off.names)}</div>'


def unit_view(known: Known, session: Session, unit: Unit) -> str:
    reading, along = session.reading, session.along
    maps = [
        (unit_map(reading, along, unit), True, "what it adds"),
        (active_map(reading, unit), False, "where it is active"),
    ]
    pictures = [(data_uri(overlays(reading, [grid], signed=signed)[0], 320), said) for grid, signed, said in maps]
    return unit_views.card(
        unit.kind, unit.name, known.words.get(unit.name), added(known, reading, along, unit), pictures,
        bool(known.words), unit.name in session.off.names,
    )  # fmt: skip


def patch_view(known: Known, session: Session) -> str:
    assert session.place is not None
    found: Any = patch(known, session.reading, session.along, *session.place)
    title = f"Patch in row {found.row + 1}, column {found.column + 1}: {views.number(found.value)}"
    writers = [(one.unit, one.value, f"writes “{one.writes}”") for one in found.writers]
    try:
        spoken = word_maps(known, session.reading, session.along)
    except SummandError:  # of a text tower that cannot be taken apart
        spoken = []
    return "".join(
        [
            f'<section class="sx" aria-label="patch"><h2>{title}</h2>',
            views.listed("heads that write from here", writers, "What each adds to the score from this patch alone."),
            views.listed("your texts, from this patch", [("", value, text) for text, value in found.asked]),
            views.listed("what it goes with", [("", value, text) for text, value in found.texts]),
            *(
                views.listed(
                    f"words of “{one.text}”, with this patch",
                    [(word, 1000 * value, "") for word, value in one.of_patch(found.row, found.column)],
                    "In thousandths of the cosine.",
                )
                for one in spoken
            ),
            "</section>",
        ]
    )
