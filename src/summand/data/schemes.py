"""Images that are named by a word and options, as `scenes:count=500`, and no files: brought by rooms outside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..registry import Registry
from .tables import TABLES

if TYPE_CHECKING:
    from .labelled import Labelled
    from .masks.base import MaskSource
    from .sources import ImageSource


@dataclass(frozen=True)
class Scheme:
    """How sources `name` and `name:options` are read; each function is given the whole string.

    images: (source, count). labelled: (source, classes, groups, count), as `open_labelled` has them. masks: (source,
    count, attribute), as `open_masks` has them.
    """

    images: Callable[[str, int | None], ImageSource]
    labelled: Callable[[str, Any, str | None, int | None], Labelled]
    masks: Callable[[str, int | None, str | None], MaskSource]


SCHEMES: Registry[Scheme] = Registry("data")
"""Word → scheme."""


def scheme_of(source: str) -> Scheme | None:
    """The scheme that a source string names; None for a path, be it of a folder whose name begins alike."""
    return SCHEMES.get(str(source).partition(":")[0])


def is_source(source: str) -> bool:
    """Whether it is the form of a source of many images, and not of one picture's file.

    >>> is_source("scenes:count=3"), is_source("hf:beans"), is_source("list.csv#image"), is_source("a.png")
    (True, True, True, False)
    """
    path = Path(source.rpartition("#")[0] or source)
    named = scheme_of(source) is not None or source.startswith(("hf:", "hf-stream:", "wds:")) or "://" in source
    return named or path.suffix.lower() in (*TABLES, ".zip", ".tar") or Path(source).expanduser().is_dir()
