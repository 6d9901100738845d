"""Labelled images in whatever form a caller has them: a source string, lists, or opened already."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from ..errors import SummandError
from .adapters import ListedImages
from .labelled import Labelled, codes_of, open_labelled, spread
from .sources import ImageSource, Some, open_source

_FORMS = "a source string, (images, labels), (images, labels, groups), or what open_labelled returned"


def as_labelled(
    data: Any,
    classes: str | Sequence[str] | None = None,
    groups: str | None = None,
    *,
    count: int | None = None,
    **of_string: Any,
) -> Labelled:
    """Labelled images of a source string, as `open_labelled` reads it; of (images, labels) or (images, labels, groups);
    or those that are opened already.

    images: a source string, an opened source, or a list of pictures (paths, PIL images, uint8 arrays). labels, groups:
    one for each image: names, or numbers into `classes`. count: use at most so many, spread evenly. of_string: what
    else `open_labelled` takes.

    Raises `SummandError` for anything else, and for lists of different lengths.
    """
    given = {"classes": classes, "groups": groups, **of_string}
    given = {option: value for option, value in given.items() if value is not None and option != "usual_split"}
    if isinstance(data, Labelled):
        if given:
            raise SummandError(f"these images are labelled already; leave out {', '.join(given)}")
        return _some(data, count)
    if isinstance(data, (str, os.PathLike)):
        return open_labelled(str(data), classes, groups, count=count, **of_string)
    if not (isinstance(data, (tuple, list)) and len(data) in (2, 3)):
        raise SummandError(f"expected labelled images as {_FORMS}; got {type(data).__name__}")
    wrong = [option for option in given if option != "classes"]
    if wrong:
        raise SummandError(f"{', '.join(wrong)}: of a table or a folder; leave out where lists are given")
    names = [classes] if isinstance(classes, str) else classes
    return _some(_of_lists(data[0], data[1], data[2] if len(data) == 3 else None, names), count)


def as_source(images: Any, count: int | None = None, split: str | None = None) -> ImageSource:
    """An image source of a source string, an opened source, or a list of pictures. split: of a table that has one."""
    if isinstance(images, (str, os.PathLike)):
        return open_source(str(images), count, split)
    if isinstance(images, ImageSource):
        return Some(images, spread(len(images), count)) if count is not None and count < len(images) else images
    if isinstance(images, (list, tuple, np.ndarray)) and getattr(images, "shape", None) != () and len(images):
        return as_source(ListedImages(images), count)
    raise SummandError(
        f"expected images as a source string, an opened source or a list of pictures that is not empty; got "
        f"{type(images).__name__}"
    )


def _of_lists(images: Any, labels: Any, groups: Any, names: Sequence[str] | None) -> Labelled:
    source = as_source(images)
    for what, given in (("labels", labels), ("groups", groups)):
        if given is not None and len(given) != len(source):
            raise SummandError(f"there are {len(source)} images and {len(given)} {what}; give one for each image")
    classes, codes = codes_of(pd.Series(_plain(labels)), None if names is None else list(names), "labels", "classes")
    if groups is None:
        return Labelled(source, classes, codes)
    values, kinds = codes_of(pd.Series(_plain(groups)), None, "groups", "")
    return Labelled(source, classes, codes, values, kinds)


def _plain(values: Any) -> list[Any]:
    """Numbers and names of a list, an array, a tensor or a series."""
    return values.tolist() if hasattr(values, "tolist") else list(values)


def _some(data: Labelled, count: int | None) -> Labelled:
    if count is not None and count < 1:
        raise SummandError(f"count must be at least 1, got {count}")
    if count is None or count >= len(data):
        return data
    kept = spread(len(data), count)
    groups = None if data.groups is None else data.groups[kept]
    return replace(data, source=Some(data.source, kept), labels=data.labels[kept], groups=groups)
