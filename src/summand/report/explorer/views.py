"""What is shown, as HTML: every word of a user or a file is escaped here, and nothing is fetched."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from jaxtyping import Float
from torch import Tensor

from ...effects.waterfall import Step
from .ink import ink_of


def number(value: float, digits: int = 2) -> str:
    """Signed, with a real minus; what rounds to zero has no sign."""
    said = f"{value:+.{digits}f}"
    return said.lstrip("+-") if float(said) == 0 else said.replace("-", "−")


def percent(share: float) -> str:
    """To the last digit that a reader can see: 46 %, 0.3 %, below 0.1 %."""
    if share >= 0.0995 or share == 0:
        return f"{100 * share:.0f} %"
    return f"{100 * share:.1f} %" if share >= 0.001 else "&lt; 0.1 %"


def alert(text: str) -> str:
    """What went wrong, where a screen reader says it."""
    return f'<p class="sx-alert" role="alert">{escape(text)}</p>' if text else ""


def note(text: str) -> str:
    return f'<p class="sx-note">{escape(text)}</p>'


def prediction(texts: Sequence[str], before: Sequence[float], after: Sequence[float] | None, chosen: int) -> str:
    """A bar for each text's probability; after: with units switched off, below the one before."""
    rows = []
    for place, (text, share) in enumerate(zip(texts, before, strict=True)):
        now = share if after is None else after[place]
        old = "" if after is None else f'<i class="sx-old" style="width:{100 * share:.2f}%"></i>'
        was = "" if after is None else f'<span class="sx-was">{percent(share)} →</span> '
        rows.append(
            f'<div class="sx-row{" sx-on" if place == chosen else ""}"><span class="sx-text">{escape(text)}</span>'
            f'<span class="sx-track">{old}<i class="sx-bar" style="width:{100 * now:.2f}%"></i></span>'
            f'<span class="sx-number" data-share="{now:.6f}">{was}{percent(now)}</span></div>'
        )
    head = "Probability of each text" + ("" if after is None else ": before → with units off")
    wide = "" if after is None else " sx-wide"
    return f'<section class="sx{wide}" aria-label="prediction"><h2>{head}</h2>{"".join(rows)}</section>'


def waterfall(name: str, steps: Sequence[Step], before: Sequence[Step] | None = None) -> str:
    """A bar for each step from where the sum stood to where it stands then; the last line is the sum. before: the same
    steps with nothing switched off."""
    ends, at = [], 0.0
    for step in steps:
        ends.append((at, at := at + step.value))
    low = min([0.0, *(min(pair) for pair in ends)])
    high = max([0.0, *(max(pair) for pair in ends)])
    span = (high - low) or 1.0
    zero = 100 * (0 - low) / span
    rows = [
        _fall(step.name, step.value, start, end, low, span, None if before is None else before[place].value)
        for place, (step, (start, end)) in enumerate(zip(steps, ends, strict=True))
    ]
    old = None if before is None else sum(step.value for step in before)
    rows.append(_fall("sum", at, 0.0, at, low, span, old, total=True))
    wide = "" if before is None else " sx-wide"
    head = (
        ""
        if before is None
        else '<div class="sx-fall sx-head"><span></span><span></span><span>before → now</span></div>'
    )
    return (
        f'<section class="sx{wide}" aria-label="contributions" style="--zero:{zero:.2f}%"><h2>What adds up to it</h2>'
        f'<p class="sx-note">{escape(name)}: each part of the model adds its bar to the one above.</p>'
        f"{head}{''.join(rows)}</section>"
    )  # fmt: skip


def _fall(
    name: str, value: float, start: float, end: float, low: float, span: float, old: float | None, total: bool = False
) -> str:
    left, wide = 100 * (min(start, end) - low) / span, 100 * abs(end - start) / span
    side = "sx-for" if value >= 0 else "sx-against"
    was = "" if old is None else f'<span class="sx-was">{number(old)} →</span> '
    return (
        f'<div class="sx-fall{" sx-total" if total else ""}"><span class="sx-text">{escape(name)}</span>'
        f'<span class="sx-track"><i class="{side}" style="left:{left:.2f}%;width:{wide:.2f}%"></i></span>'
        f'<span class="sx-number" data-value="{value:.6f}">{was}{number(value)}</span></div>'
    )


