"""Shift: which units read differently in two sets of images, in words."""

from .compare import ShiftResult, UnitShift, compare
from .concepts import Concepts, concepts
from .readings import Measured, Readings, measure
from .reference import Reference, is_reference, make_reference
from .scores import ConceptUnits, NamedConcepts, concept_units, named_concepts

__all__ = [
    "ConceptUnits", "Concepts", "Measured", "NamedConcepts", "Readings", "Reference", "ShiftResult", "UnitShift",
    "compare", "concept_units", "concepts", "is_reference", "make_reference", "measure", "named_concepts",
]  # fmt: skip
