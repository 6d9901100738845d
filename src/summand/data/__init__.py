"""Image sources: one string everywhere, or images in any form."""

from .adapters import open_images
from .sources import ImageSource, Skipped, open_source

__all__ = ["ImageSource", "Skipped", "open_images", "open_source"]
