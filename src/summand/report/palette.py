"""The colours of every page, light and dark, and the ink on each by computed contrast (WCAG 2)."""

from __future__ import annotations

STEPS = 7
SCHEMES: dict[str, dict[str, str]] = {
    "light": {
        **{"paper": "#ffffff", "wash": "#f4f6f9", "line": "#d9e0e8", "ink": "#1c2430", "soft": "#535e6d"},
        **{"accent": "#0b5c9e", "for": "#b2182b", "against": "#2166ac", "proven": "#0a6b4f", "warn": "#8a2d00"},
        **{"warn-wash": "#fff1e6", "bar": "#3f7fb5", "bar-soft": "#c9dbea", "third": "#8a6d1f"},
    },
    "dark": {
        **{"paper": "#11161d", "wash": "#1a212b", "line": "#313b48", "ink": "#e7ecf2", "soft": "#a9b4c2"},
        **{"accent": "#86bff2", "for": "#f4866f", "against": "#7fb6e8", "proven": "#5fcca5", "warn": "#ffb487"},
        **{"warn-wash": "#3a2214", "bar": "#6aa6da", "bar-soft": "#2b4158", "third": "#d5b25c"},
    },
}
_ENDS = {"light": ("#eef3f8", "#0b4a84"), "dark": ("#1b2531", "#8fc4f3")}
_INKS = ("#000000", "#ffffff")


def luminance(colour: str) -> float:
    r"""0.2126 R + 0.7152 G + 0.0722 B of the linear parts of #rrggbb."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    """(L₁ + 0.05) / (L₂ + 0.05), the lighter first: 1 to 21."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def ink_on(background: str) -> str:
    """Of black and white the one that is read better: at worst, on a grey between them, with √21 = 4.58 to 1."""
    return max(_INKS, key=lambda ink: contrast(ink, background))


def scale(scheme: str) -> list[tuple[str, str]]:
    """The steps of the heat map, least first: (background, ink)."""
    low, high = _ENDS[scheme]
    mixed = [_mixed(low, high, step / (STEPS - 1)) for step in range(STEPS)]
    return [(colour, ink_on(colour)) for colour in mixed]


def _mixed(one: str, other: str, share: float) -> str:
    pairs = [(int(one[i : i + 2], 16), int(other[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(a + share * (b - a)):02x}" for a, b in pairs)


def variables() -> str:
    """The custom properties of the stylesheet."""

    def of(scheme: str) -> str:
        named = "".join(f"--{name}:{colour};" for name, colour in SCHEMES[scheme].items())
        steps = "".join(f"--s{i}:{back};--i{i}:{ink};" for i, (back, ink) in enumerate(scale(scheme)))
        return f"color-scheme:{scheme};{named}{steps}"

    return f":root{{{of('light')}}}\n@media (prefers-color-scheme: dark){{:root{{{of('dark')}}}}}\n"


def step(share: float) -> int:
    """The step of a share from 0 to 1."""
    return min(STEPS - 1, max(0, round(share * (STEPS - 1))))
