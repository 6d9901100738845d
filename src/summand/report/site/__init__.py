"""The atlas: a static site that says what each head sees and shows where."""

from .build import Atlas, build

__all__ = ["Atlas", "build"]
