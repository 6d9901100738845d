"""The gallery's picture of maps: one scene and one photograph, several texts, several methods. `python … [OUT.png]`

Every map is scaled to 0 … 1 by itself, as it is when it is scored; the line is the outline of what the text names. The
photograph has no mask and goes through the model in overlapping windows. scenes-vit has seen no photograph, and of
its texts only colours mean something there; `--model NAME --pretrained TAG --photo FILE --text TEXT …` draws the same
rows with a CLIP of one's own.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_sample_image
from torch import Tensor
from torch.nn import functional as F

import summand
from summand.data.masks import open_masks
from summand.data.pictures import read_image
from summand.maps.contrast import default_contrast
from summand.maps.methods import MapMethod, choose, prepare
from summand.maps.windows import cut, stitched
from summand.models import pixels_of
from summand.report.segmentation import examples_figure
from summand.scenes.places import SIZE
from summand.scenes.pretrained import NAMES
from summand.studies.segmentation.metrics import rescaled
from summand.studies.segmentation.protocol import Example
from summand.studies.segmentation.texts import class_texts

SCENE = "two large striped red stars on the left and three small dotted blue rings on the right in the snow"
ASKED = (("colour red", "a red object", 0), ("shape ring", "a ring", 1), ("texture striped", "a striped object", 0))
METHODS = ("decomposition", "second-order", "chefer", "clip-surgery", "legrad", "gradcam", "maskclip", "rollout")
SHORT_SIDE = 2  # of the photograph, in windows


def made(model: summand.Model) -> list[MapMethod]:
    _, refused = choose(model, ["all"])
    return [prepare(model, name) for name in METHODS if name not in refused]


def of_scene(model: summand.Model, methods: list[MapMethod]) -> list[Example]:
    scenes = summand.scenes.describe(SCENE, seed=4)
    source = open_masks("scenes:count=1")
    texts, pixels = class_texts(model, source), model.preprocess(scenes.images[:1])
    examples = []
    for name, text, group in ASKED:
        which = torch.tensor([source.classes.index(name)])
        maps: dict[str, np.ndarray] = {}
        for method in methods:
            found = method.shaped(method.of_one(pixels, method.directions(texts), which))[:, None]
            grown = F.interpolate(found, size=scenes.images.shape[1:3], mode="bilinear", align_corners=False)
            maps[method.name] = rescaled(grown[0, 0]).detach().numpy()
        examples.append(Example(name, scenes.images[0], text, scenes.group_masks[0, group].astype(np.int32), maps))
    return examples


def of_photo(
    model: summand.Model, methods: list[MapMethod], photo: Image.Image, names: list[str], texts: Tensor
) -> list[Example]:
    """names: of the first of the texts; the others are what they are contrasted with."""
    side = (SIZE, SIZE) if model.name in NAMES else model.tower.image_size
    scale = SHORT_SIDE * side[0] / min(photo.size)
    covering = photo.resize((round(photo.width * scale), round(photo.height * scale)), Image.Resampling.BICUBIC)
    places, pieces = cut(covering, side)
    pixels = pixels_of(model, pieces)
    shape = (covering.height, covering.width)
    rows: list[dict[str, np.ndarray]] = [{} for _ in names]
    for method in methods:
        found = method.of_all(pixels, method.directions(texts)[: len(names)]).detach()
        for row, grown in zip(rows, stitched(found, places, side, shape), strict=True):
            row[method.name] = rescaled(grown).numpy()
    mask = np.zeros(shape, dtype=np.int32)
    return [Example(name, np.asarray(covering), name, mask, row) for name, row in zip(names, rows, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("out", nargs="?", type=Path, default=Path("docs/images/segmentation.png"))
    parser.add_argument("--photo", help="a picture file [default: the pagoda that scikit-learn brings]")
    parser.add_argument("--text", action="append", help="what to look for in the photograph")
    parser.add_argument("--model", default="scenes-vit")
    parser.add_argument("--pretrained")
    args = parser.parse_args()
    model = summand.load(args.model, args.pretrained)
    photo = read_image(Path(args.photo)) if args.photo else Image.fromarray(load_sample_image("china.jpg"))
    methods, examples = made(model), []
    if args.model in NAMES:
        examples = of_scene(model, methods)
    if args.model in NAMES:
        names, others = args.text or ["a red object"], class_texts(model, open_masks("scenes:count=1"))
    else:
        names, others = args.text or ["a pagoda", "the sky"], model.encode_text(default_contrast(model))
    examples += of_photo(model, methods, photo, names, torch.cat([model.encode_text(names), others]))
    figure = examples_figure(examples, {method.name: method.title for method in methods})
    figure.savefig(args.out, dpi=90)


if __name__ == "__main__":
    main()
