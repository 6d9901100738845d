"""Where commands write."""

from __future__ import annotations

from rich.console import Console

from ..visible import escape

__all__ = ["escape", "stderr"]

stderr = Console(stderr=True, highlight=False)
