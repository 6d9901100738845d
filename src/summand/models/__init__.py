"""A CLIP at hand: what is done with it, and the guard that its sums are exact."""

from .model import Model
from .pixels import pixels_of
from .wrapping import wrap

__all__ = ["Model", "pixels_of", "wrap"]
