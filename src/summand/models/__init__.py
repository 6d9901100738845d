"""A CLIP at hand: what is done with it, and the guard that its sums are exact."""

from .model import Model
from .prepared import pixels_of
from .world import World
from .wrapping import wrap

__all__ = ["Model", "World", "pixels_of", "wrap"]
