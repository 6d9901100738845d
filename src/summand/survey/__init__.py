"""Passes over a data set, and what they leave. The package is also the function: `summand.survey(model, images)`.

>>> import summand, summand.survey.engine
>>> summand.survey(summand.load("scenes-vit"), "scenes:count=30,seed=1", units="heads", held_out=0).groups
(Group(kind='heads', layer=None),)
"""

import sys
import types
from typing import TYPE_CHECKING, Any

from .cache import survey_of
from .make import survey as make_survey
from .manifest import Manifest
from .opening import open_survey
from .survey import Survey
from .units import Group

__all__ = ["Group", "Manifest", "Survey", "open_survey", "survey_of"]


class _Callable(types.ModuleType):
    """The package under the name of its one function."""

    def __call__(self, *args: Any, **options: Any) -> Survey:
        return make_survey(*args, **options)


_Callable.__call__.__doc__ = make_survey.__doc__
if not TYPE_CHECKING:
    sys.modules[__name__].__class__ = _Callable
