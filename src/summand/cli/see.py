"""What single pictures and texts hold."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

import summand

from ..maps.options import HeatmapOptions
from ..studies.concepts.options import ConceptsOptions
from ..studies.retrieve.options import RetrieveOptions
from ..studies.scene_options import ScenesOptions
from ..studies.words.options import WordsOptions
from .adapter import command
from .loading import images_of, picture_of
from .options import ModelOptions, OwnModelOptions

Texts = Annotated[list[str] | None, Parameter(negative=())]
Count = Annotated[int, Parameter(alias="-n", help="How many scenes.")]


@command
def concepts(image: Path, *, reference: str | None = None, options: ConceptsOptions, model: OwnModelOptions):
    picture, known = picture_of(image), images_of(reference, options.count)
    return summand.concepts(model.load(picture, known), image, known, options=options)


@command
def heatmap(
    images: str, texts: Texts = None, *, array: Path | None = None, options: HeatmapOptions, model: ModelOptions
):
    from ..studies.heatmap.run import checked, drawn

    pictures = checked(images, texts or [], options, array)
    found = drawn(model.load(pictures.source), pictures, texts or [], options)
    if array is not None:
        found.save_maps(array)
    return found


@command
def retrieve(query: Path, images: str, *, options: RetrieveOptions, model: OwnModelOptions):
    picture, where = picture_of(query), images_of(images, options.count)
    return summand.retrieve(model.load(where, picture), query, where, options=options)


@command
def scenes(*, count: Count = 64, options: ScenesOptions):
    from ..report.scenes import draw

    return draw(count, options=options)


@command
def words(text: str, *, image: Path | None = None, options: WordsOptions, model: ModelOptions):
    return summand.words(model.load(), text, image, options=options)
