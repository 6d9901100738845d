"""Whether a model is asked about pictures that it can know: a scenes model has seen nothing but rendered scenes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from PIL import Image

from ..data.masks.base import MaskSource
from ..data.sources import FileImages, ImageSource, SceneImages
from ..errors import SummandError
from ..models import Model
from ..scenes.places import SIZE
from ..scenes.pretrained import NAMES, is_scenes_model
from ..survey import Run

_LOOKED_AT = 5  # pictures of a source
_COMPRESSED = (".jpg", ".jpeg", ".webp")  # scenes are written as PNG

STRANGE = (
    "{model} has seen nothing but rendered scenes and knows 121 words; these pictures are none, and what follows says "
    "nothing about them. Name a model of photographs, such as --model ViT-B-16 --pretrained laion2b_s34b_b88k"
)


def strange_pictures(model: Model, *given: ImageSource | MaskSource | Image.Image | None) -> str | None:
    """What to warn of where a scenes model is asked about other pictures than scenes; None where all is well.

    A scene is drawn by us, or is a picture of their 64 × 64 pixels that was written without loss.
    """
    if not is_scenes_model(model):
        return None
    if all(_scene(picture) for some in given if some is not None for picture in _some(some)):
        return None
    return STRANGE.format(model=model.name)


def strange_run(run: Run) -> str | None:
    """The same of a run, whose model need not be loaded for it; None too where its images are gone."""
    if run.manifest.model not in NAMES:
        return None
    try:
        source = run.source()
    except SummandError:
        return None
    return None if all(map(_scene, _some(source))) else STRANGE.format(model=run.manifest.model)


def _scene(picture: Image.Image) -> bool:
    return picture.size == (SIZE, SIZE)


def _some(given: Any) -> Iterator[Image.Image]:
    """A few pictures of a source, spread over it; none of one that is drawn, or that cannot be read."""
    if isinstance(given, Image.Image):
        yield given
        return
    if isinstance(given, SceneImages):
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
