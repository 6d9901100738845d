"""What makes another model of one, or a file of it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import summand

from ..studies.align.options import AlignOptions
from ..studies.export.options import ExportOptions
from ..studies.inject.options import InjectOptions
from ..studies.sae.options import SaeOptions
from .adapter import command
from .loading import images_of
from .options import Compute, ModelOptions, OwnModelOptions


@command
def align(vision: str, images: str, *, options: AlignOptions, model: ModelOptions, compute: Compute):
    given = images_of(images, compute.count)
    size = compute.batch_size
    return summand.align(vision, model.load(given.source), given, options=options, batch_size=size).alignment


@command
def export(to: Path, *, options: ExportOptions, model: ModelOptions):
    from ..models.export import check_place

    check_place(to)
    return summand.export(model.load(), to, options=options)


@command
def inject(images: str, *, options: InjectOptions, model: OwnModelOptions, compute: Compute):
    given = images_of(images, compute.count)
    return summand.inject(model.load(given), given, options=options, **compute.passed())


@command
def sae(action: Literal["train"], images: str, *, options: SaeOptions, model: ModelOptions, compute: Compute):
    given = images_of(images, compute.count)
    passed = {"batch_size": compute.batch_size}
    return summand.train_autoencoder(model.load(given.source), given, options=options, **passed)
