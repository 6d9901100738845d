"""A picture of any kind as RGB, upright, as a viewer shows it; or the reason why not."""

from __future__ import annotations

import os
import stat
import struct
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageDraw, UnidentifiedImageError

from ..errors import SummandError, first_line

_ORIENTATION = 0x0112  # tag of EXIF
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_GONE = 96  # pixels of what stands for a picture that is gone
_RECORDS = ("exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp")
_BITS_PER_SAMPLE, _PHOTOMETRIC, _MAX_SAMPLE_VALUE = 258, 262, 281  # tags of TIFF
_WHITE_IS_ZERO = 0
_DEPTHS = (8, 10, 12, 16)
"""Bits of the sensors whose numbers are kept in 16 or 32: the smallest that holds the largest number is taken."""
_NEGATIVE = 0.01  # of the full scale: less is the overshoot of a filter
_AT_ONCE = 1 << 20  # numbers that are worked on at a time
_READING = (SyntaxError, ValueError, EOFError, TypeError, struct.error, OSError, Image.DecompressionBombError)


def read_image(path: Path | BinaryIO) -> Image.Image:
    """A picture, of a file or of an opened one, as RGB, upright; of an animation the first. Raises `OSError` with a
    short reason for anything that cannot be read.

    Pictures up to Pillow's limit (179 million pixels) are read without a warning; larger ones are refused.
    """
    if isinstance(path, Path):
        check_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as opened:
                opened.seek(0)
                return as_rgb(opened)
    except UnidentifiedImageError as error:
        raise OSError("not an image that Pillow can read") from error
    except SummandError as error:
        raise OSError(str(error)) from error
    except OSError:
        raise
    except Exception as error:  # decoders raise anything, from SyntaxError to NotImplementedError
        raise OSError(first_line(error)) from error


def check_file(path: Path) -> None:
    """Raise `OSError` for what is no ordinary file: a pipe would be waited for, without end."""
    try:
        kind = path.stat().st_mode
    except ValueError as error:  # a null byte in its name
        raise OSError(f"no file can have this name: {error}") from error
    if not stat.S_ISREG(kind):
        raise OSError(f"it is {'a folder' if stat.S_ISDIR(kind) else 'a device or a pipe'}, not a file")


def shown(read: Callable[[], Image.Image]) -> Image.Image:
    """A picture that is to be shown; in the place of one that can no longer be read, a grey square with a cross."""
    try:
        return read().convert("RGB")
    except OSError:
        gone = Image.new("RGB", (_GONE, _GONE), "#dddddd")
        lines = ImageDraw.Draw(gone)
        for ends in ((0, 0, _GONE, _GONE), (0, _GONE, _GONE, 0)):
            lines.line(ends, fill="#999999", width=2)
        return gone


def as_picture(given: Any) -> Image.Image:
    """A picture in any form: a path, a PIL image, or a uint8 array [height, width, 3]. Raises `SummandError` for what
    cannot be read."""
    if isinstance(given, Image.Image):
        return given
    if isinstance(given, np.ndarray):
        if given.ndim != 3 or given.shape[-1] != 3 or given.dtype != np.uint8:
            raise SummandError(f"expected a uint8 array [height, width, 3], got {given.dtype} {list(given.shape)}")
        return Image.fromarray(given)
    if not isinstance(given, (str, os.PathLike)):
        raise SummandError(f"expected a picture (a path, a PIL image, a uint8 array), got {type(given).__name__}")
    try:
        return read_image(Path(given).expanduser())
    except OSError as error:
        raise SummandError(f"cannot read the image {given}: {error.strerror or error}") from error


def as_rgb(image: Image.Image) -> Image.Image:
    """A picture of any mode as RGB, as a viewer shows it.

    Turned as its EXIF orientation says (once: the picture that comes back has none). Transparent parts on white. Whole
    numbers of more than 8 bits over the full scale: what the file declares, else the largest number of 8, 10, 12 or 16
    bits, whichever is the smallest that holds the picture's. Floats over 1, or over their largest value where that is
    more. A plain conversion would clip all of these. An RGB picture that is upright comes back as it is.

    Raises `SummandError` for a file that breaks off, numbers that are NaN, infinite or negative, colours of 12 bits in
    16, of which Pillow keeps only the upper byte, and colour spaces that it cannot convert.
    """
    rawmode = _rawmode(image)
    try:
        image.load()
    except _READING as error:
        raise SummandError(f"the picture cannot be read: {str(error) or type(error).__name__}") from error
    if image.mode[0] in "IF":
        return _upright(image, _of_numbers(image))
    if ";16" in rawmode and 0 < max(high for _, high in _extrema(image)) < 16:
        raise SummandError(
            "its colours are of 12 bits or less in 16, of which Pillow keeps only the upper 8; save it with its full "
            "range, or in 8 bits"
        )
    try:
        return _upright(image, _plain(image))
    except ValueError as error:
        raise SummandError(f"the picture cannot be shown as RGB ({error}); save it as RGB") from error


