"""COCO's panoptic segmentation (PNG and json) and COCO-Stuff's pixel maps."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
from PIL import Image

from ...errors import SummandError
from .base import UNLABELLED, Masked, MaskSource, paired, read_index_png, spread, wrong_tree

PANOPTIC_TREE = """  coco/
    val2017/000000000139.jpg …
    annotations/panoptic_val2017.json
    annotations/panoptic_val2017/000000000139.png … (segment id = R + 256 G + 65536 B)"""
STUFF_TREE = """  coco-stuff/
    images/val2017/000000000139.jpg …
    annotations/val2017/000000000139.png …          (0–181 classes, 255 unlabelled)
    labels.txt                                      (1: person …; a pixel holds the number minus one)"""


def panoptic(root: Path, count: int | None) -> MaskSource:
    """COCO panoptic, validation split, as semantic classes: things and stuff; what no segment covers does not count."""
    images, info = root / "val2017", root / "annotations/panoptic_val2017.json"
    masks = root / "annotations/panoptic_val2017"
    for needed in (images, info, masks):
        if not needed.exists():
            raise wrong_tree("COCO panoptic", root, str(needed.relative_to(root)), PANOPTIC_TREE)
    try:
        listed = json.loads(info.read_text(encoding="utf-8"))
        categories = {entry["id"]: (i, entry["name"]) for i, entry in enumerate(listed["categories"])}
        annotations = [
            (entry["file_name"], {s["id"]: categories[s["category_id"]][0] for s in entry["segments_info"]})
            for entry in listed["annotations"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise SummandError(f"{info} is not COCO's panoptic json (categories, annotations): {error!r}") from error
    chosen = spread(annotations, count)

    def read(index: int) -> Masked:
        file, segments = chosen[index]
        with Image.open(masks / file) as opened:
            colours = np.asarray(opened.convert("RGB")).astype(np.int32)
        ids = colours[..., 0] + 256 * colours[..., 1] + 65536 * colours[..., 2]
        return paired(Path(file).stem, images / f"{Path(file).stem}.jpg", ids, {0: UNLABELLED, **segments})

    names = tuple(_spelled(name) for _, name in categories.values())
    return MaskSource(str(root), names, len(chosen), read, names=tuple(Path(file).stem for file, _ in chosen))


def stuff(root: Path, count: int | None) -> MaskSource:
    """COCO-Stuff's pixel maps, validation split: pixel value v is class v + 1 of labels.txt, 255 does not count."""
    images, masks, labels = root / "images/val2017", root / "annotations/val2017", root / "labels.txt"
    for needed in (images, masks, labels):
        if not needed.exists():
            raise wrong_tree("COCO-Stuff", root, str(needed.relative_to(root)), STUFF_TREE)
    lines = [line.partition(":") for line in labels.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    if any(not number.strip().isdigit() for number, _, _ in lines):
        raise SummandError(f"{labels} is not COCO-Stuff's class list; expected lines such as '1: person'")
    named = [(int(number), _spelled(name.strip())) for number, _, name in lines if int(number) > 0]
    table = {number - 1: i for i, (number, _) in enumerate(named)} | {255: UNLABELLED}
    files = spread(sorted(images.glob("*.jpg")), count)
    if not files:
        raise wrong_tree("COCO-Stuff", root, "images/val2017/*.jpg", STUFF_TREE)

    def read(index: int) -> Masked:
        file = files[index]
        return paired(file.stem, file, read_index_png(masks / f"{file.stem}.png"), table)

    return MaskSource(str(root), tuple(name for _, name in named), len(files), read, names=tuple(f.stem for f in files))


_SURFACES = ("wall", "floor", "ceiling", "water", "curtain")  # "wall-brick" is a wall; "window-blind" is a blind


def _spelled(name: str) -> str:
    """ "grass-merged" → "grass", "wall-brick" → "brick wall": spelled as a text tower should read it."""
    head, _, tail = re.sub("-(merged|other|stuff)", "", name).partition("-")
    return f"{tail} {head}" if tail and head in _SURFACES else f"{head} {tail}".strip()
