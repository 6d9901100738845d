"""A model, edits and all, as files that run without Summand."""

from __future__ import annotations

from .files import PROGRAMS, WEIGHTS, Written, check_place, export_model
from .module import Exported

__all__ = ["PROGRAMS", "WEIGHTS", "Exported", "Written", "check_place", "export_model"]
