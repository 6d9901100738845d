"""What an image is called: a text that can be printed, stored and compared on every machine."""

from __future__ import annotations

import os
import unicodedata


def printable(name: str | os.PathLike[str]) -> str:
    r"""A file's name as a plain text: bytes that are no UTF-8, and control characters, as escapes.

    >>> printable("a\nb\x1b[31m.jpg"), printable(os.fsdecode(b"caf\xe9.png"))
    ('a\\nb\\x1b[31m.jpg', 'caf\\xe9.png')
    """
    text = os.fsencode(os.fspath(name)).decode("utf-8", "backslashreplace")
    return "".join(c.encode("unicode_escape").decode() if unicodedata.category(c) in _UNSEEN else c for c in text)


_UNSEEN = ("Cc", "Cf", "Zl", "Zp")  # control characters, marks of direction, line and paragraph separators


def joined_name(source: str, name: str) -> str:
    """What an image of one of several sources is called: in all runs the same, and unlike those of the others."""
    return f"{source.rstrip('/')}/{name}"


def hidden(name: str) -> bool:
    """Whether a file or folder is one that programs leave behind for themselves."""
    return name.startswith(".") or name in ("__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information")
