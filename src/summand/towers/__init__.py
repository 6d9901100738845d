"""How each kind of image tower becomes a sum. Towers read the user's own weights by name and patch nothing."""

from .base import HeadMaps, Tower, Trace
from .catalogue import describe_configuration
from .dispatch import SUPPORTED, tower_of
from .view import AttentionView

__all__ = ["SUPPORTED", "AttentionView", "HeadMaps", "Tower", "Trace", "describe_configuration", "tower_of"]
