"""A CLIP at hand: what is done with it, and the guard that its sums are exact."""

from .model import Model, pixels_of, wrap
from .world import World

__all__ = ["Model", "World", "pixels_of", "wrap"]
