"""Which units a run is about: heads, the neurons of a layer, neuron–head pairs; and what a single one is called."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from ..decomposition import Parts
from ..effects import Effects
from ..errors import SummandError, nearest
from ..models import Model
from ..pairs import pairs_and_trace, with_pairs
from ..second_order import second_orders, with_neurons
from ..towers.pool import PoolTower
from ..towers.residual import ResidualTower

Kind = Literal["heads", "neurons", "pairs"]
KINDS: tuple[Kind, ...] = ("heads", "neurons", "pairs")
SINGULAR = {"heads": "head", "neurons": "neuron", "pairs": "pair"}
_FORMS = {"head": "LAYER.HEAD, such as 22.11", "neuron": "LAYER:NEURON, such as 9:2914", "pair": "NEURON.HEAD"}
_SMALL = 8  # layers of a tower of which all neurons are taken unless others are asked for


@dataclass(frozen=True)
class Group:
    """All units of one kind (and, for neurons, of one layer), which share their statistics.

    A unit's index is its place on the group's unit axes: (layer, head), (neuron,) or (neuron, head).
    """

    kind: Kind
    layer: int | None = None

    @property
    def name(self) -> str:
        """heads, neurons.9, pairs: the name in a run folder."""
        return self.kind if self.layer is None else f"{self.kind}.{self.layer}"

    @staticmethod
    def named(name: str) -> Group:
        kind, _, layer = name.partition(".")
        if kind not in KINDS or bool(layer) != (kind == "neurons") or not (layer or "0").isdigit():
            raise SummandError(f"no group of units is called {name!r}; they are called heads, neurons.9, pairs")
        return Group(kind, int(layer) if layer else None)

    def unit(self, index: Sequence[int]) -> str:
        """What people call a unit: head 22.11 (layer, head), neuron 9:2914 (layer, neuron), pair 624.21 (neuron, head).

        >>> Group("neurons", 9).unit((2914,)), Group("heads").unit((22, 11))
        ('9:2914', '22.11')
        """
        return f"{self.layer}:{index[0]}" if self.kind == "neurons" else ".".join(str(number) for number in index)


def effects_of(
    groups: Sequence[Group], model: Model, pixels: Float[Tensor, "image 3 height width"]
) -> tuple[dict[Group, Effects], Parts]:
    """The effects of a batch of images for every group, and its decomposition, all from one forward pass."""
    with model.as_it_is():
        return _effects_of(groups, model, pixels)


def _effects_of(groups: Sequence[Group], model: Model, pixels: Tensor) -> tuple[dict[Group, Effects], Parts]:
    parts = model.decompose(pixels)
    found: dict[Group, Effects] = {}
    layers = [group.layer for group in groups if group.layer is not None]
    if layers:
        neurons, trace = second_orders(model.tower, pixels, layers)
        parts.share(trace)
        found |= {Group("neurons", layer): effects for layer, effects in neurons.items()}
    if Group("pairs") in groups:
        found[Group("pairs")], trace = pairs_and_trace(model.tower, pixels)
        parts.share(trace)
    if Group("heads") in groups:
        found[Group("heads")] = parts.head_effects()
    return found, parts


def find_unit(kind: Kind, text: str) -> tuple[Group, tuple[int, ...]]:
    """The group and the index of a unit by the name that people use.

    >>> find_unit("neurons", "9:2914")
    (Group(kind='neurons', layer=9), (2914,))
    """
    mark = ":" if kind == "neurons" else r"\."
    found = re.fullmatch(rf"(\d+){mark}(\d+)", text.strip())
    if found is None:
        one = SINGULAR[kind]
        raise SummandError(f"a {one} is called {_FORMS[one]}; got {text!r}")
    first, second = int(found[1]), int(found[2])
    return (Group(kind, first), (second,)) if kind == "neurons" else (Group(kind), (first, second))


@dataclass(frozen=True)
class Wanted:
    """A kind of units that was asked for; layers: of neurons, or None for the model's own choice."""

    kind: Kind
    layers: tuple[int, ...] | None = None


def parse_units(text: str) -> tuple[Wanted, ...]:
    """What `--units` asks for: kinds separated by commas, neurons with a layer or a range of layers.

    >>> parse_units("heads,neurons:8-10")
    (Wanted(kind='heads', layers=None), Wanted(kind='neurons', layers=(8, 9, 10)))

    Raises `SummandError` for an unknown kind or a range that cannot be read; needs no model.
    """
    wanted = [_one(part.strip()) for part in text.split(",") if part.strip()]
    if not wanted:
        raise SummandError("--units is empty; say heads, neurons, neurons:8-10, pairs, or several with commas between")
    return tuple(dict.fromkeys(wanted))


def _one(part: str) -> Wanted:
    kind, colon, layers = part.partition(":")
    plural = next((name for name in KINDS if kind in (name, SINGULAR[name])), None)
    if plural is None:
        raise SummandError(f"unknown units {kind!r}{nearest(kind, KINDS)} (there are {', '.join(KINDS)})")
    if not colon:
        return Wanted(plural)
    if plural != "neurons":
        raise SummandError(f"{part!r}: only neurons are taken layer by layer; say {plural}")
    found = re.fullmatch(r"(\d+)(?:-(\d+))?", layers.strip())
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
    if first > last:
        raise SummandError(f"{part!r}: expected a layer or a range of layers, such as neurons:9 or neurons:8-10")
    return Wanted(plural, tuple(range(first, last + 1)))


def default_units(model: Model) -> tuple[Wanted, ...]:
    """Heads, and what else the tower has: neurons with later attention, or the pairs of an attention pool."""
    if isinstance(model.tower, PoolTower):
        return (Wanted("heads"), Wanted("pairs"))
    plain = isinstance(model.tower, ResidualTower) and model.tower.plain and model.tower.layers > 1
    return (Wanted("heads"), Wanted("neurons")) if plain else (Wanted("heads"),)


def groups_of(model: Model, wanted: Sequence[Wanted]) -> tuple[Group, ...]:
    """The groups that were asked for, checked against the model's tower before anything is computed.

    Neurons without a layer: of every layer with later attention; in a tower of more than 8 layers of the last three of
    them, where paper A finds the strongest effects. Raises `SummandError` for units that the tower does not have.
    """
    groups: list[Group] = []
    for want in wanted:
        if want.kind == "heads":
            groups.append(Group("heads"))
        elif want.kind == "pairs":
            with_pairs(model.tower)
            groups.append(Group("pairs"))
        else:
            last = with_neurons(model.tower).layers - 1
            own = range(0 if last < _SMALL else last - 3, last)
            for layer in own if want.layers is None else want.layers:
                with_neurons(model.tower, [layer])
                groups.append(Group("neurons", layer))
    return tuple(dict.fromkeys(groups))
