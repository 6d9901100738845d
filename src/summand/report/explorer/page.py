"""What one user has asked so far, and what the page shows of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from PIL import Image

from ...errors import SummandError
from ...unit import Unit
from . import unit_views, views
from .details import moved_view, patch_view, unit_view
from .known import Known
from .moved import moved
from .nearest import nearest
from .off import Off, at_means, map_without, switched_off, terms_without
from .one_unit import check_unit
from .pictures import data_uri, overlays
from .places import box_of_patch, patch_at
from .question import (
    Along,
    Reading,
    cosines,
    head_map,
    head_scores,
    parse_texts,
    probabilities,
    score,
    token_map,
    waterfall,
)
from .session import Session
from .spoken import joined
from .upload import read_upload

USUAL = "(what is usual)"
_THUMBNAIL = 160


@dataclass(frozen=True)
class Views:
    """HTML of every part of the page."""

    prediction: str
    maps: str
    waterfall: str
    heads: str
    head: str
    patch: str
    words: str
    neurons: str
    unit: str


def asked(known: Known, picture: Image.Image | str | None, texts: str, units: Sequence[str] = (),
          properties: Sequence[str] = ()) -> Session:  # fmt: skip
    """A question: the first text versus the likeliest other one. Raises `SummandError` for a picture or texts that
    cannot be read, and for units that there are not."""
    if picture is None:
        raise SummandError("choose a picture first: drop one here, or take an example")
    written = parse_texts(texts)
    image = picture if isinstance(picture, Image.Image) else read_upload(picture)
    off = switched_off(known, units, properties)
    reading = known.read(image, written)
    order = cosines(reading.terms, reading).argsort(descending=True).tolist()
    along = Along(order[0], order[1] if len(order) > 1 else None)
    terms = terms_without(known, reading, off)
    return Session(reading, along, off, terms, _strongest(reading, along))


def compared(session: Session, text: str, versus: str | None) -> Session:
    """The same picture, another text or another comparison; a text versus itself is one versus what is usual."""
    texts = session.reading.texts
    if text not in texts or (versus not in (None, USUAL) and versus not in texts):
        raise SummandError("these are no texts of this question; press “Take it apart” again")
    other = None if versus in (None, USUAL, text) else texts.index(str(versus))
    return replace(session, along=Along(texts.index(text), other), moved=None)


def switched(known: Known, session: Session, units: Sequence[str], properties: Sequence[str]) -> Session:
    """The same question with these units off."""
    off = switched_off(known, units, properties)
    return replace(session, off=off, terms=terms_without(known, session.reading, off))


def switched_alike(known: Known, session: Session, units: Sequence[str], properties: Sequence[str]) -> bool:
    """Whether just these units are off already."""
    return switched_off(known, units, properties) == session.off


def toggled(units: Sequence[str], unit: str) -> list[str]:
    """The units that are off, with one of them the other way."""
    return [one for one in units if one != unit] if unit in units else [*units, unit]


def looked_at(known: Known, session: Session, unit: str) -> Session:
    """Another head, or another unit inside heads. Raises `SummandError` for one that the model does not have."""
    found = Unit.parse(unit)
    check_unit(known.model, found)
    return replace(session, head=found.name) if found.kind == "head" else replace(session, unit=found.name)


def with_moved(known: Known, session: Session) -> Session:
    """With the units inside heads that the picture moves unusually far."""
    return replace(session, moved=tuple(moved(known, session.reading, session.along)))


def with_words(session: Session) -> Session:
    """With words beside patches."""
    return replace(session, spoken=True)


def pointed(session: Session, x: float, y: float) -> Session:
    """A point of the picture, each from 0 to 1. Raises `SummandError` where the model sees nothing of it."""
    width, height = overlays(session.reading, [token_map(session.reading, session.along)])[0].size
    return replace(session, place=patch_at(session.reading, float(x) * width, float(y) * height))


def moved_by(session: Session, down: int, right: int) -> Session:
    """The patch beside the one that is looked at, within the grid; at first the middle one."""
    rows, columns = session.reading.model.tower.grid
    row, column = session.place or (rows // 2, columns // 2)
    step = (0, 0) if session.place is None else (int(down), int(right))
    return replace(session, place=(min(max(row + step[0], 0), rows - 1), min(max(column + step[1], 0), columns - 1)))


def shown(known: Known, session: Session) -> Views:
    """Every view of a question."""
    reading, along, off, terms = session.reading, session.along, session.off, session.terms
    name = reading.name(along)
    before, after = probabilities(reading.terms, reading), probabilities(terms, reading) if off else None
    steps = waterfall(terms, reading, along)
    layer, head = map(int, session.head.split("."))
    values = head_scores(terms, reading, along)
    own = data_uri(overlays(reading, [head_map(reading, along, layer, head)])[0], 320)
    said = {unit: known.said(unit) for unit in known.heads}
    return Views(
        views.prediction(reading.texts, before, after, along.text) + _off_said(known, off),
        views.maps(_maps(session), name),
        views.waterfall(_score_said(session, name), steps, waterfall(reading.terms, reading, along) if off else None),
        views.head_grid(values, said, session.head, off.names),
        unit_views.card(
            "head", session.head, known.words.get(session.head), float(values[layer, head]), [(own, "what it adds")],
            bool(known.words), session.head in off.names,
        ),
        "" if session.place is None else patch_view(known, session),
        joined(known, reading, along) if session.spoken else "",
        "" if session.moved is None else moved_view(session),
        "" if session.unit is None else unit_view(known, session, Unit.parse(session.unit)),
    )  # fmt: skip


def near(known: Known, session: Session, way: str) -> str:
    """The survey's pictures that are most like this one."""
    found = nearest(known, session.reading, way)
    assert known.survey is not None
    source = known.survey.source()
    rows: list[tuple[str | None, str, float]] = []
    for one in found:
        try:
            picture = data_uri(source.image(one.image), _THUMBNAIL)
        except (OSError, SummandError):
            picture = None
        rows.append((picture, one.name, one.cosine))
    return views.gallery(rows)


def _strongest(reading: Reading, along: Along) -> str:
    values = head_scores(reading.terms, reading, along)
    return "{}.{}".format(*divmod(int(values.abs().argmax()), values.shape[1]))


def _maps(session: Session) -> list[tuple[str, str]]:
    reading, along = session.reading, session.along
    grids, captions = [token_map(reading, along)], ["as it is"]
    if session.off:
        grids.append(map_without(reading, session.terms, along, session.off))
        captions.append(f"without {_few(session.off.names)}")
    mark = None if session.place is None else box_of_patch(reading, *session.place)
    return [(data_uri(one), caption) for one, caption in zip(overlays(reading, grids, mark), captions, strict=True)]


def _few(names: Sequence[str], most: int = 6) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _off_said(known: Known, off: Off) -> str:
    if not off:
        return ""
    held = (
        "at their mean over the survey's images" if at_means(known, off) else "at nothing: no survey knows their mean"
    )
    return views.note(f"Off: {_few(off.names)}, held {held}. The network itself is unchanged.")


def _score_said(session: Session, name: str) -> str:
    value = score(session.terms, session.reading, session.along)
    if session.along.versus is None:
        return f"{name}, {views.number(value)}: how much more of the text than usual the picture holds"
    return f"{name}, {views.number(value)}: the logarithm of how many times likelier the first is"
