"""Maps in a notebook: a text that is pointed at, or reached by the tab key, shows its map over the picture.

Styles alone, no script, so that notebooks that run none show it too; nothing is fetched.
"""

from __future__ import annotations

import io
from base64 import b64encode
from dataclasses import replace
from html import escape
from typing import TYPE_CHECKING

from PIL import Image

from ..data.pictures import as_rgb
from ..errors import SummandError
from .crop import Box
from .look import each_laid_over, scale

if TYPE_CHECKING:
    from .heatmap import Heatmap

MOST = 30
"""Maps that are shown; more make a notebook heavy, and are in `.rows` and `.grid`."""
_SIDE = 448
_STYLE = """
.summand-map{display:flex;flex-wrap:wrap;gap:16px;align-items:flex-start;font:13px/1.4 system-ui,sans-serif}
.summand-map figure{margin:0;position:relative;flex:0 1 auto}
.summand-map img{display:block;max-width:100%;border-radius:3px}
.summand-map .m{position:absolute;inset:0;opacity:0;transition:opacity .12s}
.summand-map .m0{opacity:1}
.summand-map table{border-collapse:collapse;margin:0}
.summand-map th,.summand-map td{padding:3px 10px;text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.summand-map th:first-child,.summand-map td:first-child{text-align:left;white-space:normal;overflow-wrap:anywhere}
.summand-map .w{cursor:default}
.summand-map .w:hover,.summand-map .w:focus{background:rgba(127,127,127,.22);outline:2px solid rgba(127,127,127,.6)}
.summand-map p{margin:6px 0 0;max-width:36em;opacity:.8}
.summand-map .bar{display:inline-block;width:90px;height:9px;margin:0 6px;border-radius:2px}
"""


def as_page(heatmap: Heatmap) -> str:
    """The picture with its maps, and the texts with the model's cosines and each map's sum."""
    small = _small(heatmap)
    shown = replace(small, texts=small.texts[:MOST], grid=small.grid[:MOST], similarity=small.similarity[:MOST])
    texts = [" ".join(text.split()) for text in shown.texts]
    maps = "".join(
        f'<img class="m m{place}" alt="map of {escape(text)}" src="{_uri(one)}">'
        for place, (text, one) in enumerate(zip(texts, each_laid_over(shown), strict=True))
    )
    below = _picture(shown)
    picture = f'<figure><img alt="{escape(heatmap.name or "the picture")}" src="{_uri(below)}">{maps}</figure>'
    known = any(cosine is not None for cosine in shown.cosines)
    rows = "".join(
        f'<tr class="w w{place}" tabindex="0"><td>{escape(text)}</td>{_cell(cosine, 3) if known else ""}'
        f"{_cell(float(grid.sum()), 3)}{_cell(float(grid.max()), 4)}</tr>"
        for place, (text, cosine, grid) in enumerate(zip(texts, shown.cosines, shown.grid, strict=True))
    )
    head = f"<tr><th>text</th>{'<th>cosine</th>' if known else ''}<th>sum</th><th>max</th></tr>"
    left = len(heatmap.texts) - len(texts)
    notes = [f"{left} more maps are in .grid"] * (left > 0) + list(heatmap.notes)
    said = "".join(f"<p>{escape(note)}</p>" for note in notes)
    return (
        f'<div class="summand-map"><style>{_STYLE}{_rules(len(texts))}</style>{picture}<div><table>'
        f"<thead>{head}</thead><tbody>{rows}</tbody></table>{_bar(shown)}{said}</div></div>"
    )


def _rules(count: int) -> str:
    """Of each text. What is pointed at goes before what the tab key has reached: by repeated classes, for the order of
    rules says nothing where a notebook holds several of these."""
    found = []
    for state, weight in (("focus", ".m"), ("hover", ".m.m.m")):
        found.append(f".summand-map:has(.w:{state}) {weight}{{opacity:0}}")
        found += [f".summand-map:has(.w{place}:{state}) {weight}.m{place}{{opacity:1}}" for place in range(count)]
    return "".join(found)


def _bar(heatmap: Heatmap) -> str:
    """The colours and their ends, the same for all texts."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    look = scale(heatmap, heatmap.upsampled())
    stops = ",".join(to_hex(colormaps[look["cmap"]](share / 8)) for share in range(9))
    ends = [f"{look[name]:+.3g}".replace("-", "−") for name in ("vmin", "vmax")]
    return (
        f'<p>{escape(heatmap.quantity)}: {ends[0]}<span class="bar" style="background:linear-gradient(90deg,{stops})">'
        f"</span>{ends[1]}. Point at a text to see its map.</p>"
    )


def _cell(value: float | None, digits: int) -> str:
    said = "" if value is None else f"{value:+.{digits}f}".replace("-", "−")
    return f"<td>{said}</td>"


def _small(heatmap: Heatmap) -> Heatmap:
    """The same over a picture that is not larger than a notebook needs; over what the model saw where the original is
    gone, or does not lie where the model looked."""
    original = heatmap.original
    try:
        box = None if original is None else original.box
        picture = None if original is None or box is None else as_rgb(original.read())
    except (OSError, SummandError):
        box = picture = None
    if original is None or box is None or picture is None:
        return replace(heatmap, original=None)
    size = _fitted(picture.size)
    zoom = size[0] / picture.width, size[1] / picture.height
    placed: Box = (box[0] * zoom[0], box[1] * zoom[1], box[2] * zoom[0], box[3] * zoom[1])
    smaller = _resized(picture, size)
    return replace(
        heatmap, original=replace(original, size=(size[1], size[0]), read=lambda: smaller, find_box=lambda: placed)
    )


def _picture(heatmap: Heatmap) -> Image.Image:
    return Image.fromarray(heatmap.picture) if heatmap.original is None else heatmap.original.read()


def _fitted(size: tuple[int, int]) -> tuple[int, int]:
    """Small pictures are made larger in whole steps, so that their pixels can be seen."""
    longest = max(size)
    zoom = _SIDE / longest if longest > _SIDE else _SIDE // longest
    return max(1, round(size[0] * zoom)), max(1, round(size[1] * zoom))


def _resized(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    larger = size[0] >= picture.width
    return picture.resize(size, Image.Resampling.NEAREST if larger else Image.Resampling.LANCZOS)


def _uri(image: Image.Image) -> str:
    if max(image.size) < _SIDE:
        image = _resized(image, _fitted(image.size))
    found = io.BytesIO()
    image.convert("RGB").save(found, format="WEBP", quality=82)
    return f"data:image/webp;base64,{b64encode(found.getvalue()).decode()}"
