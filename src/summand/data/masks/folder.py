"""Any folder of pictures and index masks with a class list."""

from __future__ import annotations

from pathlib import Path

from ...errors import SummandError
from ..naming import printable
from ..sources import EXTENSIONS
from .base import UNLABELLED, Masked, MaskSource, paired, read_index_png, spread, wrong_tree

TREE = """  DATA/
    images/a.jpg …
    masks/a.png …     (one channel; a pixel is the number of its class)
    classes.txt       ("number: name", or names alone, counted from 0; 'background' is never asked for,
                       'unlabelled' does not count, and neither does 255 where no class has that number)"""
_VOID = ("unlabelled", "unlabeled", "void", "ignore")


def folder(root: Path, count: int | None) -> MaskSource:
    """Pictures of `images/` that have a mask of the same name in `masks/`."""
    for needed in ("images", "masks", "classes.txt"):
        if not (root / needed).exists():
            raise wrong_tree("a folder of pictures and masks", root, needed, TREE)
    table, names = read_classes(root / "classes.txt")
    masks = {file.stem: file for file in (root / "masks").iterdir() if file.suffix.lower() in (".png", ".gif", ".tif")}
    images = sorted(file for file in (root / "images").iterdir() if file.suffix.lower() in EXTENSIONS)
    files = spread([file for file in images if file.stem in masks], count)
    if not files:
        raise SummandError(f"{root}: no picture of images/ has a mask of the same name in masks/. Expected\n{TREE}")

    def read(index: int) -> Masked:
        file = files[index]
        return paired(printable(file.name), file, read_index_png(masks[file.stem]), table)

    background = next((i for i, name in enumerate(names) if name.lower() == "background"), None)
    return MaskSource(
        str(root),
        tuple(names),
        len(files),
        read,
        background=background,
        names=tuple(printable(file.name) for file in files),
    )


def read_classes(path: Path) -> tuple[dict[int, int], list[str]]:
    """A class list: which class index each number in a mask is, and the names of the classes."""
    lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if not lines:
        raise SummandError(f"{path}: the class list is empty; expected one class a line, 'number: name' or names alone")
    numbered = [line.partition(":") for line in lines]
    counted = [bool(colon) and number.strip().isdigit() for number, colon, _ in numbered]
    with_numbers = all(counted)
    if any(counted) and not with_numbers:
        raise SummandError(f"{path}: the line {lines[counted.index(False)]!r} has no number, while others have one")
    table, names = {255: UNLABELLED}, []
    for row, (number, _, name) in enumerate(numbered):
        key, name = (int(number), name.strip()) if with_numbers else (row, lines[row])
        if not name:
            raise SummandError(f"{path}: class {key} has an empty name")
        if with_numbers and key in table and key != 255:
            raise SummandError(f"{path}: the number {key} is given to two classes")
        if name.lower() in _VOID:
            table[key] = UNLABELLED
            continue
        if name in names:
            raise SummandError(f"{path}: the class {name!r} is listed twice")
        table[key] = len(names)
        names.append(name)
    return table, names
