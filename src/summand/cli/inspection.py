"""What there is: models, pools, and whether a model's sum is exact."""

from __future__ import annotations

from functools import partial

from .adapter import command
from .options import OwnModelOptions


@partial(command, positional=("model",))
def doctor(*, model: OwnModelOptions):
    """Check what is installed, and every identity that explanations of a model rest on: what to paste into an issue.

    Of a model that is named, the identities alone. Exits with 0 where all holds and with 1 where something does not.

    Examples:

    - summand doctor
    - summand doctor ViT-B-16 -p laion2b_s34b_b88k
    """
    from ..studies.inspect.doctor import doctor as verb

    return verb(model.load(), surroundings=model.model is None)


@command
def models():
    """List every model by name, with its image tower, the terms of its sum, and whether the sum is exact.

    Examples:

    - summand models
    - summand models --json
    """
    from ..studies.inspect.models import models as verb

    return verb()


@command
def pools(pool: str | None = None):
    """List the description pools, or the texts of one.

    Examples:

    - summand pools
    - summand pools general | head

    Parameters
    ----------
    pool
        Print the texts of this pool, or of a text file.
    """
    from ..studies.inspect.pools import pools as verb

    return verb(pool)
