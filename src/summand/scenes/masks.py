"""Scenes with masks: each picture is asked for one group of its objects, by shape, colour or texture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from PIL import Image

from ..data.masks.base import UNLABELLED, Masked, MaskSource
from ..errors import SummandError
from .attributes import ATTRIBUTES
from .phrases import prompts
from .render import Scenes
from .source import parse_source

ASKED = ("shape", "colour", "texture")
_CHUNK = 240  # a multiple of what the renderer draws at once


def masks(source: str, count: int | None, attribute: str | None = None) -> MaskSource:
    """A sample of scenes, `scenes:count=…,seed=…,groups=…`.

    Without `attribute` each scene has one question: a text that names one of its groups by its shape, its colour or
    its texture (drawn by the sample's seed), and that group's mask. Groups differ in all three. Scenes whose group is
    hidden behind another are left to the caller: their mask is empty. With an attribute the masks are semantic: every
    pixel of an object is the class that is its value, everything else background.
    """
    sample = parse_source(source)
    if count is not None:
        sample = replace(sample, count=min(count, sample.count) if "count=" in source else count)
    if attribute is not None and attribute not in ASKED:
        raise SummandError(f"scenes are segmented by {', '.join(ASKED)}, not by {attribute!r}")
    values = [(name, value) for name in (ASKED if attribute is None else (attribute,)) for value in ATTRIBUTES[name]]
    index = {value: i for i, value in enumerate(values)}
    rng = np.random.default_rng([sample.seed, 31])
    which, groups = rng.integers(len(ASKED), size=len(sample)), rng.integers(sample.groups, size=len(sample))
    kept: dict[int, Scenes] = {}

    def chunk(number: int) -> Scenes:
        if number not in kept:
            kept.clear()
            kept[number] = sample.sample(number * _CHUNK, (number + 1) * _CHUNK)
        return kept[number]

    def read(row: int) -> Masked:
        found, at = chunk(row // _CHUNK), row % _CHUNK
        image = Image.fromarray(found.images[at])
        tables = (found.attributes, found.second)
        if attribute is None:
            asked, group = ASKED[which[row]], int(groups[row])
            mask = found.group_masks[at, group].astype(np.int32)
            return Masked(f"scene {row}", image, mask, index[asked, tables[group].loc[at, asked]])
        mask = np.zeros(found.images.shape[1:3], dtype=np.int32)
        for group in range(sample.groups):
            mask[found.group_masks[at, group]] = 1 + index[attribute, tables[group].loc[at, attribute]]
        mask[found.letter_masks[at]] = UNLABELLED
        return Masked(f"scene {row}", image, mask)

    texts = tuple(tuple(prompts(name)[value]) for name, value in values)
    names = tuple(f"{name} {value}" for name, value in values)
    if attribute is None:
        return MaskSource(str(sample), names, len(sample), read, prompts=texts, figures=True)
    return MaskSource(
        str(sample), ("background", *names), len(sample), read, prompts=(("background",), *texts), background=0
    )