def _plain(image: Image.Image) -> Image.Image:
    """Of 8 bits."""
    if image.mode in ("La", "RGBa"):
        image = image.convert("LA" if image.mode == "La" else "RGBA")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        layered = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _of_numbers(image: Image.Image) -> Image.Image:
    """Of more than 8 bits; some rows at a time, so that a large picture costs a byte a number and not many of eight."""
    numbers = np.asarray(image)
    step = max(1, _AT_ONCE // max(1, numbers.shape[1]))
    strips = [slice(at, at + step) for at in range(0, len(numbers), step)]
    if not all(np.isfinite(numbers[strip]).all() for strip in strips):
        raise SummandError("the picture holds NaN or infinite numbers; mend it, or leave it out")
    full, least = _full_scale(image, float(numbers.max(initial=0))), float(numbers.min(initial=0))
    if least < -_NEGATIVE * full:
        raise SummandError(
            f"the picture holds negative numbers, down to {least:g}, and nothing says which is black; save it with "
            f"black at 0"
        )
    shown = np.empty(numbers.shape, np.uint8)
    inverted, clear = _tag(image, _PHOTOMETRIC) == _WHITE_IS_ZERO, image.info.get("transparency")
    for strip in strips:
        values = numbers[strip].astype(np.float64)
        eight = (values.clip(0, full) / full * 255).round().astype(np.uint8)
        eight = 255 - eight if inverted else eight
        shown[strip] = np.where(values == clear, np.uint8(255), eight) if isinstance(clear, int) else eight
    return Image.fromarray(shown).convert("RGB")


def _full_scale(image: Image.Image, largest: float) -> float:
    """The number that is white. largest: of the picture, at least 0."""
    if image.mode[0] == "F":
        return max(1.0, largest)
    bits = _tag(image, _BITS_PER_SAMPLE)
    declared = _tag(image, _MAX_SAMPLE_VALUE) or (2**bits - 1 if bits and bits < 16 else None)
    if declared and declared >= largest:
        return float(declared)
    return next((2.0**depth - 1 for depth in _DEPTHS if largest < 2**depth), largest)


def _tag(image: Image.Image, number: int) -> int | None:
    """A tag of a TIFF file, of its first sample; None for other pictures."""
    value: Any = getattr(image, "tag_v2", {}).get(number)
    value = value[0] if isinstance(value, tuple) and value else value
    return int(value) if isinstance(value, (int, float)) else None


def _rawmode(image: Image.Image) -> str:
    """How the numbers stand in the file, where the picture was not loaded before: "RGB;16B" for 16 bits a colour."""
    found: Iterator[Any] = (tile[3] for tile in getattr(image, "tile", None) or () if len(tile) > 3)
    args = next(found, "")
    args = args[0] if isinstance(args, tuple) and args else args
    return args if isinstance(args, str) else ""


def _extrema(image: Image.Image) -> list[tuple[int, int]]:
    """Smallest and largest value of the bands of colour."""
    bands = image.getextrema()
    bands = bands if isinstance(bands[0], tuple) else (bands,)
    return list(bands[:-1] if image.mode in ("RGBA", "LA") else bands)  # type: ignore[arg-type]


def _upright(original: Image.Image, shown: Image.Image) -> Image.Image:
    """As the original's EXIF says how it was held, and without the record. One that cannot be read says nothing."""
    try:
        turn = _TURNS.get(original.getexif().get(_ORIENTATION, 1))
    except Exception:
        turn = None
    if turn is None:
        return shown
    turned = shown.transpose(turn)
    turned.info = {key: value for key, value in turned.info.items() if key not in _RECORDS}
    return turned
