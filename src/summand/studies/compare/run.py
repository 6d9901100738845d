"""What changed from one model to another, in words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ...data import ImageSource
from ...data.pictures import as_picture
from ...data.sources import read_batch
from ...errors import SummandError
from ...models import Model
from ...models.readable import readable
from ...survey.cache import survey_of
from ...survey.labels import kinds_of
from ...survey.make import chosen_groups
from ...survey.survey import Survey
from ...text.kinds import Values, values_of_pool
from ...text.pools import Pool
from ...text.pools import pool as pool_of
from ..given import Given, images_of
from ..verb import verb
from .moved import moved
from .options import CompareOptions
from .readings import Readings, blocks, changes, swaps, words
from .result import Compared
from .units import Units, changed, matched, through

_FEWEST = 40
_NOTHING = 1e-9  # the variance of embeddings of length 1 that is rounding
_MOST = 400  # values: more are taken evenly


@verb(CompareOptions)
@torch.no_grad()
def compare(a: Model, b: Model, images: Any = None, *, options: CompareOptions) -> Compared:
    """What changed from a to b: shares of properties and ties between them in what is read of the images, words, units,
    and the images that moved most. Everything is compared along the texts of a pool, each model's own embeddings of
    them, so that embedding spaces, sizes and seeds may differ.

    images: in any form, by default those of the models' world; at least 40. pool: texts that both models can read.

    Raises `SummandError` for a pool that one tokenizer refuses, images that are pixels prepared for one model alone,
    and too few images.
    """
    given = _images(a, images, options.count)
    if len(given.source) < _FEWEST:
        raise SummandError(
            f"{given.name} holds {len(given.source)} image(s); a comparison needs at least {_FEWEST}, better 500"
        )
    notes = _preparation(a, b, given.source)
    chosen, unread = common_pool(a, b, options.pool)
    notes += unread
    values, texts = common_values(a, b, chosen)
    surveys = _survey(a, given.source, options), _survey(b, given.source, options)
    for model, survey in zip((a, b), surveys, strict=True):
        _check_differ(model, survey.embeddings)
    both, rows = _both(surveys)
    before, after = (
        Readings.of(survey.embeddings[place], own, values.kinds)
        for survey, place, own in zip(surveys, both, texts, strict=True)
    )
    found, limit = changes(before, after, options.draws)
    aside = set.intersection(*(set(survey.held_out_images.tolist()) for survey in surveys))
    if len(aside) < 2:
        raise SummandError(f"of the images kept aside both models could read {len(aside)}; at least 2 are needed")
    first, second = (Units.of(survey, own, aside) for survey, own in zip(surveys, _centred(texts, values), strict=True))
    match, how = matched(first, second, options.matching)
    table = [
        {"how": one.how, "what": one.name, "before": one.before, "after": one.after, "size": one.size, "z": one.z,
         "named": one.named, "through": through(first, second, match, one, values.kinds) if one.named else [],
         "swap": swaps(before, after, one.what[0], values.texts) if one.named and one.how == "read" else None}
        for one in found
    ]  # fmt: skip
    named = any(row["named"] for row in table)
    return Compared(
        table, options, model=f"{a.name} → {b.name}", data=given.name, notes=notes, limit=limit, matching=how,
        words=words(before, after, list(values.texts)),
        units=changed(first, second, match, values.texts, values.kinds),
        images=_moved(a, b, given, rows, (before, after), texts, values, options) if named else [],
        source=given.source, pool=chosen.name, seen=len(rows),
    )  # fmt: skip


def _moved(a: Model, b: Model, given: Given, rows: list[int], readings: Any, texts: Any, values: Values,
           options: CompareOptions) -> list[dict[str, Any]]:  # fmt: skip
    words_of, top = list(values.texts), options.top
    return moved((a, b), given.source, rows, readings, texts, words_of, top, options.batch_size)


def _images(model: Model, images: Any, count: int | None) -> Given:
    if images is None and model.world.images is None:
        raise SummandError(f"give images that both models are shown; {model.name} has none of its own")
    return images_of(model.world.images if images is None else images, count)


def _preparation(a: Model, b: Model, source: ImageSource) -> list[str]:
    """What must be said where the models see a picture differently. Raises `SummandError` for pixels of one alone."""
    first = _first(source)
    if isinstance(first, Tensor):
        sizes = [tuple(model.tower.image_size) for model in (a, b)]
        if sizes[0] != sizes[1] or tuple(first.shape[-2:]) != sizes[0]:
            raise SummandError(
                f"these images are pixels of {tuple(first.shape[-2:])}, {a.name} reads {sizes[0]} and {b.name} "
                f"{sizes[1]}; give pictures, which each model prepares itself"
            )
        return []
    seen = [model.preprocess(first).float().cpu() for model in (a, b)]
    if seen[0].shape != seen[1].shape:
        sizes = " and ".join(f"{tuple(one.shape[-2:])}" for one in seen)
        return [f"the models see pictures of {sizes} pixels: some of what changed may be that"]
    if not torch.allclose(seen[0], seen[1], atol=1e-3):
        return ["the models prepare pictures otherwise (crop, mean or deviation): some of what changed may be that"]
    return []


def _check_differ(model: Model, embeddings: Tensor) -> None:
    """Raises `SummandError` where what differs between images is rounding: ties of that are ties of nothing."""
    if float(embeddings.double().var(dim=0).sum()) < _NOTHING:
        raise SummandError(
            f"these images are all one and the same to {model.name}, so there is nothing to compare; give images that "
            f"differ"
        )


def _first(source: ImageSource) -> Any:
    """The first image that can be read: a picture, or pixels as a tensor. Raises `SummandError` where none can."""
    for index in range(len(source)):
        found = read_batch(source, [index], [])
        if found.indices:
            return found.images if isinstance(found.images, Tensor) else as_picture(found.images[0])
    raise SummandError(f"none of the images of {source.label} can be read")


def common_pool(a: Model, b: Model, given: Any) -> tuple[Pool, list[str]]:
    """The texts that both models can read. Raises `SummandError` where one of them can read less than half."""
    whole = pool_of(a.world.pool if given is None else given)
    kept, unread = [], []
    for model in (a, b):
        try:
            own = set(readable(whole, model._tokenizer)[0].texts)
        except SummandError as error:
            raise SummandError(f"{_refused(whole, model, given)}: {error}") from error
        if 2 * len(own) < len(whole.texts):
            left = next(text for text in whole.texts if text not in own)
            raise SummandError(f"{_refused(whole, model, given)}: {len(own):,} of {len(whole.texts):,}, not {left!r}")
        if len(own) < len(whole.texts):
            unread.append(f"{model.name} cannot read {len(whole.texts) - len(own):,} of the texts of {whole.name}")
        kept.append(own)
    places = [i for i, text in enumerate(whole.texts) if all(text in own for own in kept)]
    lines = tuple(whole.lines[i] for i in places) if whole.lines else whole.lines
    return replace(whole, texts=tuple(whole.texts[i] for i in places), lines=lines), unread


def _refused(whole: Pool, model: Model, given: Any) -> str:
    own = "" if given is not None else ", the first model's own,"
    return f"the pool {whole.name!r}{own} is none of {model.name}; give texts that both models can read, pool=[…]"


def common_values(a: Model, b: Model, chosen: Pool) -> tuple[Values, tuple[Tensor, Tensor]]:
    """The values that the texts name, as the first model folds them, and each model's embeddings of them."""
    own, other = (model.encode_text(chosen.texts, progress=None).cpu().double() for model in (a, b))
    values = values_of_pool(chosen.texts, own, kinds_of(chosen))
    places = np.unique(np.linspace(0, len(values) - 1, min(_MOST, len(values))).round().astype(int))
    values = Values(
        tuple(values.texts[i] for i in places),
        tuple(values.members[i] for i in places),
        tuple(values.kinds[i] for i in places),
        values.embeddings[places],
    )
    if len(blocks(values.kinds)) < 1:
        raise SummandError(
            f"no two texts of {chosen.name} name values of one property; give some that do, such as a red thing and a "
            f"blue thing"
        )
    folded = torch.stack([F.normalize(other[list(members)], dim=1).mean(dim=0) for members in values.members])
    return values, (values.embeddings, folded)


def _centred(texts: tuple[Tensor, Tensor], values: Values) -> tuple[Tensor, ...]:
    """The embeddings of values less the mean of those of their property."""
    found = []
    for each in texts:
        own = each - each.mean(dim=0)
        for places in blocks(values.kinds).values():
            own[places] = each[places] - each[places].mean(dim=0)
        found.append(own)
    return tuple(found)


def _survey(model: Model, source: ImageSource, options: CompareOptions) -> Survey:
    groups = chosen_groups(model, options.units)
    return survey_of(model, source, groups, held_out=0.2, top=0, batch_size=options.batch_size)


def _both(surveys: tuple[Survey, ...]) -> tuple[list[list[int]], list[int]]:
    """The rows, in each survey, of the images that both could read; and their numbers."""
    indices = [survey.images.index.tolist() for survey in surveys]
    common = sorted(set(indices[0]) & set(indices[1]))
    where = [{number: row for row, number in enumerate(each)} for each in indices]
    return [[own[number] for number in common] for own in where], common
