"""Scenes on paper and on disk: contact sheets to look at, folders to use elsewhere."""

from __future__ import annotations

import errno
import math
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from ..arguments import names_wrong_arguments
from ..errors import SummandError
from ..progress import Progress
from ..surroundings import remedy_of
from .attributes import GROUP_ATTRIBUTES
from .render import Scenes

MARKER = ".summand"
"""A file that marks a folder as written by summand, and says by which part of it."""

_OURS = "scenes\n"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_GAP = 4
_FONT_SIZE = 11
_LINE = 14  # pixels from one line of a label to the next
_QUIET = 500  # scenes that are written without a progress bar
_FOLDERS = ("images", "masks", "instances", "letters")
_PALETTE = [0, 0, 0, 230, 159, 0, 86, 180, 233, 0, 158, 115, 240, 228, 66, 0, 114, 178, 213, 94, 0, 204, 121, 167]
_README = """Scenes rendered by summand: 64 x 64 pixels, {count} of them, with the truth about each.

attributes.csv           one row a scene: the picture's file, then its attributes{second}
images/000000.png …      the pictures
masks/000000.png …       whose pixel it is: 0 background, 1 first group of objects, 2 second group (palette images)
instances/000000.png …   which object it is: 0 background, 1, 2, … (palette images)
letters/000000.png …     255 on the plate of the letter, else 0
"""


@names_wrong_arguments
def contact_sheet(
    images: np.ndarray, columns: int | None = None, scale: int = 2, labels: Sequence[str] | None = None
) -> Image.Image:
    """Pictures side by side on white: images uint8 [image, height, width, 3], each enlarged `scale` times, with a
    small label under each where `labels` are given (long ones are wrapped). Eight columns at most unless asked.

    Raises `SummandError` for images of another kind and for labels of another number.
    """
    images = _checked_images(images, columns, scale)
    if labels is not None and len(labels) != len(images):
        raise SummandError(f"expected one label for each of {len(images)} images, got {len(labels)}")
    columns = columns or min(8, math.ceil(math.sqrt(len(images))))
    height, width = images.shape[1] * scale, images.shape[2] * scale
    wrapped = [_wrap(label, width) for label in labels or [""] * len(images)]
    rows = [range(start, min(start + columns, len(images))) for start in range(0, len(images), columns)]
    tops = [_GAP]
    for row in rows:
        tops.append(tops[-1] + height + _LINE * max(len(wrapped[i]) for i in row) + _GAP)
    sheet = Image.new("RGB", (_GAP + min(columns, len(images)) * (width + _GAP), tops[-1]), "white")
    draw, font = ImageDraw.Draw(sheet), _font()
    for row, top in zip(rows, tops, strict=False):
        for column, i in enumerate(row):
            left = _GAP + column * (width + _GAP)
            picture = Image.fromarray(images[i]).resize((width, height), Image.Resampling.NEAREST)
            sheet.paste(picture, (left, top))
            for n, line in enumerate(wrapped[i]):
                draw.text((left + 1, top + height + n * _LINE), line, fill="black", font=font)
    return sheet


def _checked_images(images: np.ndarray, columns: int | None, scale: int) -> np.ndarray:
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8:
        raise SummandError(f"expected uint8 [image, height, width, 3], got {images.dtype} {list(images.shape)}")
    if not len(images):
        raise SummandError("expected at least one image for a contact sheet, got none")
    if scale < 1 or (columns is not None and columns < 1):
        raise SummandError(f"columns and scale must be at least 1, got columns={columns}, scale={scale}")
    return images


def _font() -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(_FONT_SIZE)


def _wrap(label: str, width: int) -> list[str]:
    """The label cut at spaces into lines of at most `width` pixels (a longer word has a line of its own)."""
    lines: list[str] = []
    for paragraph in label.splitlines():
        lines.append("")
        for word in paragraph.split():
            longer = f"{lines[-1]} {word}".strip()
            if lines[-1] and _font().getlength(longer) > width - 2:
                lines.append(word)
            else:
                lines[-1] = longer
    return lines


