"""What a notebook shows: figures inside pages, and how a room asks another one above it to draw."""

from __future__ import annotations

import io
from base64 import b64encode
from html import escape
from importlib import import_module
from typing import Any

from .visible import drawn


def png(figure: Any) -> bytes:
    """A matplotlib figure as a picture."""
    found = io.BytesIO()
    drawn(figure).savefig(found, format="png", dpi=110)
    return found.getvalue()


def as_img(figure: Any, alt: str) -> str:
    """A figure inside a page; alt: what it shows, for those who cannot see it."""
    data = b64encode(png(figure)).decode()
    return f'<img alt="{escape(alt)}" style="max-width:100%" src="data:image/png;base64,{data}">'


def called(name: str, *given: Any, **more: Any) -> Any:
    """What "module:function" gives. Drawing stands above what is drawn, which so knows it by its name alone."""
    module, _, function = name.partition(":")
    return getattr(import_module(module), function)(*given, **more)
