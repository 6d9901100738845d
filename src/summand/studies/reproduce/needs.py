"""The data sets of the papers: how each is laid out, and whether a path is laid out so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ...data.masks.imagenet import TREE as SEGMENTATION_TREE
from ...data.masks.pascal import CONTEXT_TREE
from ...data.sources import EXTENSIONS
from ...errors import SummandError

_CLASSES = """  {root}/                                  a folder for each class, named by its WordNet number
    n01440764/{file} …
    n01443537/…"""
_WATERBIRDS = """  waterbird_complete95_forest2water2/
    metadata.csv                          columns img_filename, y, split, place
    001.Black_footed_Albatross/Black_Footed_Albatross_0001_796111.jpg …"""
_CARS = """  stanford_cars/
    cars_train/00001.jpg …
    devkit/cars_train_annos.mat           annotations with fname and class
    devkit/cars_meta.mat                  class_names, such as "Acura TL Sedan 2012"
    colours.csv                           columns image (00001.jpg) and colour; optional, for "yellow\""""


@dataclass(frozen=True)
class Need:
    """A data set. about: what it is; size: on disk, about; lacks(path): what is missing there, None where nothing is.
    optional: rows do without it."""

    name: str
    about: str
    size: str
    tree: str
    lacks: Callable[[Path], str | None]
    optional: bool = False

    def check(self, path: Path) -> Path:
        """The path. Raises `SummandError` with the expected tree where it is laid out otherwise."""
        missing = "no such path" if not path.exists() else self.lacks(path)
        if missing:
            raise SummandError(f"{path} is not {self.about}: {missing}. Expected\n{self.tree}")
        return path

    def missing(self, row: str) -> SummandError:
        """The error for a row that was not given this."""
        return SummandError(
            f"{row} needs {self.about} ({self.size}): give it as --data {self.name}=PATH, or try the claim with --on "
            f"scenes. Expected\n{self.tree}"
        )


def _of_classes(path: Path) -> str | None:
    if not path.is_dir():
        return "it is no folder"
    inside = [entry for entry in path.iterdir() if not entry.name.startswith(".")]
    folders = [entry for entry in inside if entry.is_dir()]
    if len(folders) < 2:
        flat = sum(entry.suffix.lower() in EXTENSIONS for entry in inside)
        said = f"{flat:,} pictures lie in it that are sorted into no classes" if flat else "there are no folders in it"
        return f"{said} (it has {len(folders)} sub-folder(s))"
    return None


def _parts(*needed: str) -> Callable[[Path], str | None]:
    def lacks(path: Path) -> str | None:
        if not path.is_dir():
            return "it is no folder"
        return next((f"there is no {part}" for part in needed if not (path / part).exists()), None)

    return lacks


def _mat(path: Path) -> str | None:
    return None if path.is_file() else "it is no file"


def _images(path: Path) -> str | None:
    return None if path.is_dir() else "it is no folder"


def _tree(root: str, file: str) -> str:
    return _CLASSES.format(root=root, file=file)


_VAL, _TRAIN = _tree("val", "ILSVRC2012_val_00000293.JPEG"), _tree("train", "n01440764_10026.JPEG")
_R = _tree("imagenet-r", "art_0.jpg") + "\n  (the numbers' names are read off imagenet-val, which is given beside it)"

NEEDS: Mapping[str, Need] = {
    need.name: need
    for need in (
        Need("imagenet-val", "ImageNet's validation images", "6.7 GB", _VAL, _of_classes),
        Need("imagenet-train", "ImageNet's training images", "147 GB", _TRAIN, _of_classes),
        Need("imagenet-r", "ImageNet-R", "2.2 GB", _R, _of_classes),
        Need("imagenet-seg", "ImageNet-Segmentation", "1.2 GB", SEGMENTATION_TREE, _mat),
        Need(
            "waterbirds",
            "Waterbirds as it is distributed",
            "0.5 GB",
            _WATERBIRDS,
            _parts("metadata.csv"),
        ),
        Need(
            "context59",
            "PASCAL Context with 59 classes",
            "1.5 GB",
            CONTEXT_TREE,
            _parts("JPEGImages", "SegmentationClassContext", "ImageSets/SegmentationContext/val.txt"),
        ),
        Need(
            "stanford-cars",
            "Stanford Cars",
            "2 GB",
            _CARS,
            _parts("cars_train", "devkit/cars_train_annos.mat", "devkit/cars_meta.mat"),
        ),
        Need(
            "reference",
            "a folder of pictures that directions are learnt from",
            "any",
            "  pictures in a folder",
            _images,
            optional=True,
        ),
    )
}
