"""Image sources: one string everywhere."""

from .sources import ImageSource, Skipped, open_source

__all__ = ["ImageSource", "Skipped", "open_source"]
