"""Pictures with masks: segmentation data sets as they are distributed, a folder of one's own, and scenes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ...errors import SummandError, nearest
from ..schemes import scheme_of
from . import ade20k, coco, folder, imagenet, pascal
from .base import UNLABELLED, Masked, MaskSource
from .own import own_masks

__all__ = ["FORMATS", "UNLABELLED", "MaskSource", "Masked", "open_masks", "own_masks"]

FORMATS: dict[str, tuple[Callable[[Path, int | None], MaskSource], str]] = {
    "imagenet-segmentation": (imagenet.imagenet_segmentation, imagenet.TREE),
    "voc2012": (pascal.voc2012, pascal.VOC_TREE),
    "context59": (pascal.context59, pascal.CONTEXT_TREE),
    "ade20k": (ade20k.ade20k, ade20k.TREE),
    "coco-panoptic": (coco.panoptic, coco.PANOPTIC_TREE),
    "coco-stuff": (coco.stuff, coco.STUFF_TREE),
    "folder": (folder.folder, folder.TREE),
}
"""Name → (reader, how its files are laid out)."""

_MARKS = {
    "SegmentationClassContext": "context59",
    "SegmentationClass": "voc2012",
    "objectInfo150.txt": "ade20k",
    "annotations/panoptic_val2017.json": "coco-panoptic",
    "annotations/val2017": "coco-stuff",
    "classes.txt": "folder",
}


def open_masks(source: str, count: int | None = None, attribute: str | None = None) -> MaskSource:
    """Pictures with masks from one string: `FORMAT:PATH`, a path whose layout says its format, or `scenes[:…]`.

    count: use at most so many, evenly over the data set. attribute: semantic masks of scenes by it. Raises
    `SummandError`, with the layouts that are known, for a path that fits none.
    """
    if count is not None and count < 1:
        raise SummandError(f"--count must be at least 1, got {count}")
    scheme = scheme_of(source)
    if scheme is not None:
        return scheme.masks(source, count, attribute)
    if attribute is not None:
        raise SummandError(f"an attribute ({attribute!r}) is of scenes, and {source} are none")
    name, colon, rest = source.partition(":")
    if colon and name in FORMATS:
        path = Path(rest).expanduser()
        if not path.exists():
            raise SummandError(f"there is no {path}. Expected\n{FORMATS[name][1]}")
        return FORMATS[name][0](path, count)
    path = Path(source).expanduser()
    if path.is_file() and path.suffix.lower() == ".mat":
        return FORMATS["imagenet-segmentation"][0](path, count)
    if path.is_dir():
        for mark, found in _MARKS.items():
            if (path / mark).exists():
                return FORMATS[found][0](path, count)
    known = "\n".join(f"{name}:\n{tree}" for name, (_, tree) in FORMATS.items())
    hint = nearest(name, FORMATS) if colon and not path.exists() else ""
    state = "is laid out as none of the known data sets" if path.exists() else f"does not exist{hint}"
    raise SummandError(f"{source} {state}. Give scenes[:…], FORMAT:PATH or a path of one of these layouts\n{known}")
