"""Units as HTML: their words with the evidence for each, their maps on the picture, and a switch."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from ...survey.unit_words import End, Words
from .moved import Moved
from .views import note, number, percent


def badge(proven: bool | None, shown: float | None = None) -> str:
    """What a word is worth on images that were held out."""
    if proven:
        share = "" if shown is None else f" {percent(shown)}"
        title = "of the held-out images furthest along the unit, so many show the words"
        return f'<span class="sx-badge sx-proven" title="{title}">✓ proven{share}</span>'
    said = "untested" if proven is None else "unproven"
    return f'<span class="sx-badge sx-unproven" title="held-out images do not show it">{said}</span>'


def card(
    kind: str,
    unit: str,
    found: Words | None,
    value: float,
    pictures: Sequence[tuple[str, str]],
    labelled: bool,
    off: bool,
) -> str:
    """A unit: its words with the evidence for each, what it adds here, and its maps on this picture, (data URI,
    caption) each."""
    ends = [] if found is None else [end for end in found.ends if end.words]
    if ends:
        said = f'<ul class="sx-ends">{"".join(_end(end) for end in ends)}</ul>'
        if found is not None and found.in_part:
            said = note(f"{found.mostly} of what it varies by, and no proven words for that") + said
    else:
        said = note("no words: its survey gives it none" if labelled else "no words: open a labelled survey for them")
    name = escape(f"{kind} {unit}")
    figures = "".join(
        f'<figure><img src="{uri}" alt="{escape(caption)}, {name}, patch by patch">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
        for uri, caption in pictures
    )
    return (
        f'<section class="sx" aria-label="{name}"><h2>{name[:1].upper()}{name[1:]} {number(value)}</h2>'
        f'<div class="sx-two">{figures}<div>{said}{_toggle(unit, off)}</div></div></section>'
    )


def _toggle(unit: str, off: bool) -> str:
    what = "switch on again" if off else "switch off"
    return f'<button type="button" class="sx-toggle" data-off="{escape(unit)}">{what}</button>'


def _end(end: End) -> str:
    side = "+" if end.sign > 0 else "−"
    share = "" if end.share is None else f'<span class="sx-was">{percent(end.share)} of what it varies by</span>'
    proven = None if end.verdict == "cannot be tested" else end.proven
    return f"<li><b>{side}</b> {escape(end.text)} {badge(proven, end.shown)} {share}</li>"


def moved(found: Sequence[Moved], off: Sequence[str]) -> str:
    """Units that the picture moves unusually far, with their words."""
    if not found:
        return note("this picture moves no unit unusually far")
    rows = "".join(
        f'<tr><th scope="row"><button type="button" class="sx-toggle" data-unit="{escape(one.unit)}" title="its '
        f'words and its map on this picture">{escape(one.unit)}</button></th><td>{one.times:.1f}</td>'
        f"<td>{escape(one.words) or '<span class=sx-was>no words on this side</span>'} "
        f"{badge(one.proven) if one.words else ''}</td><td>{number(one.value, 3)}</td>"
        f"<td>{_toggle(one.unit, one.unit in off)}</td></tr>"
        for one in found
    )  # fmt: skip
    return (
        '<div class="sx-scroll"><table class="sx-table"><thead><tr><th scope="col">unit</th>'
        '<th scope="col" title="its effect over what it exceeds on 2 % of the survey’s images">× usual</th>'
        '<th scope="col">words</th><th scope="col" title="to the score, over its mean">adds</th>'
        '<th><span class="sx-hidden">switch</span></th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )
