"""From a model and images to a site: one pass, TextSpan, token maps, pages."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from jinja2 import Environment, PackageLoader, StrictUndefined
from torch import Tensor

from ...data import ImageSource, Skipped
from ...models import Model
from ...studies.world import strange_pictures
from ...survey import Group, Survey, survey_of
from ...survey.labels import SIZE, kinds_of, label_run
from ...survey.terms import shares_said
from ...survey.unit_words import Words, directions_of, words_of_row
from ...text.labels import HeadLabel, importance, label_heads
from ...text.pools import Pool
from ...towers.precision import doubled
from .examples import Picked, Pictures, pick_examples
from .folder import claim_folder

_HELD_OUT = 0.2  # of the images: words are chosen on a half of these and proven on the other
_FEW_DRAWS = 2  # of random texts beside those that span a head, which the pages do not show


@dataclass(frozen=True)
class Atlas:
    """What was built: the front page, the texts that span each head, its words, and what was left out."""

    page: Path
    labels: list[HeadLabel]
    words: dict[str, Words]
    images: int
    skipped: tuple[Skipped, ...]
    residual: float
    seconds: float


def build(
    model: Model,
    source: ImageSource,
    out: Path,
    *,
    pool: Pool,
    layers: int | Sequence[int] = 4,
    size: int = 10,
    examples: int = 8,
    survey: Survey | None = None,
    batch_size: int = 64,
    progress: bool | None = True,
) -> Atlas:
    """Write the site to `out`.

    layers: which, or how many of the last ones, get a page a head. size: texts a head. examples: strongest and weakest
    images a head. survey: of these images, where one was made with keep=layers. Raises `SummandError` before any
    expensive work for an output folder that is not empty and not ours.
    """
    started = time.time()
    claim_folder(out)
    embeddings = model.encode_text(pool.texts, progress=progress)
    every = range(model.tower.layers)
    last = list(every)[-layers:] if isinstance(layers, int) else sorted(layers)
    options: dict[str, Any] = {"top": 0, "keep": last, "held_out": _HELD_OUT}
    options |= {"batch_size": batch_size, "progress": progress}
    found = survey_of(model, source, [Group("heads")], **options) if survey is None else survey
    moments = found.moments("heads")
    shares = importance(moments, embeddings)
    labels = label_heads(moments, found.manifest.kept, pool.texts, embeddings, shares, size)
    table = label_run(found, pool.texts, embeddings, SIZE, properties=kinds_of(pool), draws=_FEW_DRAWS)
    of_heads = table[table["kind"] == "head"].set_index("unit")
    words = {label.name: words_of_row(of_heads.loc[label.name]) for label in labels}
    along = {label.name: _along(found, label, words[label.name], embeddings) for label in labels}
    picked = pick_examples(found, labels, along, examples)
    site = _Site(model, source, out, found, embeddings, words, along)
    site.write(labels, picked, shares, pool, progress, started)
    return Atlas(
        page=out / "index.html",
        labels=labels,
        words=words,
        images=len(found.images),
        skipped=_skipped(found),
        residual=found.manifest.residual or 0.0,
        seconds=time.time() - started,
    )


def _skipped(found: Survey) -> tuple[Skipped, ...]:
    return tuple(Skipped(item["name"], item["reason"]) for item in found.manifest.skipped)


def _along(found: Survey, label: HeadLabel, words: Words, embeddings: Tensor) -> Tensor:
    """The direction whose two ends a head's page shows: that of its first proven words, else its first text."""
    first = words.first
    if first is None or not first.proven:
        return embeddings[label.indices[0]].cpu().double()
    return first.sign * directions_of(found, Group("heads"))[label.layer, label.head, first.thing]


