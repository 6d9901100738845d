"""Segmentation by maps: methods, protocols, metrics, figures."""

from ...maps.methods import MapMethod, applies, choose, default_methods, names, needs_reference, prepare
from ...maps.windows import FITS
from .batches import reference_batches
from .protocol import Example, Protocol, Segmentation
from .run import segment

__all__ = [
    "FITS",
    "Example",
    "MapMethod",
    "Protocol",
    "Segmentation",
    "applies",
    "choose",
    "default_methods",
    "names",
    "needs_reference",
    "prepare",
    "reference_batches",
    "segment",
]
