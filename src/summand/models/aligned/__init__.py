"""Vision transformers without texts, mapped into the space of a CLIP."""

from __future__ import annotations

from .fit import Fit, fit, needed
from .module import AlignedTower, aligned_clip, headless
from .saved import Vision, load_aligned, save_aligned

__all__ = [
    "AlignedTower",
    "Fit",
    "Vision",
    "aligned_clip",
    "fit",
    "headless",
    "load_aligned",
    "needed",
    "save_aligned",
]