def head_grid(
    values: Float[Tensor, "layer head"], words: dict[str, str], chosen: str | None, off: Sequence[str]
) -> str:
    """A button for every head, coloured by what it adds: red for, blue against."""
    limit = float(values.abs().max()) or 1.0
    rows = []
    for layer, row in enumerate(values.tolist()):
        cells = "".join(
            _cell(f"{layer}.{head}", value, limit, words.get(f"{layer}.{head}", ""), chosen, off)
            for head, value in enumerate(row)
        )
        rows.append(f'<tr><th scope="row">{layer}</th>{cells}</tr>')
    heads = "".join(f'<th scope="col">{head}</th>' for head in range(values.shape[1]))
    return (
        '<section class="sx" aria-label="heads"><h2>Heads, layer by layer</h2>'
        '<p class="sx-note">What each head adds: red for, blue against. Choose one.</p><div class="sx-scroll">'
        f'<table class="sx-grid"><thead><tr><th><span class="sx-hidden">layer</span></th>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div></section>"
    )


def _cell(unit: str, value: float, limit: float, said: str, chosen: str | None, off: Sequence[str]) -> str:
    share = value / limit
    colour = f"rgba(var(--sx-{'red' if share >= 0 else 'blue'}), {abs(share):.2f})"
    kind = " sx-chosen" * (unit == chosen) + " sx-off" * (unit in off)
    title = (
        f"head {unit} adds {number(value)}" + (f"; {said}" if said else "") + ("; switched off" if unit in off else "")
    )
    ink = ink_of(share)
    return (
        f'<td><button type="button" class="sx-cell{kind}{ink}" data-unit="{unit}" style="background:{colour}" '
        f'aria-pressed="{"true" if unit == chosen else "false"}" aria-label="{escape(title)}" title="{escape(title)}">'
        f"{number(value, _digits(limit))}</button></td>"
    )


def _digits(limit: float) -> int:
    """So many that the largest can be read."""
    return 1 if limit >= 1 else 2 if limit >= 0.1 else 3


def maps(pictures: Sequence[tuple[str, str]], name: str) -> str:
    """Maps over the picture, (data URI, caption) each; a click on one asks about the patch there."""
    figures = "".join(
        f'<figure><img class="sx-map" tabindex="0" src="{uri}" alt="map of {escape(name)}, {escape(caption)}: red '
        f'patches speak for it, blue ones against"><figcaption>{escape(caption)}</figcaption></figure>'
        for uri, caption in pictures
    )
    return (
        f'<section class="sx" aria-label="map"><h2>Where it comes from</h2><p class="sx-note">{escape(name)}: red '
        f"patches speak for it through the heads, blue ones against. Click a patch, or move with the arrow keys.</p>"
        f'<div class="sx-maps">{figures}</div></section>'
    )  # fmt: skip


def listed(title: str, rows: Sequence[tuple[str, float, str]], about: str = "") -> str:
    """(name, value, what is said of it) as lines with bars to either side."""
    limit = max((abs(value) for _, value, _ in rows), default=0.0) or 1.0
    digits = max(2, _digits(limit))
    lines = "".join(
        f'<div class="sx-fall"><span class="sx-text"><b>{escape(name)}</b> {escape(said)}</span><span class="sx-track">'
        f'<i class="{"sx-for" if value >= 0 else "sx-against"}" style="left:{50 - 50 * max(0, -value) / limit:.1f}%;'
        f'width:{50 * abs(value) / limit:.1f}%"></i></span><span class="sx-number">{number(value, digits)}</span></div>'
        for name, value, said in rows
    )
    below = note(about) if about else ""
    return f'<div class="sx sx-list" style="--zero:50%"><h3>{escape(title)}</h3>{below}{lines}</div>'


def gallery(rows: Sequence[tuple[str | None, str, float]]) -> str:
    """(data URI or None, name, cosine) of each picture."""
    cells = "".join(
        f"<figure>{f'<img src={uri!r} alt={escape(name)!r}>' if uri else '<p class=sx-note>not readable</p>'}"
        f"<figcaption>{number(cosine)} {escape(name)}</figcaption></figure>"
        for uri, name, cosine in rows
    )
    return f'<div class="sx-gallery">{cells}</div>'


def examples(rows: Sequence[tuple[str, str]]) -> str:
    """(data URI, what it is called): buttons."""
    cells = "".join(
        f'<button type="button" data-example="{place}" title="{escape(name)}">'
        f'<img src="{uri}" alt="{escape(name)}"></button>'
        for place, (uri, name) in enumerate(rows)
    )  # fmt: skip
    return f'<div class="sx-examples">{cells}</div>' if cells else ""
