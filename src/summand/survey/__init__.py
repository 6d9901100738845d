"""Passes over a data set, and what they leave. The package is also the function: `summand.survey(model, images)`.

>>> import summand, summand.survey.engine
>>> summand.survey(summand.load("scenes-vit"), "scenes:count=30,seed=1", units="heads", held_out=0).groups
(Group(kind='heads', layer=None),)
"""

import sys
import types
from inspect import signature
from typing import TYPE_CHECKING

from .cache import survey_of
from .make import survey as make_survey
from .manifest import Manifest
from .opening import open_survey
from .survey import Survey
from .units import Group

__all__ = ["Group", "Manifest", "Survey", "open_survey", "survey_of"]


class _Callable(types.ModuleType):
    """The package under the name of its one function."""

    __call__ = staticmethod(make_survey)


__signature__ = signature(make_survey)
if not TYPE_CHECKING:
    sys.modules[__name__].__class__ = _Callable
