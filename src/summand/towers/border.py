"""The border to other libraries: what they made is read by name, for it has no types of ours."""

from __future__ import annotations

from typing import Any


def foreign(made: object) -> Any:
    """What open_clip, timm, transformers, peft or torch itself made, whose attributes no type checker knows."""
    return made
