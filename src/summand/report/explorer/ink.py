"""What numbers are written in on coloured cells, so that everybody can read them."""

from __future__ import annotations

from collections.abc import Sequence

_LIGHT = {"paper": (255, 255, 255), "for": (178, 24, 43), "against": (33, 102, 172)}
_DARK = {"paper": (11, 15, 25), "for": (244, 121, 107), "against": (111, 177, 232)}
"""The colours of look.css on a light page and on a dark one."""


def ink_of(share: float) -> str:
    """Classes that write in white or black, whichever stands out more (WCAG's contrast) from the cell's colour."""
    found = []
    for prefix, colours in (("", _LIGHT), ("dark-", _DARK)):
        full, paper = colours["for" if share >= 0 else "against"], colours["paper"]
        mixed = [abs(share) * one + (1 - abs(share)) * other for one, other in zip(full, paper, strict=True)]
        light = _luminance(mixed) + 0.05
        found.append(f" sx-{prefix}{'white' if 1.05 / light > light / 0.05 else 'black'}")
    return "".join(found)


def _luminance(colour: Sequence[float]) -> float:
    """Relative luminance of sRGB (WCAG 2)."""
    linear = [one / 255 / 12.92 if one <= 10 else ((one / 255 + 0.055) / 1.055) ** 2.4 for one in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
