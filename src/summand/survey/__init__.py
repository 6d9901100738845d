"""Passes over a data set, and what they leave on disk."""

from .collect import Collected, collect
from .decompose import decompose
from .manifest import Manifest
from .run import Run, open_run
from .units import Group

__all__ = ["Collected", "Group", "Manifest", "Run", "collect", "decompose", "open_run"]
