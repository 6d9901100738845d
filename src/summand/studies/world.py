"""Whether a model is asked about pictures that it can know, as its world says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from PIL import Image

from ..data.masks.base import MaskSource
from ..data.sources import Drawn, FileImages, ImageSource
from ..errors import SummandError
from ..models import Model, World
from ..models.world import world_of_name
from ..survey import Survey

_LOOKED_AT = 5  # pictures of a source
_COMPRESSED = (".jpg", ".jpeg", ".webp")  # drawn pictures are written as PNG


def strange_pictures(model: Model, *given: ImageSource | MaskSource | Image.Image | None) -> str | None:
    """What to warn of where a model of a small world is asked about other pictures; None where all is well."""
    return next(
        (said for some in given if some is not None and (said := _strange(model.world, some, model.name))), None
    )


def strange_run(run: Survey) -> str | None:
    """The same of a run, whose model need not be loaded for it; None too where its images are gone."""
    world = world_of_name(run.manifest.model)
    if world.own is None:
        return None
    try:
        source = run.source()
    except SummandError:
        return None
    return _strange(world, source, run.manifest.model)


def _strange(world: World, given: Any, model: str) -> str | None:
    if world.own is None:
        return None
    return next((said for picture in _some(given) if (said := world.strange(picture, model)) is not None), None)


def _some(given: Any) -> Iterator[Image.Image]:
    """A few pictures of a source, spread over it; none of one that is drawn, or that cannot be read."""
    if isinstance(given, Image.Image):
        yield given
        return
    if isinstance(given, Drawn):
        return
    step = max(1, len(given) // _LOOKED_AT)
    for index in range(0, len(given), step):
        if isinstance(given, FileImages) and given.files[index].suffix.lower() in _COMPRESSED:
            yield Image.new("1", (1, 1))
            return
        try:
            yield given.read(index).image if isinstance(given, MaskSource) else given.image(index)
        except OSError:
            continue
