"""The README's picture: one scene, several texts, several methods. `python benchmarks/segmentation_picture.py OUT.png`

Every map is scaled to 0 … 1 by itself, as it is when it is scored; the line is the outline of what the text names.
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from torch.nn import functional as F

import summand
from summand.data.masks import open_masks
from summand.studies.segmentation import Example, names, prepare, reference_batches
from summand.studies.segmentation.figures import examples_figure
from summand.studies.segmentation.metrics import rescaled
from summand.studies.segmentation.texts import class_texts

SCENE = "two large striped red stars on the left and three small dotted blue rings on the right in the snow"
ASKED = (("colour red", "a red object", 0), ("shape ring", "a ring", 1), ("texture striped", "a striped object", 0))
METHODS = ("decomposition", "neurons", "chefer", "legrad", "gradcam", "maskclip", "rollout")


def main(out: str) -> None:
    model = summand.load("scenes-vit")
    scenes = summand.scenes.describe(SCENE, seed=4)
    source = open_masks("scenes:count=1")
    texts = class_texts(model, source)
    pixels = model.preprocess(scenes.images[:1])
    reference = reference_batches(model, summand.scenes.sample(500, seed=833).images)
    methods = [prepare(model, name, reference) for name in METHODS if name in names()]
    examples = []
    for name, text, group in ASKED:
        which = torch.tensor([source.classes.index(name)])
        maps: dict[str, np.ndarray] = {}
        for method in methods:
            found = method.shaped(method.of_one(pixels, method.directions(texts), which))[:, None]
            grown = F.interpolate(found, size=scenes.images.shape[1:3], mode="bilinear", align_corners=False)
            maps[method.name] = rescaled(grown[0, 0]).numpy()
        mask = scenes.group_masks[0, group].astype(np.int32)
        examples.append(Example(name, scenes.images[0], text, mask, maps))
    figure = examples_figure(examples, {method.name: method.title for method in methods})
    figure.savefig(out, dpi=150)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "docs/images/segmentation.png")
