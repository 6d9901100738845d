"""Shift: which units read differently in two sets of images, in words."""

from .compare import ShiftResult, UnitShift, compare
from .concepts import Concepts, concepts
from .readings import Measured, Readings, measure
from .reference import Reference, is_reference, make_reference
from .scores import ConceptUnits, concept_units

__all__ = [
    "ConceptUnits", "Concepts", "Measured", "Readings", "Reference", "ShiftResult", "UnitShift", "compare",
    "concept_units", "concepts", "is_reference", "make_reference", "measure",
]  # fmt: skip
