"""ADE20K's scene parsing benchmark with 150 classes (ADEChallengeData2016)."""

from __future__ import annotations

from pathlib import Path

from ...errors import SummandError
from .base import UNLABELLED, MaskSource, paired, read_index_png, spread, wrong_tree

TREE = """  ADEChallengeData2016/
    images/validation/ADE_val_00000001.jpg …
    annotations/validation/ADE_val_00000001.png … (0 other, 1–150 classes)
    objectInfo150.txt                              (Idx  Ratio  Train  Val  Name, one class a line)"""


def ade20k(root: Path, count: int | None) -> MaskSource:
    """The validation split; id 0, what is none of the classes, does not count. Of several names the first is used."""
    images, masks, info = root / "images/validation", root / "annotations/validation", root / "objectInfo150.txt"
    for needed in (images, masks, info):
        if not needed.exists():
            raise wrong_tree("ADE20K", root, str(needed.relative_to(root)), TREE)
    rows = [line.split("\t") for line in info.read_text(encoding="utf-8-sig").splitlines()[1:] if line.strip()]
    if not rows or any(len(row) < 2 or not row[0].strip().isdigit() for row in rows):
        raise SummandError(f"{info} is not ADE20K's table (Idx, Ratio, Train, Val, Name with tabs between)")
    names = [row[-1].split(",")[0].split(";")[0].strip() for row in rows]
    table = {int(row[0]): i for i, row in enumerate(rows)} | {0: UNLABELLED}
    files = spread(sorted(images.glob("*.jpg")), count)
    if not files:
        raise wrong_tree("ADE20K", root, "images/validation/*.jpg", TREE)

    def read(index: int):
        file = files[index]
        return paired(file.stem, file, read_index_png(masks / f"{file.stem}.png"), table)

    return MaskSource(str(root), tuple(names), len(files), read, names=tuple(file.stem for file in files))
