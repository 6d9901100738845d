"""PASCAL VOC 2012 and PASCAL Context-59 as they are distributed (Context in its converted form, one PNG a picture)."""

from __future__ import annotations

from pathlib import Path

from .base import UNLABELLED, MaskSource, paired, read_index_png, split_list, spread, wrong_tree

VOC_TREE = """  VOC2012/
    JPEGImages/2007_000033.jpg …
    SegmentationClass/2007_000033.png …        (0 background, 1–20 classes, 255 border)
    ImageSets/Segmentation/val.txt"""
CONTEXT_TREE = """  VOC2010/
    JPEGImages/2008_000002.jpg …
    SegmentationClassContext/2008_000002.png … (0 background, 1–59 classes)
    ImageSets/SegmentationContext/val.txt"""

VOC_CLASSES = [
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
]
CONTEXT_CLASSES = [
    "background",
    "aeroplane",
    "bag",
    "bed",
    "bedclothes",
    "bench",
    "bicycle",
    "bird",
    "boat",
    "book",
    "bottle",
    "building",
    "bus",
    "cabinet",
    "car",
    "cat",
    "ceiling",
    "chair",
    "cloth",
    "computer",
    "cow",
    "cup",
    "curtain",
    "dog",
    "door",
    "fence",
    "floor",
    "flower",
    "food",
    "grass",
    "ground",
    "horse",
    "keyboard",
    "light",
    "motorbike",
    "mountain",
    "mouse",
    "person",
    "plate",
    "platform",
    "pottedplant",
    "road",
    "rock",
    "sheep",
    "shelves",
    "sidewalk",
    "sign",
    "sky",
    "snow",
    "sofa",
    "table",
    "track",
    "train",
    "tree",
    "truck",
    "tvmonitor",
    "wall",
    "water",
    "window",
    "wood",
]
# The data sets' own spellings, as a text tower should read them.
_SPELLED = {"diningtable": "dining table", "pottedplant": "potted plant", "tvmonitor": "tv monitor"}


def voc2012(root: Path, count: int | None) -> MaskSource:
    """PASCAL VOC 2012, validation split; the border (255) does not count."""
    return _pascal(root, count, "PASCAL VOC 2012", "SegmentationClass", "Segmentation", VOC_CLASSES, VOC_TREE)


def context59(root: Path, count: int | None) -> MaskSource:
    """PASCAL Context with its 59 classes, validation split; what belongs to none of them (0) does not count."""
    return _pascal(
        root, count, "PASCAL Context", "SegmentationClassContext", "SegmentationContext", CONTEXT_CLASSES, CONTEXT_TREE
    )


def _pascal(
    root: Path, count: int | None, what: str, masks: str, sets: str, classes: list[str], tree: str
) -> MaskSource:
    split = root / "ImageSets" / sets / "val.txt"
    for needed in (root / "JPEGImages", root / masks, split):
        if not needed.exists():
            raise wrong_tree(what, root, str(needed.relative_to(root)), tree)
    names = spread(split_list(split, what), count)
    has_background = masks == "SegmentationClass"
    names_of = [_SPELLED.get(name, name) for name in (classes if has_background else classes[1:])]
    first = 0 if has_background else 1
    table = {first + i: i for i in range(len(names_of))} | {255: UNLABELLED}
    if not has_background:
        table[0] = UNLABELLED

    def read(index: int):
        name = names[index]
        return paired(name, root / "JPEGImages" / f"{name}.jpg", read_index_png(root / masks / f"{name}.png"), table)

    background = 0 if has_background else None
    return MaskSource(str(root), tuple(names_of), len(names), read, background=background, names=tuple(names))
