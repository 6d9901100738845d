"""`summand perturb`: whether maps are faithful, without masks."""

from __future__ import annotations

from ..studies.perturbation.options import PerturbationOptions
from .adapter import command
from .options import ModelOptions


@command
def perturb(images: str, texts: list[str], *, options: PerturbationOptions, model: ModelOptions):
    """Take patches from pictures, and put them back, in the order in which a map ranks them: does the answer follow?

    Examples:

    - summand perturb scenes:count=50 "a star" "a ring" "a heart" --methods decomposition,chefer,random
    - summand perturb photos/ "a dog" "a cat" --model ViT-B-16 --pretrained laion2b_s34b_b88k --out curves.png

    Parameters
    ----------
    images
        A folder, a csv or parquet of paths, or scenes.
    texts
        Two or more, in quotes; each picture is asked about the one that the model finds most similar.
    """
    from .. import perturb as verb
    from ..data.adapters import open_images

    source = open_images(images, options.count)
    return verb(model.load(source), source, texts, options=options)
