"""`summand debias`: find what carries a spurious attribute, remove it, and see what it does to every group."""

from __future__ import annotations

import sys

from ..studies.debias.options import DebiasOptions
from .adapter import command
from .options import Compute, ModelOptions


@command
def debias(
    data: str,
    *,
    train: str | None = None,
    reference: str | None = None,
    options: DebiasOptions,
    model: ModelOptions,
    compute: Compute,
):
    """Remove the heads that carry a spurious attribute, and show the accuracy of every group before and after.

    Heads are found on unlabelled images: those whose variance lies along the attribute's texts rather than along the
    classes'. With --units neurons:LAYER the same is done with neurons; --units 10.3,11.2 removes what is named. A
    folder as --out holds the ablation, which summand.load(…, ablation=FILE) and --ablation FILE apply, and a text
    classifier for the model as it is.

    Examples:

    - summand debias scenes:count=2000,seed=5 --classes shape --groups place --model scenes-vit-tied --train
      scenes:count=400,seed=6,tie=shape/place/0.95 --out repaired
    - summand debias birds/ --groups birds/metadata.csv --classes landbird,waterbird --attribute "on land,on water"
      --model ViT-L-14 --pretrained laion2b_s32b_b82k --out repaired
    - summand debias birds.csv --groups habitat --units 10.3,11.2 --json

    Parameters
    ----------
    data
        A folder of images (with --groups TABLE), a csv, or scenes[:…].
    train
        The training images, labelled like DATA: the mix that weights the groups, and without their labels what heads
        are chosen on and means taken over; of a table with a column split, its rows of split train [default: the split
        train of the table, and DATA].
    reference
        Images that heads are chosen on and means taken over; of a table all splits [default: those of --train, or
        DATA].
    """
    from .. import debias as verb
    from ..studies.debias.inputs import opened

    given = opened(data, train, reference, options, compute.count)
    loaded = model.load(given.labelled.source, given.reference)
    reading = {"batch_size": compute.batch_size, "count": compute.count, "progress": sys.stderr.isatty()}
    return verb(loaded, data, train, reference, options=options, **reading)
