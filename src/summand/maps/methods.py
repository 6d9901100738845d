"""Every way to draw a map of a text under one name: Summand's own decompositions, and the baselines of the field."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..errors import SummandError, nearest
from ..models import Model
from ..survey import Survey
from ..towers.pool import PoolTower
from .baselines import METHODS, Capture
from .baselines.method import Reads
from .neuron_directions import default_layers, directions_of, neuron_directions, readable
from .neuron_maps import NeuronMaps, Weighting, combined_maps, second_order_maps
from .pair_maps import Factor, PairMaps, pair_signs, pool_tower
from .token_maps import token_maps
from .treatments import OWN, TREATMENTS

Maps = Callable[..., Float[Tensor, "image text row column"]]
Batches = Callable[[], Iterable[Tensor]]
Shape = Literal["signed", "clipped", "root"]


@dataclass(frozen=True)
class MapMethod:
    """A method made ready for one model.

    maps(pixels, directions) → [image, text, row, column]. contrast: the mean text is taken from each text first;
    unit: texts are brought back to unit length after that. shape: "signed" as it is; "clipped": what speaks against
    the text counts as nothing; "root": the square root of that, so that weak evidence counts beside strong. many:
    further texts cost little, so all are drawn at once (the others also take directions [text, image, embed], each
    image with a text of its own). among_all: a text's map depends on the other classes' texts. threshold: the
    published one, "mean" or a number. reads: what `maps` takes from a pass that it can share with others, given as
    shared=Capture(…): gradients from a layer on, tensors alone ("pass"), or nothing (None).
    """

    name: str
    title: str
    source: str
    maps: Maps
    contrast: bool = False
    shape: Shape = "signed"
    unit: bool = False
    many: bool = False
    among_all: bool = False
    threshold: float | str = "mean"
    reads: Reads = None

    def directions(self, texts: Float[Tensor, "text embed"]) -> Float[Tensor, "text embed"]:
        """What is drawn for each class text."""
        found = texts - texts.mean(dim=0) if self.contrast and len(texts) > 1 else texts
        return found / found.norm(dim=1, keepdim=True) if self.unit else found

    def with_options(self, **options: Any) -> MapMethod:
        """A baseline with options of its own."""
        reads = self.reads
        if isinstance(reads, int):
            reads = options.get("first_layer", options.get("layer", reads))
        among_all = bool(options.get("feature_surgery", self.among_all))
        return replace(self, maps=partial(self.maps, **options), reads=reads, among_all=among_all)

    def of_all(
        self, pixels: Tensor, directions: Tensor, shared: Capture | None = None
    ) -> Float[Tensor, "image text row column"]:
        """The map of every text over every image."""
        return self.shaped(self._drawn(pixels, directions, shared))

    def shaped(self, maps: Float[Tensor, "*batch row column"]) -> Float[Tensor, "*batch row column"]:
        """Maps in the shape that is scored."""
        if self.shape == "signed":
            return maps
        return maps.clamp(min=0).sqrt() if self.shape == "root" else maps.clamp(min=0)

    def of_one(
        self, pixels: Tensor, directions: Tensor, which: Int[Tensor, " image"], shared: Capture | None = None
    ) -> Float[Tensor, "image row column"]:
        """One text for each image, signed."""
        if self.among_all:
            return self._drawn(pixels, directions, shared)[torch.arange(len(pixels)), which]
        if self.many:
            texts, place = which.unique(return_inverse=True)
            return self._drawn(pixels, directions[texts], shared)[torch.arange(len(pixels)), place]
        return self._drawn(pixels, directions[which][None], shared)[:, 0]

    def _drawn(self, pixels: Tensor, directions: Tensor, shared: Capture | None) -> Tensor:
        if shared is None or self.reads is None:
            return self.maps(pixels, directions).float()
        return self.maps(pixels, directions, shared=shared).float()


_LEARNT = 5  # layers before the last whose neurons' directions are learnt: all that the scenes models have
_NEURONS = ("neurons", "second-order", "neurons-both")
_PAIRS = ("pairs", "pairs-neuron", "pairs-similarity")


def names() -> list[str]:
    """All methods: Summand's own, then the baselines."""
    return [*OWN, *METHODS]


