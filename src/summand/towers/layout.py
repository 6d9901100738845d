"""Where on the image a tower's grid of patches lies."""

from __future__ import annotations

from typing import Any

from ..errors import SummandError
from .base import Tower


def grid_of(image_size: tuple[int, int], patch: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of whole patches: a strided convolution without padding drops what is left over at the lower
    and right edge."""
    rows, columns = image_size[0] // patch[0], image_size[1] // patch[1]
    if not (rows and columns):
        raise SummandError(f"its patches of {_sides(patch)} pixels are larger than its images of {_sides(image_size)}")
    return rows, columns


def covering(tower: Any, patch: tuple[int, int]) -> Any:
    """The tower, with `covered` set: patches × pixels of a patch. SigLIP-SO400M at 384 pixels has 27 patches of 14."""
    tower.covered = (tower.grid[0] * patch[0], tower.grid[1] * patch[1])
    return tower


def covered(tower: Tower) -> tuple[int, int]:
    """Height and width in pixels that the grid covers, from the upper left corner; the whole image if not told."""
    return getattr(tower, "covered", tower.image_size)


def patch_size(tower: Tower) -> tuple[int, int]:
    """Height and width in pixels of one patch."""
    (height, width), (rows, columns) = covered(tower), tower.grid
    return height // rows, width // columns


def with_prefix(tower: Any, prefix: int | None) -> Any:
    """The tower with so many tokens before its grid: the class token and the registers that the caller's own tower
    adds behind it. None leaves it as it is. Raises `SummandError` where the class token is not what is read out."""
    if prefix is None or (type(prefix) is int and prefix == tower.prefix):
        return tower
    if type(prefix) is not int or prefix < 1:
        raise SummandError(f"prefix counts the class token and the registers behind it, so at least 1; got {prefix!r}")
    if tower.prefix < 1 or getattr(tower, "averaged", True):
        raise SummandError(
            f"prefix={prefix} is for a tower that reads out its class token; this {tower.kind} reads out something "
            f"else, and has {tower.prefix} tokens before its grid"
        )
    tower.prefix = prefix
    return tower


def pair(size: Any) -> tuple[int, int]:
    """(height, width) of a size that may be one number."""
    height, width = size if isinstance(size, (tuple, list)) else (size, size)
    return int(height), int(width)


def nearest_multiples(side: int, patch: int) -> tuple[int, ...]:
    """The multiples of the patch size beside a side that is none.

    >>> nearest_multiples(230, 16)
    (224, 240)
    """
    below = side // patch * patch
    return (below, below + patch) if below else (patch,)


def check_multiple(image_size: Any, patch: tuple[int, int], name: str) -> None:
    """Raises `SummandError`, which names the nearest sizes, unless both sides are whole numbers of patches."""
    height, width = pair(image_size)
    wrong = [(side, unit) for side, unit in zip((height, width), patch, strict=True) if side % unit]
    if not wrong:
        return
    side, unit = wrong[0]
    near = " or ".join(str(multiple) for multiple in nearest_multiples(side, unit))
    what = "image_size" if height == width else f"the side {side} of image_size"
    raise SummandError(
        f"{name} reads patches of {unit} pixels: {what} must be a multiple of it, such as {near}; got {image_size!r}"
    )


def _sides(size: tuple[int, int]) -> str:
    return f"{size[0]} × {size[1]}"
