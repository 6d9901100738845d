"""Nearest images by what some units write (paper C, section 4.3)."""

from __future__ import annotations

import os
from typing import Any

import torch

from ...data.pictures import as_picture
from ...models import Model
from ...survey import Group, survey_of
from ...survey.unit_words import heads_in_words
from ...unit import Unit, units_of
from ..given import Given, few, images_of, layers_of, readable_pool, unread
from ..verb import verb
from .index import Space, build_index, property_axes, property_units
from .options import RetrieveOptions
from .result import Retrieved

_LABEL_IMAGES = 1000


@verb(RetrieveOptions)
@torch.no_grad()
def retrieve(model: Model, query: Any, images: Any, *, options: RetrieveOptions) -> Retrieved:
    r"""The images of largest ⟨φ(q) − μ, φ(x) − μ⟩ (divided by both lengths, unless metric="inner"), φ what the units
    write, side by side, μ their mean over the searched images; exact, in blocks, from a file.

    query: a picture in any form. images: where to search, a source in any form, or a survey. With a property φ is
    M(x)/‖M(x)‖ along the differences of the property's texts, or what the heads write that are labelled with it
    (along="heads"): in a survey that has labels, by their `attribute`; else, and with a pool of its own, by what the
    first texts that span them name. By the whole representation where neither units nor a property is named.

    Raises `SummandError` for units that the model does not have, and for a property that the pool has no texts of, or
    that no head is labelled with.
    """
    picture, given = as_picture(query), images_of(images, options.count)
    units, notes, axes = units_of(options.units or ()), [], None
    if options.property is not None and options.along == "heads":
        units, notes = _units_of_property(model, given, options)
    elif options.property is not None:
        chosen, notes = readable_pool(model, options.pool or model.world.pool)
        axes = property_axes(model, chosen, options.property)
    space = Space(tuple(units), axes)
    asked = space.features(model, model.preprocess(picture)[None].to(model.device, model.dtype))
    index = build_index(model, given.source, space, batch_size=options.batch_size, progress=None)
    found, scores = index.search(asked, options.top, options.metric, not options.uncentred)
    truth = given.source.attributes()
    rows = []
    for rank, (image, score) in enumerate(zip(found[0].tolist(), scores[0].tolist(), strict=True), start=1):
        row: dict[str, Any] = {"rank": rank, "image": given.source.name(image), "index": image, "score": score}
        if truth is not None:
            row["attributes"] = {str(key): _plain(value) for key, value in truth.iloc[image].items()}
        rows.append(row)
    return Retrieved(
        rows, options, model=model.name, data=given.name, notes=[*notes, *unread(index.skipped)],
        picture=picture, source=given.source, units=[unit.name for unit in units], searched=len(index),
        axes=0 if axes is None else len(axes),
        skipped=[{"name": item.name, "reason": item.reason} for item in index.skipped],
        query=str(query) if isinstance(query, (str, os.PathLike)) else None,
    )  # fmt: skip


def _units_of_property(model: Model, given: Given, options: RetrieveOptions) -> tuple[tuple[Unit, ...], list[str]]:
    """From a survey's own statistics, else from a first pass over some of the images."""
    assert options.property is not None
    layers = layers_of(model, options.layers, last=4)
    if given.run is not None and "heads" in given.run.manifest.groups:
        moments = given.run.moments("heads")
    else:
        some = few(given, _LABEL_IMAGES)
        moments = survey_of(model, some, [Group("heads")], top=0, batch_size=options.batch_size).moments("heads")
    chosen, notes = readable_pool(model, options.pool or model.world.pool)
    called = heads_in_words(given.run) if options.pool is None else {}  # else they are labels of another pool
    known = {unit: words.kind for unit, words in called.items()}
    return property_units(model, moments, chosen, options.property, layers, known), notes


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value