def choose(model: Model, wanted: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The methods asked for ("all": every one that applies), and why each of the others does not apply.

    Raises `SummandError` for an unknown method, and for one that was named and does not apply.
    """
    known = names()
    for name in wanted:
        if name != "all" and name not in known:
            raise SummandError(f"unknown method {name!r}{nearest(name, known)} (methods: all, {', '.join(known)})")
    refused = {name: reason for name in known if (reason := applies(model, name)) is not None}
    if "all" in wanted:
        return [name for name in known if name not in refused], refused
    for name in wanted:
        if name in refused:
            raise SummandError(f"{name} does not apply to {model.name} ({model.tower.kind}): {refused[name]}")
    return list(dict.fromkeys(wanted)), {}


def applies(model: Model, name: str) -> str | None:
    """None, or why the method does not apply to the model's tower."""
    if name == "decomposition":
        return None if model.tower.prefix + model.tower.grid[0] * model.tower.grid[1] > 1 else "it has no tokens"
    if name in _NEURONS:
        return _reason(lambda: default_layers(model) if readable(model).plain else _refuse("its blocks are not plain"))
    if name in OWN:
        return _reason(lambda: pool_tower(model))
    return METHODS[name].applies(model)


def prepare(
    model: Model,
    name: str,
    reference: Batches | None = None,
    paper: bool = False,
    *,
    layers: Collection[int] | None = None,
    count: int = 200,
    weighting: Weighting | None = None,
    survey: Survey | None = None,
) -> MapMethod:
    """A method made ready. reference: batches of pixels that the neurons' directions are learnt from, and as published
    the sides of the pairs'. paper: as published, not as it was found best on scenes. layers, count, weighting: of the
    neuron maps, as `NeuronMaps` has them; where they are left out, what was found best on scenes, or published. survey:
    one that knows the neurons' directions, in place of the reference."""
    if name == "decomposition":
        # a token's term holds its attention, which falls off steeply inside an object: without the root the map at half
        # its height covers too little of it (+8 mIoU on scenes); a single pool has no such peaks, and loses by it
        shape: Shape = "clipped" if paper or isinstance(model.tower, PoolTower) else "root"
        return MapMethod(name, *OWN[name], partial(token_maps, model), contrast=True, shape=shape, many=True)
    if name in ("neurons", "neurons-both"):
        last = readable(model).layers - 1
        if layers is None and not paper:
            layers = range(max(0, last - _LEARNT), last)
        if survey is not None:
            learnt = directions_of(survey, layers)
        elif reference is not None:
            learnt = neuron_directions(model, reference, layers)
        else:
            raise SummandError(f"{name} need reference images, which directions of neurons are learnt from")
        found = NeuronMaps(model, learnt, count, weighting or ("mean" if paper else "weighted"))
        if name == "neurons-both":
            maps = partial(combined_maps, found)
            return MapMethod(name, *OWN[name], maps, contrast=True, shape="root", many=True, threshold=0.5)
        published = MapMethod(name, *OWN[name], found.maps, many=True, threshold=0.5)
        return published if paper else replace(published, shape="clipped")
    if name == "second-order":
        shape = "clipped" if paper else "root"
        maps = partial(second_order_maps, model, layers=layers)
        return MapMethod(name, *OWN[name], maps, contrast=True, shape=shape, many=True)
    if name in OWN:
        factors: dict[str, Factor] = {
            "pairs": "product",
            "pairs-neuron": "neuron",
            "pairs-similarity": "similarity",
        }
        # on scenes the published sum of products is far behind the product of the two sums
        signs = pair_signs(model, reference) if paper and reference is not None else None
        made = PairMaps(model, factor=factors[name], repair=paper, bias=paper, apart=not paper, signs=signs)
        shape = "signed" if paper else "clipped"
        return MapMethod(name, *OWN[name], made.maps, contrast=True, unit=True, shape=shape, many=True)
    found = METHODS[name]
    kind = "pool" if isinstance(model.tower, PoolTower) else "stream"
    given: dict[str, Any] = {} if paper else {**TREATMENTS[kind].get(name, {})}
    options = given.pop("options", {})
    plain = MapMethod(name, found.title, found.source, partial(found.maps, model), reads=found.reads)
    return replace(plain.with_options(**options), **given)


def needs_reference(chosen: Iterable[str], paper: bool = False) -> bool:
    """Whether one of the methods learns from reference images; as published pairs do too."""
    return not {"neurons", "neurons-both", *(_PAIRS if paper else ())}.isdisjoint(chosen)


def default_methods(model: Model, paper: bool = False) -> list[str]:
    """What is segmented with where no method is named: the best on scenes, or the published ones."""
    if isinstance(model.tower, PoolTower):
        return ["decomposition", "pairs"]
    return ["decomposition", "neurons"] if paper else ["decomposition", "second-order", "neurons-both"]


def _refuse(why: str) -> None:
    raise SummandError(why)


def _reason(check: Callable[[], object]) -> str | None:
    try:
        check()
    except SummandError as error:
        return str(error)
    return None
