"""Which images a unit's page shows: those furthest along each of the ends and texts that it is described by."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ...survey import Group, Survey
from ...survey import store as stored
from ...survey.unit_words import directions_of
from ...towers.precision import doubled
from .entries import Entry

_TABS = 6


@dataclass(frozen=True)
class Tab:
    """One of the things that a unit says. title: the words, or the text; kind: "end" of a direction that it writes
    along, or "text" of those that span it. scores: image → how far along, in standard deviations. direction: [embed];
    None of units whose map is the same for all (where a neuron is active)."""

    title: str
    kind: str
    sign: int
    proven: bool
    verdict: str
    strongest: tuple[int, ...] = ()
    weakest: tuple[int, ...] = ()
    scores: Mapping[int, float] = field(default_factory=dict)
    direction: Tensor | None = None
    shown: float | None = None
    chance: float | None = None
    share: float | None = None

    @property
    def images(self) -> tuple[int, ...]:
        return tuple(dict.fromkeys((*self.strongest, *self.weakest)))

    def only(self, read: Collection[int]) -> Tab:
        """The same without images that could not be read."""
        keep = [tuple(i for i in some if i in read) for some in (self.strongest, self.weakest)]
        return replace(self, strongest=keep[0], weakest=keep[1])


class Examples:
    """Of every unit the tabs of its page. Images are ranked among those whose effects the survey knows: the ones kept
    aside, a fair sample, and the unit's own top images. Nothing is passed again.

    count: strongest images a tab, weakest: of the other side. texts: embeddings of the pool by text, centred.
    """

    def __init__(
        self, survey: Survey, texts: Mapping[str, Float[Tensor, " embed"]], count: int, weakest: int | None = None
    ) -> None:
        self.survey, self.texts, self.count = survey, texts, count
        self.weakest = count if weakest is None else weakest
        self.held = survey.held_out_images
        self._group = lru_cache(maxsize=2)(self._read)

    def tabs(self, entry: Entry) -> list[Tab]:
        return self._head(entry) if entry.group.kind == "heads" else self._along_r(entry)

    def _read(self, group: Group) -> dict[str, Any]:
        """What is needed of a group, read once."""
        survey, data = self.survey, self.survey.dataset(group)
        top = "top_image" in data
        found: dict[str, Any] = {"basis": survey.rank_one(group).basis.double(), "top": top}
        if top:
            found |= {"ids": data["top_image"].values, "coefficients": stored.tensor(data["top_coefficient"])}
        if group.kind == "heads":
            found["held"] = survey.held_out_coefficients(group)
            found["covariance"] = survey.moments(group).covariance
            found["directions"] = directions_of(survey, group)
        else:
            found["held"] = survey.held_out(group)
            found["reading"] = survey.rank_one(group).reading()[..., 0]
            found["scale"] = stored.tensor(data["scale"]).double()
        return found

    def _head(self, entry: Entry) -> list[Tab]:
        known, index = self._group(entry.group), entry.unit.index
        basis = known["basis"].select([index[0]]).dense()[0, index[1]].double()  # [path, embed]
        tabs = list(self._head_tabs(entry, known["directions"][index]))
        if not tabs:
            return []
        reading = basis @ torch.stack([tab.direction.double() for tab in tabs if tab.direction is not None]).T
        rows, numbers = [], []
        if known["held"] is not None and len(self.held):
            rows.append(known["held"][(slice(None), *index)].double() @ reading)
            numbers.append(self.held)
        if known["top"]:
            rows.append(doubled(known["coefficients"][index]) @ reading)
            numbers.append(known["ids"][index])
        if not rows:
            return tabs
        covariance = known["covariance"][index].double()
        scale = torch.einsum("pt,pq,qt->t", reading, covariance, reading).clamp(min=0).sqrt()
        scores = torch.cat(rows) / torch.where(scale > 0, scale, 1)
        images = np.concatenate(numbers)
        return [self._ranked(tab, images, scores[:, at].numpy()) for at, tab in enumerate(tabs)]

    def _head_tabs(self, entry: Entry, things: Tensor) -> Iterator[Tab]:
        """Its ends with words, then the texts that span it, as long as they are other texts."""
        said: set[str] = set()
        count = 0
        for end in entry.words.ends:
            if end.words and end.thing < len(things) and count < _TABS:
                said |= set(end.words)
                count += 1
                yield Tab(
                    end.text, "end", end.sign, end.proven, end.verdict, direction=end.sign * things[end.thing].double(),
                    shown=end.shown, chance=end.chance, share=end.share,
                )  # fmt: skip
        for text, weight in entry.texts:
            if text not in said and text in self.texts and count < _TABS:
                count += 1
                direction = F.normalize(self.texts[text].double(), dim=0)
                yield Tab(text, "text", 1 if weight >= 0 else -1, False, "", direction=direction)

    def _along_r(self, entry: Entry) -> list[Tab]:
        known, index = self._group(entry.group), entry.unit.index
        rows, numbers = [], []
        if len(self.held):
            rows.append(known["held"][(slice(None), *index)].double())
            numbers.append(self.held)
        if known["top"]:
            rows.append(doubled(known["coefficients"][index]) @ known["reading"][index].double())
            numbers.append(known["ids"][index])
        scale = float(known["scale"][index]) or 1.0
        x = torch.cat(rows).numpy() / scale if rows else np.zeros(0)
        images = np.concatenate(numbers) if numbers else np.zeros(0, dtype=np.int64)
        tabs = []
        for sign in (1, -1):
            end = next((end for end in entry.words.ends if end.sign == sign and end.words), None)
            silent = any(end.silent for end in entry.words.ends if end.sign == sign)
            if end is None and (silent or sign < 0):
                continue
            title = end.text if end is not None else "the side of most top images"
            evidence = (end.shown, end.chance) if end is not None else (None, None)
            tab = Tab(
                title, "end", sign, bool(end and end.proven), end.verdict if end else entry.words.verdict,
                shown=evidence[0], chance=evidence[1],
            )  # fmt: skip
            tabs.append(self._ranked(tab, images, sign * x, weakest=0))
        if not tabs:
            tabs = [
                self._ranked(Tab("the side of most top images", "end", 1, False, entry.words.verdict), images, x, 0)
            ]
        return tabs

    def _ranked(self, tab: Tab, images: np.ndarray, scores: np.ndarray, weakest: int | None = None) -> Tab:
        order = np.argsort(-scores, kind="stable")
        last = self.weakest if weakest is None else weakest
        some = min(self.count, len(order) // 2 if last else int((scores > 0).sum()))
        least = min(last, len(order) // 2)
        strong, weak = order[:some], order[::-1][:least]
        chosen = {int(images[i]): float(scores[i]) for i in (*strong, *weak)}
        return replace(
            tab,
            strongest=tuple(int(images[i]) for i in strong),
            weakest=tuple(int(images[i]) for i in weak),
            scores=chosen,
        )


def centred_texts(texts: Sequence[str], embeddings: Float[Tensor, "text embed"]) -> dict[str, Tensor]:
    """text → its embedding less the mean of the pool."""
    centred = doubled(embeddings.cpu()) - doubled(embeddings.cpu()).mean(dim=0)
    return dict(zip(texts, centred, strict=True))
