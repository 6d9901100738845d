"""One unit of a survey, told and shown."""

from __future__ import annotations

from typing import Any

from pandas import isna

from ...errors import SummandError
from ...survey.strip import strongest
from ...survey.survey import Survey
from ...unit import Unit
from .options import UnitOptions
from .result import UnitShown


def unit(survey: Survey, name: str, options: UnitOptions, kind: str | None = None) -> UnitShown:
    """The unit's words, what they are worth on held-out images, and its top images. kind: what it must be.

    Raises `SummandError` for a unit that the survey does not hold.
    """
    view = survey[str(Unit.parse(name, kind))]
    found = {
        "unit": f"{view.kind} {view.name}",
        "variance": view.variance,
        "label": None if view.label is None else _plain(view.label.to_dict()),
        "images": [
            {"image": shown.image, "name": shown.name, "x": round(shown.x, 4)}
            for side in strongest(survey, view.group, view.index, options.top)
            for shown in side
        ],
    }
    notes = ["the weights are RANDOM: these words mean nothing"] if survey.manifest.random_init else []
    drawable = bool(found["images"])
    if not drawable:
        notes.append("no picture strip: the survey keeps no top images (top=0)")
    else:
        try:
            survey.source()
        except SummandError as error:
            drawable = False
            notes.append(f"no picture strip: {error}")
    return UnitShown(view, found, options, notes, drawable)


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    plain = {key: value.tolist() if hasattr(value, "tolist") else value for key, value in row.items()}
    return {key: value if isinstance(value, list) or not isna(value) else None for key, value in plain.items()}
