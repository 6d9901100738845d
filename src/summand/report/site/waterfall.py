"""One image: what every term of the sum adds to its class score, where, and which units it moves."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...models import Model
from ...survey import Survey
from ...towers.precision import doubled
from ..words import WordMap
from .ablation import Problem
from .entries import Entry
from .sentences import Sentences

_TEXTS, _MOVED, _HEADS = 4, 12, 6


@dataclass(frozen=True)
class Score:
    r"""⟨M, d⟩/‖M‖ for one text, d its embedding less the mean of the others: the sum of the terms below.

    heads: [layer, head]; mlps: [layer]; rest: embedding and biases. right: whether the image's label says so, where
    that is known. grid: what every patch adds through all heads. phrase: the text as a whole sentence.
    """

    text: str
    of: str
    score: float
    heads: Float[np.ndarray, "layer head"]
    mlps: Float[np.ndarray, " layer"]
    rest: float
    grid: Float[np.ndarray, "row column"]
    right: bool | None = None
    phrase: str = ""


@dataclass
class ImagePage:
    image: int
    name: str
    scores: list[Score] = field(default_factory=list)
    sentences: list[WordMap] = field(default_factory=list)
    moved: list[tuple[Entry, float, str]] = field(default_factory=list)

    @property
    def page(self) -> str:
        return f"images/{self.image:06d}.html"


class Images:
    """The images with pages, filled in while the pass over all images goes by.

    problems: of each the class is told that the model reads; without any, the texts of the pool that are nearest.
    sentences: holds words against patches.
    """

    def __init__(
        self,
        model: Model,
        survey: Survey,
        images: Sequence[int],
        problems: Sequence[Problem],
        texts: Mapping[str, Float[Tensor, " embed"]],
        sentences: Sentences,
    ) -> None:
        names = survey.images["name"]
        self.model, self.problems, self.texts, self.sentences = model, problems, texts, sentences
        self.pages = {image: ImagePage(image, str(names.get(image, ""))) for image in images}
        self._held = {int(image): row for row, image in enumerate(survey.held_out_images)}
        self._centred = [doubled(p.weights.cpu()) - doubled(p.weights.cpu()).mean(dim=0) for p in problems]
        self._pool = torch.stack(list(texts.values())) if texts else None
        self._usual = survey.centre

    def see(self, numbers: Sequence[int], pixels: Tensor) -> None:
        """Take in a batch; only those of its images that have a page are decomposed, one after the other: each has
        texts of its own, and along them every head is read."""
        for row, image in enumerate(numbers):
            if image in self.pages:
                self._see(self.pages[image], pixels[row : row + 1])

    def _see(self, page: ImagePage, pixels: Tensor) -> None:
        parts = self.model.decompose(pixels)
        total = doubled(parts.total()[0].cpu())
        length = float(total.norm()) or 1.0
        chosen = self._chosen(page.image, total)
        if chosen:
            directions = torch.stack([direction for _, _, direction, _, _ in chosen])
            along = directions.to(self.model.device, torch.promote_types(self.model.dtype, torch.float32))
            tokens = doubled(parts.tokens_toward(along)[0, self.model.tower.prefix :].cpu()) / length
            heads = doubled(parts.heads_toward(along)[0].cpu()).numpy() / length
            mlps = (doubled(parts.mlps()[0].cpu()) @ directions.T).numpy() / length
            rest = doubled((parts.embedding() + parts.bias())[0].cpu()) @ directions.T / length
            for at, (text, of, direction, right, phrase) in enumerate(chosen):
                grid = tokens[:, at].unflatten(0, self.model.tower.grid).numpy()
                score = float(total @ direction) / length
                page.scores.append(
                    Score(text, of, score, heads[..., at], mlps[:, at], float(rest[at]), grid, right, phrase)
                )
        page.sentences = self.sentences.of(page.image, parts, [score.phrase for score in page.scores])

    def _chosen(self, image: int, output: Tensor) -> list[tuple[str, str, Tensor, bool | None, str]]:
        """Texts that the model reads in the image, with their directions, and as sentences: the surest classes, else
        the nearest texts."""
        found = []
        for problem, weights in zip(self.problems, self._centred, strict=True):
            scores = weights @ output
            order = scores.argsort(descending=True)
            best = int(order[0])
            label = int(problem.labels[self._held[image]]) if image in self._held else -1
            margin = float(scores[best] - scores[order[1]]) if len(order) > 1 else float(scores[best])
            right = None if label < 0 else label == best
            phrase = problem.phrases[best] if problem.phrases else problem.classes[best]
            found.append((margin, problem.classes[best], problem.name, weights[best], right, phrase))
        found.sort(key=lambda item: -item[0])
        if found:
            return [item[1:] for item in found[:_TEXTS]]
        if self._pool is None:
            return []
        scores = torch.nn.functional.normalize(self._pool, dim=1) @ (output / output.norm() - self._usual)
        names = list(self.texts)
        best = scores.topk(min(_TEXTS, len(names))).indices.tolist()
        return [(names[i], "pool", self._pool[i], None, names[i]) for i in best]

    def only(self, read: Collection[int]) -> None:
        """Leave out images that could not be read."""
        self.pages = {image: page for image, page in self.pages.items() if image in read}

    def moved(self, survey: Survey, entries: Sequence[Entry]) -> None:
        """The units that move furthest on each image, in their own deviations, with the words of that side."""
        rows = [self._held[image] for image in self.pages if image in self._held]
        images = [image for image in self.pages if image in self._held]
        if not rows:
            return
        columns, known = [], []
        for group in dict.fromkeys(entry.group for entry in entries):
            scale = torch.from_numpy(np.array(survey.dataset(group)["scale"].values)).double()
            x = survey.held_out(group)[rows].double() / torch.where(scale > 0, scale, 1)
            for entry in entries:
                if entry.group == group and entry.group.kind != "heads":
                    columns.append(x[(slice(None), *entry.unit.index)])
                    known.append(entry)
        if not columns:
            return
        table = torch.stack(columns, dim=1)
        for row, image in enumerate(images):
            for at in table[row].abs().argsort(descending=True).tolist():
                x = float(table[row, at])
                side = next((e for e in known[at].words.ends if e.proven and e.sign == (1 if x > 0 else -1)), None)
                if side is not None:
                    self.pages[image].moved.append((known[at], x, side.text))
                if len(self.pages[image].moved) == _MOVED:
                    break


def rows_of(score: Score) -> list[dict[str, Any]]:
    """The waterfall: each layer's heads and MLP in turn, with where the sum stands before and after."""
    steps: list[tuple[str, int | None, float]] = [("input and biases", None, score.rest)]
    for layer in range(len(score.heads)):
        steps.append((f"layer {layer}, heads", layer, float(score.heads[layer].sum())))
        if layer < len(score.mlps):
            steps.append((f"layer {layer}, MLP", None, float(score.mlps[layer])))
    found, at = [], 0.0
    for name, layer, value in steps:
        found.append({"name": name, "layer": layer, "value": value, "from": at, "to": at + value})
        at += value
    low = min(min(row["from"], row["to"]) for row in found)
    span = (max(max(row["from"], row["to"]) for row in found) - low) or 1.0
    for row in found:
        row["left"] = 100 * (min(row["from"], row["to"]) - low) / span
        row["width"] = 100 * abs(row["value"]) / span
    return found


def strongest_heads(score: Score) -> list[tuple[str, float]]:
    """The heads that add or take most, by name, the furthest from zero first."""
    order = np.argsort(-np.abs(score.heads), axis=None, kind="stable")[:_HEADS]
    places = zip(*np.unravel_index(order, score.heads.shape), strict=True)
    return [(f"{layer}.{head}", float(score.heads[layer, head])) for layer, head in places]
