"""The ablations that can be asked for by name, alone or several at once ("class-token+mlps"), for any model."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from ...errors import SummandError
from ...models import Model
from ...models.readable import readable
from ...text.pools import pool, random_directions
from ...towers.pool import PoolTower
from ...towers.residual import ResidualTower
from ...unit import Unit, split
from ..registers.find import RegisterNeurons
from ..verb import OptionError
from .accuracy import Family
from .direct import AttentionUpTo, ClassToken, Mlps, Spans, check_class_token
from .neurons import Indirect, SecondOrder, SparseSecondOrder
from .options import KINDS, TOGETHER
from .pairs import Pairs
from .reconstructions import Reconstruction, SparsePairs
from .together import Together
from .unit_sets import of_sets
from .variance import Kind

_OF_NEURONS = ("second-order", "indirect")
_RANDOM, _GAUSSIAN = 3000, 3498


def families(
    model: Model,
    kinds: Sequence[Sequence[str]] | None = None,
    *,
    images: int,
    sets: Sequence[Sequence[Unit]] = (),
    layers: Sequence[int] | None = None,
    pools: str | Sequence[str] | None = None,
    sizes: Sequence[int] | None = None,
    keep: Sequence[float] | None = None,
    components: Sequence[int] | None = None,
    progress: bool | None = False,
) -> list[Family]:
    """The ablations of a model, made ready for `measure`; by default the direct ones, and pairs where it has them.

    kinds: as `read_kinds` gives them. images: how many the means are taken over. sets: units to ablate as well, each
    set together. layers: of neurons. pools: as `read_pools` has them; sizes: texts a unit. keep: percentages of pairs;
    components: of reconstructions.

    Raises `SummandError` for what the model does not have.
    """
    tower = model.tower
    pooled = isinstance(tower, PoolTower)
    if kinds is None:
        kinds = [("pairs",)] if pooled else [("mlps",), ("attention",), *([("class-token",)] if tower.prefix else [])]
    _check(model, {kind for group in kinds for kind in group}, layers)
    texts = read_pools(model, pools, progress) if {("sparse",), ("textspan",)} & set(map(tuple, kinds)) else {}
    found: list[Family] = of_sets(model, sets)
    for group in kinds:
        if len(group) > 1:
            found.append(together(model, group))
            continue
        (kind,) = group
        if kind in TOGETHER:
            found.append(_direct(model, kind))
        elif kind == "second-order":
            found += [SecondOrder(layer, images) for layer in layers or range(tower.layers - 1)]
        elif kind == "indirect":
            found += [Indirect(layer) for layer in layers or range(tower.layers)]
        elif kind == "reconstruction":
            some = components or [1, 2, 4]
            if pooled:
                found += [Reconstruction("pairs", some), Reconstruction("neurons", some)]
            else:
                found += [Reconstruction(at, some, images) for at in layers or range(tower.layers - 1)]
        elif kind == "sparse" and pooled:
            found += [SparsePairs("pairs", texts, sizes or [16, 64]), SparsePairs("neurons", texts, sizes or [16, 64])]
        elif kind == "sparse":
            some = layers or [max(0, tower.layers - 4)]
            found += [SparseSecondOrder(layer, images, texts, sizes or [4, 8, 16, 32, 64, 128]) for layer in some]
        elif kind == "textspan":
            found.append(Spans(model, texts, sizes or [10, 20, 30, 40, 50, 60]))
        elif kind == "registers":
            found.append(RegisterNeurons(model))
        elif kind == "pairs":
            found += [Pairs(keep or [10]), Pairs(keep or [10], neurons=True)]
    return found


def with_components(
    model: Model, kinds: Sequence[Sequence[str]] | None, layers: Sequence[int] | None = None
) -> list[tuple[Kind, int | None]]:
    """Of which effects `explained` can tell the variance of the first component, among what is ablated: (kind, layer).

    Raises `SummandError` where there are none.
    """
    asked = {kind for group in kinds or [("pairs",)] for kind in group}
    if isinstance(model.tower, PoolTower):
        return [("pairs", None), ("neurons", None)]
    last, found = model.tower.layers, []
    if asked & {"second-order", "reconstruction", "sparse"}:
        found += [("second-order", layer) for layer in layers or range(last - 1)]
    if "indirect" in asked:
        found += [("indirect", layer) for layer in layers or range(last)]
    if not found:
        raise SummandError(
            "the variance that a component explains is of effects of neurons; ask for second-order or indirect"
        )
    return found


def together(model: Model, kinds: Sequence[str]) -> Family:
    """Several kinds of terms ablated at the same time, such as the class token's own term and all MLPs (paper C,
    Table 4's third column). Attention holds the class token's own term: of its ablated layers none is taken twice."""
    if {"attention", "class-token"} <= set(kinds):
        check_class_token(model)
        both = AttentionUpTo(own=True)
        return Together([both, Mlps()]) if "mlps" in kinds else both
    return Together([_direct(model, kind) for kind in kinds])


def _direct(model: Model, kind: str) -> Family:
    return ClassToken(model) if kind == "class-token" else Mlps() if kind == "mlps" else AttentionUpTo()


def read_pools(
    model: Model, pools: str | Sequence[str] | None = None, progress: bool | None = False
) -> dict[str, Float[Tensor, "text embed"]]:
    """Name → directions: pools of texts, embedded; `random`, 3,000 unit vectors, or random:COUNT; `gaussian`, 3,498
    vectors of a unit Gaussian as in paper C (A.3), or gaussian:COUNT. By default the model's own pool, and random."""
    found = {}
    for name in split(pools or (model.world.pool, "random")):
        kind, colon, count = name.partition(":")
        if kind not in ("random", "gaussian"):
            found[name] = model.encode_text(readable(pool(name), model._tokenizer)[0].texts, progress=progress)
            continue
        if colon and not (count.isdigit() and int(count)):
            raise SummandError(f"{kind}:COUNT takes how many vectors, from 1 on; got {name!r}")
        number = int(count) if colon else _RANDOM if kind == "random" else _GAUSSIAN
        found[name] = random_directions(number, model.tower.embed, unit=kind == "random").to(model.device)
    return found


def _check(model: Model, kinds: set[str], layers: Sequence[int] | None) -> None:
    """MLPs are of a stream of tokens, and the last layer's have no attention behind them."""
    tower = model.tower
    pooled = isinstance(tower, PoolTower)
    asked = [kind for kind in KINDS if kind in kinds]
    lacking = [kind for kind in asked if kind in ("mlps", *_OF_NEURONS)]
    if pooled and lacking:
        raise SummandError(
            f"{model.name} ends in an attention pool and has no MLPs: {', '.join(lacking)} cannot be ablated, pairs can"
        )
    of_neurons = [kind for kind in asked if kind in (*_OF_NEURONS, "sparse", "reconstruction")]
    if of_neurons and not isinstance(tower, (PoolTower, ResidualTower)):
        raise SummandError(f"{', '.join(of_neurons)} need the neurons of a plain transformer; {model.name} is none")
    if pooled:
        if layers and of_neurons:
            raise OptionError(
                "layers", f"must be left out: {model.name} ends in an attention pool, whose neurons are of one layer"
            )
        return
    last = tower.layers - (1 if of_neurons == ["indirect"] else 2)
    wrong = [layer for layer in layers or [] if not 0 <= layer <= last] if of_neurons else []
    if wrong:
        what = ", ".join(of_neurons)
        raise OptionError("layers", f"must exist: {what} of {model.name} are of layers 0 to {last}, got {wrong}")
