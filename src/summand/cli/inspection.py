"""What there is: models, pools, and whether a model's sum is exact."""

from __future__ import annotations

from functools import partial

from ..studies.inspect.options import DoctorOptions, ModelsOptions, PoolsOptions
from .adapter import command
from .options import OwnModelOptions


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
