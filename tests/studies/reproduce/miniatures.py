"""The papers' data sets in their own layouts, a few small pictures each, and tiny models with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from open_clip import SimpleTokenizer, image_transform
from PIL import Image
from scipy.io import savemat

import summand
from tests import tiny

WORDS = ("tench", "goldfish", "hen", "ostrich")
NUMBERS = ("n01440764", "n01443537", "n01514859", "n01518878")
POOL = ("red", "blue", "a star", "a ring", "the sea", "a photo of a dog", "two cats", "a letter", "snow", "a city",
        "a small thing", "a large thing")  # fmt: skip
TEMPLATE = "a photo of a {}"


def picture(path: Path, seed: int, size: tuple[int, int] = (12, 10)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 60, (size[1], size[0], 3)) + rng.integers(0, 196, 3)
    Image.fromarray(noise.astype(np.uint8)).save(path)


def imagenet(root: Path, each: int, seed: int = 0) -> Path:
    for row, number in enumerate(NUMBERS):
        for i in range(each):
            picture(root / number / f"{number}_{i:03d}.JPEG", seed + 1000 * row + i)
    return root


def segmentation(path: Path, count: int = 3) -> Path:
    """gtsegs_ijcv.mat, as MATLAB v7.3 writes it: columns first."""
    rng = np.random.default_rng(0)
    file: Any
    with h5py.File(path, "w") as file:
        value, kind = file.create_group("value"), h5py.ref_dtype
        for name in ("img", "gt"):
            value.create_dataset(name, (count, 1), dtype=kind)
        for i in range(count):
            image = rng.integers(0, 255, (14, 17, 3), dtype=np.uint8)
            mask = np.zeros((14, 17), dtype=np.uint8)
            mask[3:9, 4:12] = 1
            value["img"][i, 0] = file.create_dataset(f"#refs#/i{i}", data=image.transpose(2, 1, 0)).ref
            cell = file.create_dataset(f"#refs#/c{i}", (1, 1), dtype=kind)
            cell[0, 0] = file.create_dataset(f"#refs#/m{i}", data=mask.T).ref
            value["gt"][i, 0] = cell.ref
    return path


def waterbirds(root: Path, each: int = 4) -> Path:
    lines = ["img_id,img_filename,y,split,place,place_filename"]
    for i in range(12 * each):
        y, place, split = i % 2, (i // 2) % 2, (i // 4) % 3
        name = f"{i:03d}.Bird/Bird_{i:04d}.jpg"
        picture(root / name, i)
        lines.append(f"{i},{name},{y},{split},{place},x.jpg")
    (root / "metadata.csv").write_text("\n".join(lines))
    return root


def context(root: Path, count: int = 2) -> Path:
    names = [f"2008_{i:06d}" for i in range(count)]
    for i, name in enumerate(names):
        picture(root / "JPEGImages" / f"{name}.jpg", i, (40, 34))
        mask = np.repeat(np.arange(34, dtype=np.uint8)[:, None] // 8 * 9, 40, axis=1)
        folder = root / "SegmentationClassContext"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask, mode="L").save(folder / f"{name}.png")
    lists = root / "ImageSets" / "SegmentationContext"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("\n".join(names))
    return root


CARS = ("Acura TL Sedan 2012", "Audi TT RS Coupe 2011", "BMW 6 Series Convertible 2007")


def cars(root: Path, count: int = 24, colours: bool = True) -> Path:
    kind = [("bbox_x1", object), ("class", object), ("fname", object)]
    rows = np.empty((1, count), dtype=kind)
    for i in range(count):
        picture(root / "cars_train" / f"{i + 1:05d}.jpg", i)
        rows[0, i] = (np.array([[1]]), np.array([[1 + i % 3]]), np.array([f"{i + 1:05d}.jpg"]))
    (root / "devkit").mkdir()
    savemat(root / "devkit" / "cars_train_annos.mat", {"annotations": rows})
    savemat(root / "devkit" / "cars_meta.mat", {"class_names": np.array([CARS], dtype=object)})
    if colours:
        lines = ["image,colour", *(f"{i + 1:05d}.jpg,{'Yellow' if i % 4 == 0 else 'black'}" for i in range(count))]
        (root / "colours.csv").write_text("\n".join(lines))
    return root


def everything(root: Path) -> dict[str, str]:
    """Name → path of a miniature of every data set."""
    made = {
        "imagenet-val": imagenet(root / "val", 12),
        "imagenet-train": imagenet(root / "train", 10, seed=50),
        "imagenet-r": imagenet(root / "imagenet-r", 20, seed=90),
        "imagenet-seg": segmentation(root / "gtsegs_ijcv.mat"),
        "waterbirds": waterbirds(root / "waterbird_complete95_forest2water2"),
        "context59": context(root / "VOC2010"),
        "stanford-cars": cars(root / "stanford_cars"),
    }
    (root / "classes.txt").write_text("\n".join(WORDS))
    (root / "pool.txt").write_text("\n".join(POOL))
    return {name: str(path) for name, path in made.items()}


def wrapped(name: str, **vision: Any) -> summand.Model:
    side = 32
    return summand.wrap(
        tiny.clip(vision=vision),
        preprocess=image_transform(side, is_train=False),
        tokenizer=SimpleTokenizer(context_length=tiny.CONFIG["text_cfg"]["context_length"]),
        name=name,
    )


def vit() -> summand.Model:
    """Six layers: of four the attention carries what is classified, of the third last the neurons are studied."""
    return wrapped("tiny-vit", layers=6, mlp_ratio=1.0)


def wide() -> summand.Model:
    """Neurons enough for the numbers of paper A's Tables 2 and 5."""
    return wrapped("tiny-wide", layers=4, mlp_ratio=92.0)


def resnet() -> summand.Model:
    return wrapped("tiny-rn", layers=[1, 1, 1, 1], width=8, head_width=64, patch_size=None)
