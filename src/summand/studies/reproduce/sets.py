"""The images of a row: the papers' splits of ImageNet, Stanford Cars, and scenes in their place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from ...data.labelled import Labelled, open_labelled
from ...data.sources import FileImages, ImageSource, Some
from ...errors import SummandError, listed
from ..zeroshot import read_names
from .needs import NEEDS

ATTRIBUTES = ("shape", "colour", "texture", "count", "size", "place", "position", "letter")
"""Of scenes: what is classified. A scene counts as right where all of these are: any one is right nearly always."""


def scenes(count: int, seed: int, more: str = "") -> str:
    """A source of scenes. more: other keys, such as groups=2."""
    return f"scenes:count={count},seed={seed}{',' * bool(more)}{more}"


def strided(data: Labelled, every: int, start: int = 0) -> Labelled:
    """Every so-many-th of the images, in the order of the sorted folders and files (the papers' own subsets)."""
    if every == 1 and start == 0:
        return data
    kept = np.arange(start, len(data), every)
    groups = None if data.groups is None else data.groups[kept]
    return replace(data, source=Some(data.source, kept), labels=data.labels[kept], groups=groups)


def at_most(data: Labelled, count: int | None) -> Labelled:
    """At most so many of the images, spread evenly."""
    if count is None or count >= len(data):
        return data
    kept = np.linspace(0, len(data) - 1, count).round().astype(int)
    return replace(data, source=Some(data.source, kept), labels=data.labels[kept])


def imagenet(path: Path, classes: str | None) -> Labelled:
    """A folder of ImageNet's classes. classes: a file of their names, where they are not all 1,000."""
    names = read_names(classes or "imagenet")
    folders = [entry.name for entry in _folders(path)]
    if len(folders) != len(names):
        raise SummandError(
            f"{path} holds {len(folders):,} classes, and there are {len(names):,} names: give a file of the names of a "
            f"part of ImageNet as --classes FILE, a line each in the order of the sorted folders. Expected\n"
            f"{NEEDS['imagenet-val'].tree}"
        )
    return open_labelled(str(path), names)


def imagenet_r(path: Path, val: Path, classes: str | None) -> Labelled:
    """ImageNet-R, whose 200 classes are named as those of the validation images with the same numbers are."""
    names = read_names(classes or "imagenet")
    known = dict(zip([entry.name for entry in _folders(val)], names, strict=False))
    folders = [entry.name for entry in _folders(path)]
    unknown = [name for name in folders if name not in known]
    if unknown:
        raise SummandError(
            f"{path} holds classes that {val} has not: {listed(unknown, most=4)}. Expected\n{NEEDS['imagenet-r'].tree}"
        )
    return open_labelled(str(path), [known[name] for name in folders])


def _folders(path: Path) -> list[Path]:
    return sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def cars(root: Path) -> tuple[ImageSource, dict[str, np.ndarray]]:
    """The training images of Stanford Cars, and of each whether it is a convertible and, where colours.csv says it,
    whether it is yellow; `year` of every image."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        notes = loadmat(root / "devkit" / "cars_train_annos.mat", squeeze_me=True)["annotations"]
        names = [str(name) for name in loadmat(root / "devkit" / "cars_meta.mat", squeeze_me=True)["class_names"]]
        files = [str(name) for name in np.atleast_1d(notes["fname"])]
        numbers = [int(number) - 1 for number in np.atleast_1d(notes["class"])]
        models = [names[number] for number in numbers]
        years = np.array([int(name.rsplit(" ", 1)[-1]) for name in models])
    except (MatReadError, ValueError, KeyError, IndexError, TypeError, OSError) as error:
        raise SummandError(
            f"the tables of {root / 'devkit'} cannot be read ({error}). Expected\n{NEEDS['stanford-cars'].tree}"
        ) from error
    truths = {"convertible": np.array(["Convertible" in name for name in models]), "year": years}
    if (root / "colours.csv").is_file():
        truths["yellow"] = _colours(root / "colours.csv", files) == "yellow"
    source = FileImages([root / "cars_train" / name for name in files], str(root), root, None)
    return source, truths


def _colours(path: Path, files: list[str]) -> np.ndarray:
    from ...data.tables import read_table

    table = read_table(path)
    if not {"image", "colour"} <= set(table.columns):
        raise SummandError(f"{path} has no columns image and colour. Expected\n{NEEDS['stanford-cars'].tree}")
    known = {str(name): str(colour).lower() for name, colour in zip(table["image"], table["colour"], strict=True)}
    return np.array([known.get(name, "") for name in files])
