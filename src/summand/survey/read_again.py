"""The images of a survey, read again from where they came."""

from __future__ import annotations

from ..data import ImageSource, open_source
from ..errors import SummandError
from .fingerprints import names_hash


def read_again(said: str, location: str | None, count: int | None, images: int, files: str) -> ImageSource:
    """A source again. Raises `SummandError` where it cannot be read, or holds other images than it did."""
    if location is None:
        raise SummandError(f"the images of this run were in memory ({said}) and cannot be read again")
    try:
        source = open_source(location, count)
    except SummandError as error:
        raise SummandError(f"the images of this run cannot be read again: {error}") from error
    if len(source) != images or names_hash(source) != files:
        raise SummandError(
            f"the images in {location} are no longer those of this run; bring them back, or survey anew what is there"
        )
    return source
