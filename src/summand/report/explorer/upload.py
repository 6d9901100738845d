"""A picture that somebody sent: read, or refused in words."""

from __future__ import annotations

import warnings
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from ...data.pictures import read_image
from ...errors import SummandError

MOST_PIXELS = 50_000_000
"""A picture is refused by its header before it is decoded, so that a small file cannot fill the memory."""


def read_upload(path: str | Path, most: int = MOST_PIXELS) -> Image.Image:
    """The picture as RGB, upright. Raises `SummandError` that says why a file is none, or too large."""
    path = Path(path)
    try:
        if path.stat().st_size == 0:
            raise SummandError("the file is empty (0 bytes); choose a picture (PNG, JPEG, WebP, …)")
        width, height = _size(path)
        if width * height > most:
            raise SummandError(
                f"the picture has {width:,} × {height:,} pixels, more than {most / 1e6:,.0f} million; make it smaller"
            )
        return read_image(path)
    except OSError as error:
        raise SummandError(
            f"the file cannot be read as a picture: {error.strerror or error}; choose a PNG, JPEG, WebP, GIF or TIFF"
        ) from error


def _size(path: Path) -> tuple[int, int]:
    """(width, height) as the file's header has it. Raises `OSError` for a file that is no picture."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as opened:
                return opened.size
    except UnidentifiedImageError as error:
        raise OSError("not an image that Pillow can read, whatever its name says") from error
    except Image.DecompressionBombError as error:
        raise SummandError("the picture is far too large to be read safely; make it smaller") from error
    except (SyntaxError, ValueError) as error:  # of broken headers
        raise OSError(str(error)) from error
