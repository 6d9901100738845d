"""`summand ablate`: what terms of the sum are worth to zero-shot classification."""

from __future__ import annotations

import sys

from ..studies.ablation.options import AblateOptions
from .adapter import command
from .options import Compute, ModelOptions


@command
def ablate(data: str, *, reference: str | None = None, options: AblateOptions, model: ModelOptions, compute: Compute):
    """Mean-ablate units or kinds of terms, one after the other, and measure zero-shot accuracy each time.

    Examples:

    - summand ablate scenes:count=500,seed=3 --classes shape
    - summand ablate scenes:count=500 --classes shape --what second-order,sparse --layers 3,4 --out neurons.png
    - summand ablate birds.csv --label-column species --model ViT-B-16 --pretrained openai --units 10.3,11.5
    - summand ablate imagenet/val --classes imagenet --reference imagenet/train -m ViT-B-16 -p openai --json

    Parameters
    ----------
    data
        A folder with one sub-folder a class, a csv with labels, or scenes[:…].
    reference
        Images that the means are taken over; of a table all splits [default: DATA itself].
    """
    from .. import ablate as verb
    from ..data import open_source
    from ..studies.zeroshot import read_labelled

    seen = read_labelled(data, options.classes, label_column=options.label_column, count=compute.count).source
    means = None if reference is None else open_source(reference, compute.count)
    reading = {"batch_size": compute.batch_size, "count": compute.count, "progress": sys.stderr.isatty()}
    return verb(model.load(seen, means), data, reference, options=options, **reading)