@names_wrong_arguments
def write_folder(scenes: Scenes, folder: str | Path) -> Path:
    """Write scenes with their masks and attributes for use elsewhere; returns the folder.

    Layout: images/, masks/ (0 background, 1 and 2 the groups), instances/ and letters/ with one 000000.png … a scene,
    attributes.csv (column `file` first; columns second_… only where some scene has two groups) and README.txt. A folder
    written earlier is replaced; any other folder that is not empty is refused.

    Raises `SummandError` where the folder is not ours or cannot be written; then nothing of ours is left in it.
    """
    folder = Path(folder)
    new = not folder.exists()
    try:
        _claim(folder)
        _write_pictures(scenes, folder)
        table = _table(scenes)
        table.to_csv(folder / "attributes.csv", index=False)
        second = ", the second group's as second_…" if "second_shape" in table else ""
        (folder / "README.txt").write_text(_README.format(count=f"{len(scenes):,}", second=second), encoding="utf-8")
    except OSError as error:
        _remove(folder, new)
        remedy = remedy_of(error) if error.errno in _NO_ROOM else "choose a folder that you may write to"
        raise SummandError(f"cannot write to {folder}: {error.strerror or error}; {remedy}") from error
    return folder


def _remove(folder: Path, new: bool) -> None:
    """What was written of scenes that cannot all be; and the folder, where it is new."""
    for inside in (folder / name for name in _FOLDERS):
        with suppress(OSError):
            for picture in inside.glob("[0-9]*.png"):
                picture.unlink()
            inside.rmdir()
    with suppress(OSError):
        for name in ("attributes.csv", "README.txt", MARKER):
            (folder / name).unlink(missing_ok=True)
        if new:
            folder.rmdir()


def _claim(folder: Path) -> None:
    """Make the folder, or empty it of what an earlier `write_folder` left; refuse one that holds anything else."""
    if folder.exists() and not folder.is_dir():
        raise SummandError(f"{folder} is a file; choose a folder to write the scenes to")
    marker = folder / MARKER
    if folder.is_dir() and any(folder.iterdir()) and not (marker.is_file() and marker.read_text() == _OURS):
        raise SummandError(f"{folder} is not empty and holds no scenes written by summand; choose another or empty it")
    folder.mkdir(parents=True, exist_ok=True)
    marker.write_text(_OURS)
    for name in _FOLDERS:
        (folder / name).mkdir(exist_ok=True)
        for old in (folder / name).glob("[0-9]*.png"):
            old.unlink()


def _write_pictures(scenes: Scenes, folder: Path) -> None:
    owners = scenes.group_masks[:, 0] + 2 * scenes.group_masks[:, 1].astype(np.uint8)
    for i, name in enumerate(_progress(_names(len(scenes)))):
        pictures = (
            Image.fromarray(scenes.images[i]),
            _indexed(owners[i]),
            _indexed(scenes.instances[i]),
            Image.fromarray(scenes.letter_masks[i].astype(np.uint8) * 255),
        )
        for subfolder, picture in zip(_FOLDERS, pictures, strict=True):
            picture.save(folder / subfolder / name)


def _names(count: int) -> list[str]:
    return [f"{i:06d}.png" for i in range(count)]


def _progress(names: list[str]) -> Iterable[str]:
    with Progress("writing scenes", len(names), "scenes", len(names) > _QUIET) as bar:
        for name in names:
            yield name
            bar.update()


def _indexed(codes: np.ndarray) -> Image.Image:
    """uint8 [row, column] as a palette image: the pixels hold the codes, a viewer shows them in colours."""
    picture = Image.fromarray(codes.astype(np.uint8))
    picture.putpalette(_PALETTE)
    return picture


def _table(scenes: Scenes) -> pd.DataFrame:
    table = scenes.attributes
    table.insert(0, "file", [f"images/{name}" for name in _names(len(scenes))])
    if scenes.group_masks.shape[1] > 1 and (scenes.causes.groups[:, 1, 0] >= 0).any():
        second = scenes.second[list(GROUP_ATTRIBUTES)].astype({"count": "Int64"})
        table = table.join(second.add_prefix("second_"))
    return table
