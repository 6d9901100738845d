"""What every segmentation data set is to its readers' callers: pictures, masks of class numbers, and class names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from ...errors import SummandError
from ..pictures import check_file, read_image

UNLABELLED = -1


@dataclass(frozen=True)
class Masked:
    """A picture and its truth.

    mask: int32 [height, width]: the class of each pixel, `UNLABELLED` where it counts for nothing; for figures 1 on the
    figure and 0 on the ground. asked: the class that the picture is asked for, where the data set says it.
    """

    name: str
    image: Image.Image
    mask: np.ndarray
    asked: int | None = None


@dataclass(frozen=True)
class MaskSource:
    """Pictures with masks, read one by one.

    classes: their names. prompts: the texts of each class, where the data set has its own; else templates are filled
    with the names. figures: masks say figure or ground, and no class. background: the class that is no thing (in
    `classes`), which is never asked for. names: of the pictures, where files name them. read(index) raises `OSError`
    for a broken file and `SummandError` for a mask that does not fit.
    """

    label: str
    classes: tuple[str, ...]
    count: int
    read: Callable[[int], Masked]
    prompts: tuple[tuple[str, ...], ...] | None = None
    figures: bool = False
    background: int | None = None
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        things = [name for i, name in enumerate(self.classes) if i != self.background]
        if not things:
            raise SummandError(f"{self.label}: the class list is empty; expected at least one class beside background")
        texts = [text for row in self.prompts for text in row] if self.prompts is not None else things
        for text in texts:
            if not text.strip():
                raise SummandError(f"{self.label}: a class has an empty name or prompt; give every class a text")
        if self.prompts is not None and (
            len(self.prompts) != len(self.classes)
            or any(not row for i, row in enumerate(self.prompts) if i != self.background)
        ):
            raise SummandError(f"{self.label}: a class has no prompt; give every class at least one text")

    def __len__(self) -> int:
        return self.count

    def name(self, index: int) -> str:
        """What picture `index` is called, readable or not."""
        return self.names[index] if self.names else f"picture {index}"

    def at_most(self, count: int | None) -> MaskSource:
        """The same source with at most so many pictures, evenly over it."""
        if count is None or count >= self.count:
            return self
        kept = spread(list(range(self.count)), count)
        return replace(
            self, count=count, read=lambda index: self.read(kept[index]), names=tuple(self.name(i) for i in kept)
        )

    @property
    def things(self) -> list[int]:
        """The classes that can be asked for: all but the background."""
        return [index for index in range(len(self.classes)) if index != self.background]


def spread(items: list, count: int | None) -> list:
    """At most `count` of the items, evenly over the list."""
    if count is None or count >= len(items):
        return items
    return [items[i] for i in np.linspace(0, len(items) - 1, count).round().astype(int)]


def read_index_png(path: Path) -> np.ndarray:
    """The numbers of an index mask, as they are: palette, greyscale of 8 or 16 bit. Raises `OSError`, and
    `SummandError` for a picture in colours."""
    check_file(path)
    try:
        with Image.open(path) as opened:
            if opened.mode not in ("P", "L", "I", "I;16", "I;16B", "1"):
                raise SummandError(
                    f"{path}: an index mask has one channel of class numbers (palette or greyscale), got {opened.mode}"
                )
            return np.asarray(opened).astype(np.int32)
    except UnidentifiedImageError as error:
        raise OSError("its mask is not an image that Pillow can read") from error
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise OSError(f"its mask cannot be read: {str(error) or type(error).__name__}") from error


def paired(name: str, image: Path, ids: np.ndarray, table: dict[int, int]) -> Masked:
    """A picture with its mask, ids turned into class indices by `table` (`UNLABELLED` for what does not count)."""
    picture = read_image(image)
    if ids.shape != (picture.height, picture.width):
        raise SummandError(
            f"{name}: the mask is {ids.shape[1]} × {ids.shape[0]} pixels, the image {picture.width} × {picture.height}"
        )
    found = np.unique(ids)
    unknown = [int(i) for i in found if int(i) not in table]
    if unknown:
        raise SummandError(
            f"{name}: the mask holds the ids {', '.join(map(str, unknown[:8]))}, which the class list does not name"
        )
    look_up = np.array([table[int(i)] for i in found], dtype=np.int32)
    return Masked(name, picture, look_up[np.searchsorted(found, ids)])


def split_list(path: Path, where: str) -> list[str]:
    """The names of a split file, one a line."""
    names = [line.split()[0] for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    if not names:
        raise SummandError(f"{where}: the split file {path} is empty")
    return names


def wrong_tree(what: str, root: Path, missing: str, tree: str) -> SummandError:
    """The error for a folder that is not laid out as its format is."""
    return SummandError(f"{root} is not {what}: there is no {missing}. Expected\n{tree}")
