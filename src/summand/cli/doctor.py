"""`summand doctor`: whether a model can be explained exactly, and if not, why."""

from __future__ import annotations

from functools import partial
from typing import Any

from .adapter import command
from .options import ModelOptions


@partial(command, positional=("model",))
def doctor(*, model: ModelOptions) -> Any:
    """Check every identity that explanations of a model rest on: its terms, neurons, pairs and texts.

    Exits with 0 where everything holds and with 1 where something does not.

    Examples:

    - summand doctor scenes-vit
    - summand doctor ViT-B-16 -p laion2b_s34b_b88k
    """
    from ..studies.inspect.doctor import doctor as verb

    return verb(model.load())
