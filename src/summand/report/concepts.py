"""The figure of `concepts`: where the first texts of a picture's own description are."""

from __future__ import annotations

from typing import Any

from ..studies.concepts.result import Concepts


def figure(result: Concepts) -> Any:
    """The picture beside the maps of these texts."""
    return None if result.maps is None else result.maps.figure()
