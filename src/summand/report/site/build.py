"""From a model and images to a site: one pass, TextSpan, token maps, pages."""

from __future__ import annotations

import base64
import io
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image
from torch import Tensor

from ...data import ImageSource, Skipped
from ...errors import SummandError
from ...maps.heatmap import overlay
from ...maps.placing import placed, share_of
from ...models import Model
from ...progress import Progress
from ...studies.world import strange_pictures
from ...survey import Group, Survey, survey_of
from ...survey.labels import SIZE, label_run
from ...survey.terms import shares_said
from ...survey.words import Words, directions_of, words_of_row
from ...text.labels import HeadLabel, importance, label_heads
from ...text.pools import Pool

MARKER = ".summand-atlas"
_THUMBNAIL = 192
_MAP_BATCH = 32
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


@dataclass(frozen=True)
class Example:
    """An image on a head's page: its thumbnail, the head's score along its first words, and the token map."""

    picture: str
    name: str
    score: float
    overlay: str


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
    _claim_folder(out)
    embeddings = model.encode_text(pool.texts, progress=progress)
    every = range(model.tower.layers)
    last = list(every)[-layers:] if isinstance(layers, int) else sorted(layers)
    options: dict[str, Any] = {"top": 0, "keep": last, "held_out": _HELD_OUT, "batch_size": batch_size}
    options["progress"] = progress
    found = survey_of(model, source, [Group("heads")], **options) if survey is None else survey
    moments = found.moments("heads")
    shares = importance(moments, embeddings)
    labels = label_heads(moments, found.manifest.kept, pool.texts, embeddings, shares, size)
    table = label_run(found, pool.texts, embeddings, SIZE, draws=_FEW_DRAWS)
    of_heads = table[table["kind"] == "head"].set_index("unit")
    words = {label.name: words_of_row(of_heads.loc[label.name]) for label in labels}
    along = {label.name: _along(found, label, words[label.name], embeddings) for label in labels}
    picked = _pick_examples(found, labels, along, examples)
    site = _Site(model, source, out, found, embeddings, words, along, shares_said(found, embeddings))
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


def check_folder(out: Path) -> None:
    """Raise `SummandError` unless `out` is new, empty, or an atlas that we wrote before. Changes nothing."""
    if out.exists() and not out.is_dir():
        raise SummandError(f"{out} is a file; give another folder with --out")
    parent = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    if not os.access(parent, os.W_OK):
        raise SummandError(f"no permission to write to {parent}; give another folder with --out")
    if out.is_dir() and any(out.iterdir()) and not (out / MARKER).is_file():
        raise SummandError(f"the folder {out} is not empty and holds no atlas of ours; give another folder with --out")


def _claim_folder(out: Path) -> None:
    """Make `out` ours, without the pages of an earlier atlas."""
    check_folder(out)
    try:
        for name in ("heads", "images", "index.html", "style.css"):
            target = out / name
            if target.is_dir():
                shutil.rmtree(target)
            elif target.exists():
                target.unlink()
        out.mkdir(parents=True, exist_ok=True)
        (out / MARKER).write_text("This folder is written by `summand atlas`, which replaces what is in it.\n")
    except OSError as error:
        raise SummandError(
            f"cannot write to {out}: {error.strerror or error}; give another folder with --out"
        ) from error


def _along(found: Survey, label: HeadLabel, words: Words, embeddings: Tensor) -> Tensor:
    """The direction whose two ends a head's page shows: that of its first proven words, else its first text."""
    first = words.first
    if first is None or not first.proven:
        return embeddings[label.indices[0]].double().cpu()
    return first.sign * directions_of(found, Group("heads"))[label.layer, label.head, first.thing]


