"""The one exception base of the package: every error a user can cause and mend."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Iterable


class SummandError(Exception):
    """What was expected, what came, and what to do about it, in one message."""


class InexactError(SummandError):
    """A model that is not what its terms say: how far off, and what in it may be why."""


class OptionError(SummandError):
    """A value that an option cannot have: `keep must be from 1 to 100, got 0`. The command line says it of `--keep`.
    of: the function whose argument it is, where that is said."""

    def __init__(self, option: str, rest: str, of: str = "") -> None:
        super().__init__(f"{of}: `{option}` {rest}" if of else f"{option} {rest}")
        self.option, self.rest, self.of = option, rest, of

    def __reduce__(self) -> tuple[type[OptionError], tuple[str, str, str]]:
        return type(self), (self.option, self.rest, self.of)


class SummandWarning(UserWarning):
    """What was done, where the caller may have meant something else."""


class SummandDeprecation(SummandWarning, DeprecationWarning):
    """A name that still works and will not for ever; says what takes its place."""


def deprecated(old: str, new: str, gone_in: str) -> None:
    """Warn whoever calls the caller of this that a name will go, and what to use instead.

    >>> with warnings.catch_warnings(record=True) as said:
    ...     warnings.simplefilter("always")
    ...     deprecated("open_run", "summand.open", "0.4")
    >>> print(said[0].message)
    open_run will go in summand 0.4; use summand.open
    """
    warnings.warn(f"{old} will go in summand {gone_in}; use {new}", SummandDeprecation, stacklevel=3)


def nearest(word: str, known: Iterable[str], count: int = 3) -> str:
    """A hint for error messages: ", did you mean 'a' or 'b'?" or nothing when no known name is near.

    Case and the choice of separator (ViT-B/32) do not matter. Where no name is spelled alike, those that hold the word
    are named, the shortest first.
    """
    names: dict[str, str] = {}
    for name in known:
        names.setdefault(_plain(name), name)
    plain = _plain(word)
    matches = [plain] if plain in names else difflib.get_close_matches(plain, list(names), n=count, cutoff=0.5)
    if not matches and len(plain) > 2:
        matches = sorted((name for name in names if plain in name), key=len)[:count]
    return f", did you mean {' or '.join(repr(names[match]) for match in matches)}?" if matches else ""


def _plain(name: str) -> str:
    return name.lower().replace("/", "-").replace("_", "-").replace(" ", "-")


def first_line(error: BaseException) -> str:
    """What another library's exception says, without its pages of advice."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


def listed(names: Iterable[str], most: int = 12) -> str:
    """Names for an error message; a long list is cut, and says by how much."""
    names = list(names)
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "") if names else "none"
