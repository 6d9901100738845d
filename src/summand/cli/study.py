"""What acts on a model's units and sees what becomes of its answers."""

from __future__ import annotations

import summand

from ..studies.ablation.options import AblateOptions
from ..studies.debias.options import DebiasOptions
from ..studies.registers.options import RegistersOptions
from ..studies.subconcepts.options import SubconceptsOptions
from ..studies.truth.options import TruthOptions
from .adapter import command
from .loading import images_of
from .options import Compute, ModelOptions, OwnModelOptions, PoolModelOptions


@command
def ablate(data: str, *, reference: str | None = None, options: AblateOptions, model: ModelOptions, compute: Compute):
    from ..studies.ablation.run import opened

    labelled, means, _ = opened(data, reference, options, compute.count)
    return summand.ablate(model.load(labelled.source, means), data, reference, options=options, **compute.passed())


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
    from ..studies.debias.inputs import opened

    given = opened(data, train, reference, options, compute.count)
    loaded = model.load(given.labelled.source, given.reference)
    return summand.debias(loaded, data, train, reference, options=options, **compute.passed())


@command
def registers(images: str, *, options: RegistersOptions, model: OwnModelOptions):
    given = images_of(images, options.count)
    return summand.registers(model.load(given), given.source, options=options)


@command
def subconcepts(images: str, unit: str | None = None, *, options: SubconceptsOptions, model: PoolModelOptions):
    given = images_of(images, options.count)
    return summand.subconcepts(model.load(given), given, unit, options=options)


@command
def truth(*, options: TruthOptions, model: ModelOptions):
    return summand.truth(model.load(), options=options)