def _pick_examples(
    found: Survey, labels: Sequence[HeadLabel], along: Mapping[str, Tensor], count: int
) -> dict[str, tuple[Tensor, list[int], list[int]]]:
    """For each head: the centred scores of all images along its direction, and the strongest and weakest rows."""
    kept = found.kept
    picked, directions = {}, kept.directions
    for label in labels:
        row = label.layer - found.manifest.kept[0]
        reading = directions[row, label.head].double() @ along[label.name]
        scores = kept.coefficients[:, row, label.head].double() @ reading
        scores = scores - scores.mean()
        order = scores.argsort(descending=True).tolist()
        some = min(count, len(order) // 2)
        picked[label.name] = (scores, order[:some], order[::-1][:some])
    return picked


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
        heads_said: str,
    ) -> None:
        self.model, self.source, self.out, self.found, self.embeddings = model, source, out, found, embeddings
        self.words, self.along, self.heads_said = words, along, heads_said
        self.pages = Environment(
            loader=PackageLoader("summand.report.site"), autoescape=True, undefined=StrictUndefined
        )
        self.written: set[int] = set()
        self.indices = found.images.index.to_numpy()

    def write(
        self, labels: list[HeadLabel], picked: dict, shares: Tensor, pool: Pool, progress: bool, started: float
    ) -> None:
        for folder in ("heads", "images"):
            (self.out / folder).mkdir(exist_ok=True)
        (self.out / "style.css").write_text((files("summand.report.site") / "templates" / "style.css").read_text())
        maps = self._maps(labels, picked, progress)
        context = self._context(pool)
        for position, label in enumerate(labels):
            scores, strongest, weakest = picked[label.name]
            limit = float(max((maps[label.name, row].abs().max() for row in strongest), default=torch.tensor(1.0)))
            page = self.pages.get_template("head.html.j2").render(
                **context,
                label=label,
                called=self.words[label.name],
                ends=_ends(self.words[label.name]),
                steps=_steps(label),
                strongest=[self._example(label, row, scores, maps, limit) for row in strongest],
                weakest=[self._example(label, row, scores, maps, limit) for row in weakest],
                previous=labels[position - 1] if position else None,
                following=labels[position + 1] if position + 1 < len(labels) else None,
            )
            (self.out / "heads" / f"{label.name}.html").write_text(page)
        front = self.pages.get_template("index.html.j2").render(
            **context,
            rows=_grid(labels, shares),
            words=self.words,
            heads_said=self.heads_said,
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
        texts = self.embeddings.double() - self.embeddings.double().mean(dim=0)
        outputs = self.found.outputs.double()
        whole = (outputs - outputs.mean(dim=0)) @ texts.T
        kept = self.found.kept
        late = torch.einsum("ilhp,lhpe->ie", kept.coefficients.double(), kept.directions.double())
        mlps = self.found.mlps.double()
        total = float(whole.square().sum()) or 1.0
        share = {
            name: float((((part - part.mean(dim=0)) @ texts.T) * whole).sum()) / total
            for name, part in (("late", late), ("mlps", mlps))
        }
        return {**share, "rest": 1 - sum(share.values())}

    def _maps(self, labels: list[HeadLabel], picked: dict, progress: bool) -> dict[tuple[str, int], Tensor]:
        """Token maps along each head's direction, through that head alone, for the images on its page."""
        wanted: dict[int, list[HeadLabel]] = {}
        for label in labels:
            for row in (*picked[label.name][1], *picked[label.name][2]):
                wanted.setdefault(row, []).append(label)
        column = {label.name: i for i, label in enumerate(labels)}
        targets = torch.stack([self.along[label.name] for label in labels]) if labels else None
        maps: dict[tuple[str, int], Tensor] = {}
        rows = sorted(wanted)
        with Progress("maps", len(rows), "images", progress) as bar:
            for start in range(0, len(rows), _MAP_BATCH):
                some = rows[start : start + _MAP_BATCH]
                pixels = torch.stack([self.model.preprocess(self._image(row)) for row in some])
                pixels = pixels.to(self.model.device, self.model.dtype)
                toward = self.model.decompose(pixels).toward(targets.to(self.embeddings))
                for i, row in enumerate(some):
                    for label in wanted[row]:
                        tokens = toward[i, label.layer, label.head, :, column[label.name]]
                        contribution = tokens[self.model.tower.prefix :]
                        maps[label.name, row] = contribution.unflatten(0, self.model.tower.grid).float().cpu()
                for row, picture in zip(some, self.model.picture(pixels), strict=True):
                    self._thumbnail(row, picture)
                bar.update(len(some))
        return maps

    def _image(self, row: int) -> Image.Image:
        return self.source.image(int(self.indices[row]))

    def _thumbnail(self, row: int, picture: np.ndarray) -> None:
        small = Image.fromarray(picture)
        if max(small.size) > _THUMBNAIL:
            small.thumbnail((_THUMBNAIL, _THUMBNAIL))
            small.save(self.out / "images" / self._file(row), quality=88)
        elif self.model.world.picture_size is not None:
            self._image(row).save(self.out / "images" / self._file(row))
        else:
            small.save(self.out / "images" / self._file(row))

    def _file(self, row: int) -> str:
        kind = "png" if max(self.model.tower.image_size) <= _THUMBNAIL else "jpg"
        return f"{int(self.indices[row]):06d}.{kind}"

    def _over(self, cells: Tensor) -> Tensor:
        """The map as it is laid over the whole picture: as it is where it covers it, else at the picture's size."""
        share = share_of(self.model)
        return cells if share == (1.0, 1.0) else placed(cells[None, None], self.model.tower.image_size, share)[0, 0]

    def _example(self, label: HeadLabel, row: int, scores: Tensor, maps: dict, limit: float) -> Example:
        buffer = io.BytesIO()
        overlay(self._over(maps[label.name, row]), limit).save(buffer, format="PNG")
        return Example(
            picture=f"../images/{self._file(row)}",
            name=self.source.name(int(self.indices[row])),
            score=float(scores[row]),
            overlay="data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode(),
        )


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
            "share": "" if end.share is None else f"{100 * end.share:.0f} %",
            "words": end.text,
            "shown": "" if end.shown is None else f"{100 * end.shown:.0f} %",
            "chance": "" if end.chance is None else f"{100 * end.chance:.0f} %",
            "verdict": end.verdict,
            "proven": end.proven,
        }
        for end in words.ends
        if end.words
    ]


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
