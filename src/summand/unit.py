"""The one name for a thing that is studied, and the one grammar: 10.3, 9:2914, 624x21, 9#1234."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from .arguments import names_wrong_arguments
from .errors import SummandError, nearest

Kind = Literal["heads", "neurons", "pairs", "latents"]
KINDS: tuple[Kind, ...] = ("heads", "neurons", "pairs", "latents")
SINGULAR: dict[str, str] = {"heads": "head", "neurons": "neuron", "pairs": "pair", "latents": "latent"}
GRAMMAR = (
    "head LAYER.HEAD (10.3), neuron LAYER:NEURON (9:2914), pair NEURONxHEAD (624x21), latent LAYER#LATENT (9#1234)"
)

_MARKS: dict[str, Kind] = {".": "heads", ":": "neurons", "x": "pairs", "#": "latents"}
_BY_LAYER = ("neurons", "latents")  # kinds whose units are studied layer by layer
_FORMS = {"heads": "10.3", "neurons": "9:2914", "pairs": "624x21", "latents": "9#1234"}


@dataclass(frozen=True)
class Group:
    """All units of one kind (and, for neurons and latents, of one layer), which share their statistics.

    A unit's index is its place on the group's unit axes: (layer, head), (neuron,), (neuron, head) or (latent,).
    """

    kind: Kind
    layer: int | None = None

    @property
    def name(self) -> str:
        """heads, neurons.9, pairs: the name in a survey's folder."""
        return self.kind if self.layer is None else f"{self.kind}.{self.layer}"

    @staticmethod
    def named(name: str) -> Group:
        kind, _, layer = name.partition(".")
        found: Kind | None = next((known for known in KINDS if known == kind), None)
        if found is None or bool(layer) != (kind in _BY_LAYER) or not (layer or "0").isdigit():
            raise SummandError(f"no group of units is called {name!r}; they are called heads, neurons.9, pairs")
        return Group(found, int(layer) if layer else None)

    def unit(self, index: Sequence[int]) -> str:
        """What people call a unit of this group.

        >>> Group("neurons", 9).unit((2914,)), Group("heads").unit((22, 11)), Group("pairs").unit((624, 21))
        ('9:2914', '22.11', '624x21')
        """
        return str(Unit(self, tuple(int(number) for number in index)))


@names_wrong_arguments
@dataclass(frozen=True)
class Unit:
    """One head, neuron, neuron–head pair or latent: a group, and the unit's index on the group's axes.

    >>> Unit.parse("9:2914")
    Unit(group=Group(kind='neurons', layer=9), index=(2914,))
    >>> str(Unit.parse("624x21")), Unit.parse("10.3").layer
    ('624x21', 10)
    """

    group: Group
    index: tuple[int, ...]

    @property
    def kind(self) -> str:
        """head, neuron, pair or latent."""
        return SINGULAR[self.group.kind]

    @property
    def layer(self) -> int | None:
        """The layer it is in; None of a pair, whose attention pool is the only one."""
        return self.index[0] if self.group.kind == "heads" else self.group.layer

    @property
    def name(self) -> str:
        return str(self)

    def __str__(self) -> str:
        kind, numbers = self.group.kind, self.index
        mark = next(mark for mark, of in _MARKS.items() if of == kind)
        return mark.join(map(str, numbers if self.group.layer is None else (self.group.layer, *numbers)))

    @classmethod
    def parse(cls, text: str | Unit, kind: str | None = None) -> Unit:
        """The unit of a name. kind ("pair", "heads", …): what it must be; then 624.21 is read as a pair too, and 9.2914
        as a neuron. Raises `SummandError` for what is no unit's name, or one of another kind."""
        if isinstance(text, Unit):
            return text
        wanted = None if kind is None else _kind(kind)
        found = re.fullmatch(r"(\d+)([.:x#])(\d+)", str(text).strip())
        if found is None:
            form = GRAMMAR if wanted is None else f"such as {_FORMS[wanted]}"
            raise SummandError(
                f"{'a unit' if wanted is None else f'a {SINGULAR[wanted]}'} is called {form}; got {text!r}"
            )
        first, mark, second = int(found[1]), found[2], int(found[3])
        named = _MARKS[mark]
        if wanted is not None and named != wanted:
            if mark != ".":
                one = SINGULAR[wanted]
                raise SummandError(f"{text!r} is a {SINGULAR[named]}; a {one} is called as {_FORMS[wanted]} is")
            named = wanted
        if named in _BY_LAYER:
            return cls(Group(named, first), (second,))
        return cls(Group(named), (first, second))


def _kind(text: str) -> Kind:
    found: Kind | None = next((kind for kind in KINDS if text == kind or text == SINGULAR[kind]), None)
    if found is None:
        raise SummandError(f"unknown units {text!r}{nearest(text, KINDS)} (there are {', '.join(KINDS)})")
    return found


@dataclass(frozen=True)
class Wanted:
    """A kind of units that was asked for; layers: of neurons or latents, or None for the model's own choice."""

    kind: Kind
    layers: tuple[int, ...] | None = None


def parse_units(text: str | Iterable[str]) -> tuple[Wanted, ...]:
    """What `units` asks for: kinds separated by commas, neurons with a layer or a range of layers.

    >>> parse_units("heads,neurons:8-10")
    (Wanted(kind='heads', layers=None), Wanted(kind='neurons', layers=(8, 9, 10)))

    Raises `SummandError` for an unknown kind or a range that cannot be read; needs no model.
    """
    wanted = [_wanted(part) for part in split(text)]
    if not wanted:
        raise SummandError(
            "no units were named; say heads, neurons, neurons:8-10, pairs, or several with commas between"
        )
    return tuple(dict.fromkeys(wanted))


def _wanted(part: str) -> Wanted:
    text, colon, layers = part.partition(":")
    kind = _kind(text)
    if not colon:
        return Wanted(kind)
    if kind not in _BY_LAYER:
        raise SummandError(f"{part!r}: only neurons are taken layer by layer; say {kind}")
    return Wanted(kind, parse_layers(layers, part))


def units_of(given: str | Unit | Iterable[str | Unit], kind: str | None = None) -> tuple[Unit, ...]:
    """Single units by name, commas between.

    >>> [str(unit) for unit in units_of("10.3, 9:2914")]
    ['10.3', '9:2914']
    """
    if isinstance(given, Unit):
        return (given,)
    parts = split(given) if isinstance(given, str) else list(given)
    return tuple(dict.fromkeys(Unit.parse(part, kind) for part in parts))


def parse_layers(given: str | int | Iterable[int], said: str | None = None) -> tuple[int, ...]:
    """Layers as people write them, commas between, ranges with both ends.

    >>> parse_layers("8-10,3"), parse_layers([4, 5])
    ((8, 9, 10, 3), (4, 5))
    """
    if not isinstance(given, str):
        return (int(given),) if isinstance(given, int) else tuple(int(layer) for layer in given)
    found: list[int] = []
    for part in split(given) or [""]:
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if first > last:
            raise SummandError(
                f"{said or given!r}: expected a layer or a range of layers, such as "
                f"{'neurons:9 or neurons:8-10' if said else '9 or 8-10'}"
            )
        found.extend(range(first, last + 1))
    return tuple(dict.fromkeys(found))


def split(given: str | Iterable[str]) -> list[str]:
    """A list as people write it: commas between, white space around; a list stays one."""
    parts = given.split(",") if isinstance(given, str) else [str(part) for part in given]
    return [part.strip() for part in parts if part.strip()]
