"""Scenes as a source of images, of labelled images and of masks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from ..data.labelled import Labelled
from ..data.masks.base import MaskSource
from ..data.schemes import SCHEMES, Scheme
from ..errors import SummandError, listed
from .attributes import ATTRIBUTES, LARGEST_COUNT, Causes
from .captions import captions
from .source import parse_source

_CHUNK, _CAPTIONS = 256, 4


class SceneImages:
    """Rendered scenes, drawn when they are read."""

    def __init__(self, source: str, count: int | None) -> None:
        self.label = source
        self._source = parse_source(source)
        if count is not None:
            # A longer sample starts with the same scenes, but the coins of ties and shifts are drawn for the whole.
            if not 1 <= count <= LARGEST_COUNT:
                raise SummandError(f"count must be from 1 to {LARGEST_COUNT:,} scenes, got {count:,}")
            self._source = replace(self._source, count=count)
        self._chunk: tuple[int, np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self._source)

    def name(self, index: int) -> str:
        return f"scene {index}"

    def array(self, start: int, stop: int) -> np.ndarray:
        """uint8 [scene, 64, 64, 3] of scenes start … stop − 1."""
        return self._source.sample(start, stop).images

    def pick(self, indices: np.ndarray) -> np.ndarray:
        """uint8 [scene, 64, 64, 3] of these scenes."""
        return self._source.pick(indices).images

    def image(self, index: int) -> Image.Image:
        chunk = index // _CHUNK
        if self._chunk is None or self._chunk[0] != chunk:
            self._chunk = (chunk, self.array(chunk * _CHUNK, (chunk + 1) * _CHUNK))
        return Image.fromarray(self._chunk[1][index % _CHUNK])

    def attributes(self) -> pd.DataFrame:
        return self._source.causes.table()

    def caption(self, index: int) -> str:
        """A true sentence about a scene: of some, the one that says most."""
        causes = self._source.causes
        one = Causes(
            causes.groups[index : index + 1], causes.place[index : index + 1], causes.letter[index : index + 1]
        )
        return max(captions(one, index, _CAPTIONS).texts, key=lambda text: len(text.split()))


def labelled(data: str, classes: Any, groups: str | None, count: int | None) -> Labelled:
    """Scenes with the value of an attribute as class, and that of another one as group."""
    wanted = [classes] if isinstance(classes, str) else list(classes or [])
    for attribute in [*wanted, *([groups] if groups else [])]:
        if attribute not in ATTRIBUTES or len(wanted) != 1:
            raise SummandError(
                f"on scenes the classes and the groups are attributes, one each ({', '.join(ATTRIBUTES)}); "
                f"got {listed([*wanted, *([groups] if groups else [])])}"
            )
    if not wanted:
        raise SummandError(f"say which attribute of the scenes is the class (classes={' | '.join(ATTRIBUTES)})")
    source = SceneImages(data, count)
    sample = replace(parse_source(data), count=len(source))
    causes, (attribute,) = sample.causes, wanted
    return Labelled(
        source,
        tuple(str(value) for value in ATTRIBUTES[attribute]),
        causes.codes(attribute),
        tuple(str(value) for value in ATTRIBUTES[groups]) if groups else (),
        causes.codes(groups) if groups else None,
        attribute=attribute,
        group_attribute=groups,
    )


def _masks(source: str, count: int | None, attribute: str | None) -> MaskSource:
    from .masks import masks

    return masks(source, count, attribute)


SCHEMES.add("scenes", Scheme(SceneImages, labelled, _masks))