class _Site:
    def __init__(
        self,
        model: Model,
        source: ImageSource,
        out: Path,
        found: Survey,
        embeddings: Tensor,
        words: Mapping[str, Words],
        along: Mapping[str, Tensor],
    ) -> None:
        self.model, self.source, self.out, self.found, self.embeddings = model, source, out, found, embeddings
        self.words = words
        self.pages = Environment(
            loader=PackageLoader("summand.report.site"), autoescape=True, undefined=StrictUndefined
        )
        self.indices = found.images.index.to_numpy()
        self.pictures = Pictures(model, source, out, self.indices, along)

    def write(
        self,
        labels: list[HeadLabel],
        picked: dict[str, Picked],
        shares: Tensor,
        pool: Pool,
        progress: bool | None,
        started: float,
    ) -> None:
        for folder in ("heads", "images"):
            (self.out / folder).mkdir(exist_ok=True)
        (self.out / "style.css").write_text((files("summand.report.site") / "templates" / "style.css").read_text())
        maps = self.pictures.maps(labels, picked, progress)
        context = self._context(pool)
        with self.model.as_it_is():  # every picture on a page asks for the form of the tower
            for position, label in enumerate(labels):
                one = picked[label.name]
                limit = max((float(maps[label.name, row].abs().max()) for row in one.strongest), default=1.0)
                shown = {
                    row: self.pictures.example(row, float(one.scores[row]), maps[label.name, row], limit)
                    for row in (*one.strongest, *one.weakest)
                }
                page = self.pages.get_template("head.html.j2").render(
                    **context,
                    label=label,
                    called=self.words[label.name],
                    ends=_ends(self.words[label.name]),
                    steps=_steps(label),
                    strongest=[shown[row] for row in one.strongest],
                    weakest=[shown[row] for row in one.weakest],
                    previous=labels[position - 1] if position else None,
                    following=labels[position + 1] if position + 1 < len(labels) else None,
                )
                (self.out / "heads" / f"{label.name}.html").write_text(page)
        front = self.pages.get_template("index.html.j2").render(
            **context,
            rows=_grid(labels, shares),
            words=self.words,
            heads_said=shares_said(self.found, self.embeddings),
            labels=sorted(labels, key=lambda label: -label.importance),
            heads=range(shares.shape[1]),
            seconds=time.time() - started,
            split=self._split(),
        )
        (self.out / "index.html").write_text(front)

    def _context(self, pool: Pool) -> dict[str, Any]:
        found = self.found
        return {
            "model": self.model,
            "source": self.source.label,
            "images": len(self.indices),
            "skipped": _skipped(found),
            "residual": found.manifest.residual,
            "pool": pool,
            "first_layer": found.manifest.kept[0],
            "scenes": bool(self.model.world.attributes),
            "strange": strange_pictures(self.model, self.source),
        }

    def _split(self) -> dict[str, float]:
        """Shares of the representation's variance along the class texts: heads of the last layers, MLPs, the rest."""
        outputs = doubled(self.found.outputs)
        texts = doubled(self.embeddings).to(outputs.device)  # which were kept with the run, and lie on the CPU
        texts = texts - texts.mean(dim=0)
        whole = (outputs - outputs.mean(dim=0)) @ texts.T
        kept = self.found.kept
        late = torch.einsum("ilhp,lhpe->ie", doubled(kept.coefficients), doubled(kept.directions))
        mlps = doubled(self.found.mlps)
        total = float(whole.square().sum()) or 1.0
        share = {
            name: float((((part - part.mean(dim=0)) @ texts.T) * whole).sum()) / total
            for name, part in (("late", late), ("mlps", mlps))
        }
        return {**share, "rest": 1 - sum(share.values())}


def _steps(label: HeadLabel) -> list[dict[str, Any]]:
    """Each text with the variance explained before it and with it, in percent."""
    before = [0.0, *label.explained]
    return [
        {"text": text, "from": 100 * low, "to": 100 * high, "adds": 100 * (high - low)}
        for text, low, high in zip(label.texts, before, label.explained, strict=False)
    ]


def _ends(words: Words) -> list[dict[str, Any]]:
    """Every end that was given words, as a head's page lists them."""
    return [
        {
            "sign": "+" if end.sign > 0 else "−",
            "share": _percent(end.share),
            "words": end.text,
            "shown": _percent(end.shown),
            "chance": _percent(end.chance),
            "verdict": end.verdict,
            "proven": end.proven,
        }
        for end in words.ends
        if end.words
    ]


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.0f} %"


def _grid(labels: Sequence[HeadLabel], shares: Tensor) -> list[dict[str, Any]]:
    """Rows of the layer × head map, last layer first. `heat` is the share relative to the largest."""
    by_name = {label.name: label for label in labels}
    most = float(shares.max()) or 1.0
    return [
        {
            "layer": layer,
            "cells": [
                {
                    "head": head,
                    "share": 100 * float(shares[layer, head]),
                    "heat": (float(shares[layer, head]) / most) ** 0.6,
                    "label": by_name.get(f"{layer}.{head}"),
                }
                for head in range(shares.shape[1])
            ],
        }
        for layer in reversed(range(shares.shape[0]))
    ]
