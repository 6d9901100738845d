"""Passes over a data set."""

from .collect import Collected, collect

__all__ = ["Collected", "collect"]
