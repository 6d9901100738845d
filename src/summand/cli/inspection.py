"""What there is: models, pools; whether a model's sum is exact, and what is measured as it was published."""

from __future__ import annotations

from functools import partial

import summand

from ..studies.inspect.options import DoctorOptions, ModelsOptions, PoolsOptions
from ..studies.reproduce.options import PapersModel, ReproduceOptions
from .adapter import command
from .loading import load
from .options import OwnModelOptions, Show


@partial(command, positional=("model",))
def doctor(*, options: DoctorOptions, model: OwnModelOptions):
    from ..studies.inspect.doctor import doctor as verb

    return verb(model.load(), surroundings=model.model is None)


@command
def models(*, options: ModelsOptions):
    from ..studies.inspect.models import models as verb

    return verb()


@command
def pools(pool: str | None = None, *, options: PoolsOptions):
    from ..studies.inspect.pools import pools as verb

    return verb(pool)


@command
def reproduce(row: str = "list", *, options: ReproduceOptions, model: PapersModel, show: Show):
    given = None if model.model is None else load(model)
    return summand.reproduce(row, given, options=options, out=show.out, load=lambda one: load(model.of(one)))
