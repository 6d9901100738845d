"""What can be asked of `ablate`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ...errors import SummandError, listed, nearest
from ...unit import Unit, parse_layers, split, units_of
from ..verb import OptionError, at_least

KINDS = (
    *("mlps", "attention", "class-token", "second-order", "indirect", "sparse", "textspan", "pairs"),
    *("reconstruction", "registers"),
)
TOGETHER = ("class-token", "mlps", "attention")
"""The kinds of terms of one sum, which can be ablated at the same time."""


@dataclass(frozen=True)
class AblateOptions:
    """Mean-ablate units or kinds of terms, one after the other, and measure zero-shot accuracy each time.

    Examples:

    - summand ablate scenes:count=500,seed=3 --classes shape
    - summand ablate scenes:count=500 --classes shape --what second-order,sparse --layers 3,4 --out neurons.png
    - summand ablate birds.csv --label-column species --model ViT-B-16 --pretrained openai --units 10.3,11.5
    - summand ablate imagenet/val --classes imagenet --reference imagenet/train -m ViT-B-16 -p openai --json

    Parameters
    ----------
    data
        A folder with one sub-folder a class, a csv with labels, or scenes[:…].
    reference
        Images that the means are taken over, or the folder of a survey of them; of a table all splits [default: DATA
        itself].
    """

    classes: str | Sequence[str] | None = None
    """imagenet, a text file with a name a line, or names with commas between them, in the order of the sorted folders;
    on scenes the attribute that is the class [default: the folders' or the table's names]."""
    label_column: str | None = None
    """The column of a table that holds the labels [default: label, y or class]."""
    templates: str | Sequence[str] | None = None
    """openai (80), simple (7), a text file, or one such as 'a photo of {}' [default: openai; short ones on scenes]."""
    units: str | Sequence[str] | None = None
    """Single units, ablated together: heads 10.3,11.5, neurons 9:2914,9:41, pairs 624x21 or latents 9#1234 of
    --sae; several sets with ; between them."""
    what: str | Sequence[str] | None = None
    """Kinds of terms: some of mlps, attention, class-token, second-order, indirect, sparse, textspan, pairs,
    reconstruction, registers; class-token+mlps for both at the same time [default: what is cheap and the model has;
    with units, these alone]."""
    layers: str | Sequence[int] | None = None
    """Which layers of second-order, indirect, reconstruction and sparse: 8-10,12 [default: all; of sparse the fourth
    last]."""
    pool: str | Sequence[str] | None = None
    """Of sparse and textspan: pools of texts, random[:COUNT] for random directions, gaussian[:COUNT] for paper C's
    random vectors [default: the model's own, random]."""
    size: str | Sequence[int] | None = None
    """Of sparse and textspan: texts in one description, such as 4,8,16,32."""
    keep: str | Sequence[float] = "1,2,5,10,20,50"
    """Of pairs: percentages of them to keep."""
    components: str | Sequence[int] = "1,2,4"
    """Of reconstruction: principal components a unit."""
    variance: int | None = None
    """Also how much the first principal component explains (paper A, Table 1), of so many neurons of each layer: of
    second-order and indirect, or an attention pool's (a pass for each image and indirect neuron)."""

    def __post_init__(self) -> None:
        read_kinds(self.what)
        read_sets(self.units)
        read_layers(self.layers)
        numbers("size", self.size, above=0)
        numbers("keep", self.keep, float, above=0, most=100)
        numbers("components", self.components, above=0)
        at_least("variance", self.variance, 1)


def read_kinds(what: str | Iterable[str] | None) -> list[tuple[str, ...]] | None:
    """`mlps,class-token+mlps` → [("mlps",), ("class-token", "mlps")]; None where nothing was asked for.

    Raises `SummandError` for an unknown kind, one that is named twice, and kinds that cannot be ablated together.

    >>> read_kinds("attention,class-token+mlps")
    [('attention',), ('class-token', 'mlps')]
    """
    if what is None:
        return None
    found = [tuple(kind.strip() for kind in group.split("+")) for group in split(what)]
    if not found:
        raise OptionError("what", f"must name some of {', '.join(KINDS)}, got {what!r}")
    for group in found:
        for kind in group:
            if kind not in KINDS:
                raise SummandError(f"unknown ablation {kind!r}{nearest(kind, KINDS)} (there are {', '.join(KINDS)})")
        if len(set(group)) < len(group):
            raise SummandError(f"{'+'.join(group)} names an ablation twice; name each once")
        alone = [kind for kind in group if kind not in TOGETHER]
        if len(group) > 1 and alone:
            raise SummandError(
                f"{listed(alone)} cannot be ablated together with other terms: only {', '.join(TOGETHER)} are terms of "
                f"one sum; write {','.join(group)} for one after the other"
            )
    return found


def read_sets(units: str | Unit | Iterable[str | Unit] | None) -> list[tuple[Unit, ...]]:
    """Sets of units of one kind each, by name; several with ; between them, or as a list of lists.

    >>> [[str(unit) for unit in some] for some in read_sets("10.3, 11.5; 9:2914")]
    [['10.3', '11.5'], ['9:2914']]

    Raises `SummandError` for what is no unit's name, and for units of two kinds in one set: a pair or a neuron adds to
    what heads write, so a part of the sum would be taken twice.
    """
    if units is None:
        return []
    if isinstance(units, str):
        parts: list[Any] = [part for part in units.split(";") if part.strip()]
    else:
        listed_sets = not isinstance(units, Unit) and all(isinstance(part, (list, tuple)) for part in units)
        parts = list(units) if listed_sets else [units]  # type: ignore[arg-type]
    found = [units_of(part) for part in parts]
    if not found or not all(found):
        raise OptionError("units", f"must name units, such as 10.3,11.5 or 9:2914; got {units!r}")
    for some in found:
        kinds = list(dict.fromkeys(unit.group.kind for unit in some))
        if len(kinds) > 1:
            raise OptionError(
                "units",
                f"has {' and '.join(kinds)} in one set, whose effects overlap: a part of the sum would be taken twice; "
                f"write ; between sets that are ablated one after the other",
            )
    return found


def read_layers(layers: str | int | Iterable[int] | None) -> list[int] | None:
    """Layers, or None. Raises `OptionError` for what are none."""
    if layers is None:
        return None
    try:
        found = list(parse_layers(layers))
    except SummandError:
        raise OptionError("layers", f"takes numbers from 0 on, such as 8-10,12; got {layers!r}") from None
    if not found or any(layer < 0 for layer in found):
        raise OptionError("layers", f"takes numbers from 0 on, such as 8-10,12; got {found}")
    return found


def numbers(
    option: str,
    given: str | float | Iterable[float] | None,
    kind: Callable[[Any], Any] = int,
    above: float = -1,
    most: float = float("inf"),
) -> list[Any] | None:
    """`4,8` → [4, 8], a list as it is. Raises `OptionError` for what is no number, and for numbers outside."""
    if given is None:
        return None
    parts: list[Any] = [given] if isinstance(given, (int, float)) else split(given)  # type: ignore[arg-type]
    try:
        found = [kind(part) for part in parts]
    except ValueError:
        found = []
    if not found:
        raise OptionError(option, f"takes numbers with commas between them, got {given!r}")
    wrong = [number for number in found if not above < number <= most]
    if wrong:
        limits = "from 0 on" if above < 0 else f"above {above}" + f" and up to {most}" * (most < float("inf"))
        raise OptionError(option, f"takes numbers {limits}, got {wrong}")
    return found
