"""The figure of `retrieve`: the query, and the images nearest to it."""

from __future__ import annotations

from functools import partial
from typing import Any

from ..data.pictures import shown
from ..studies.retrieve.result import Retrieved
from .contact_sheet import sheet


def figure(result: Retrieved) -> Any:
    """A contact sheet, each image with its score."""
    found = [
        (shown(partial(result.source.image, int(index))), f"{score:.3g}")
        for index, score in zip(result.rows["index"], result.rows["score"], strict=True)
    ]
    name = str(result.query).replace("\\", "/").rsplit("/", 1)[-1] if result.query else ""
    return sheet([("query", [(result.picture, name)]), (result.title, found)])
