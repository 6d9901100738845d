"""Whether a neuron is about one thing, and whether its pairs with heads tell its meanings apart (paper B)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from ...data import ImageSource
from ...effects.pairs import with_pairs
from ...errors import SummandError
from ...models import Model
from ...text.pools import random_directions
from ...text.sparse import prepare_atoms
from ...unit import Unit, split
from ..given import images_of, readable_pool
from ..verb import OptionError, verb
from .options import SubconceptsOptions
from .result import Subconcepts
from .tops import TopsOfPairs, tops_of_pairs

_RANDOM = 400
Which = int | str | Unit | Sequence[int | str | Unit] | None


@verb(SubconceptsOptions)
@torch.no_grad()
def subconcepts(model: Model, images: Any, unit: Which = None, *, options: SubconceptsOptions) -> Subconcepts:
    r"""Σ_i ‖e_i − ē‖² of the unit embeddings e_i of the top images of a neuron in front of an attention pool (its
    inertia: 0 where all are alike), and of each of its pairs with single heads.

    images: a source in any form, or a survey, whose images are read once more (twice where it has no pairs). unit:
    which neurons, such as 624 or "5,100" (of a pair, 624x21, its neuron); all by default. A neuron of a high inertia
    whose pairs have a low one has several meanings, and the pairs tell them apart. Named units are also described by
    the texts nearest to their direction.

    Raises `SummandError` for models without an attention pool, neurons that do not exist, and too few images.
    """
    with_pairs(model.tower)
    chosen, given = neurons_of_pool(unit), images_of(images, options.count)
    if len(given.source) < options.top:
        raise SummandError(
            f"{given.name} holds {len(given.source)} image(s), fewer than top={options.top}; give more images"
        )
    found = tops_of_pairs(model, given.source, chosen, options.top, options.batch_size, None, given.run)
    summary = {
        "chance": found.chance,
        "neurons": float(found.neuron_inertia.median()),
        "pairs": float(found.pair_inertia.median()),
        "narrower": found.narrower(),
    }
    rows, notes = (_all(found), []) if chosen is None else _units(model, found, given.source, options.pool)
    return Subconcepts(
        rows, options, model=model.name, data=given.name, notes=notes, found=found, source=given.source,
        inertia=summary, units=None if chosen is None else [str(neuron) for neuron in chosen],
        images=len(given.source),
    )  # fmt: skip


def neurons_of_pool(given: Any) -> tuple[int, ...] | None:
    """Numbers of neurons in front of an attention pool, as people name them.

    >>> neurons_of_pool("5, 624x21"), neurons_of_pool([3, 4]), neurons_of_pool(None)
    ((5, 624), (3, 4), None)
    """
    if given is None:
        return None
    parts = [given] if isinstance(given, (int, Unit)) else split(given) if isinstance(given, str) else list(given)
    if not parts:
        raise OptionError("unit", "names no neuron; say 624, or leave it out for all of them")
    return tuple(dict.fromkeys(map(_neuron, parts)))


def _neuron(part: Any) -> int:
    if isinstance(part, int) or str(part).isdigit():
        return int(part)
    try:
        return Unit.parse(part, "pairs").index[0]
    except SummandError:
        raise OptionError(
            "unit", f"must be neurons in front of the pool, such as 624 or 5,100 (or pairs, 624x21); got {part!r}"
        ) from None


def _all(found: TopsOfPairs) -> list[dict[str, Any]]:
    """A row a neuron, first those whose pairs are the most alike against them."""
    rows = []
    for place, neuron in enumerate(found.neurons):
        each = found.pair_inertia[place]
        best = int(each.argmin())
        rows.append({
            "unit": str(neuron), "inertia": float(found.neuron_inertia[place]), "pairs": float(each.median()),
            "best": f"{neuron}x{best}", "best_inertia": float(each[best]),
        })  # fmt: skip
    return sorted(rows, key=lambda row: row["best_inertia"] - row["inertia"])


def _units(
    model: Model, found: TopsOfPairs, source: ImageSource, texts: str | None
) -> tuple[list[dict[str, Any]], list[str]]:
    """A row for each neuron, and behind it one for each of its pairs, the most alike first."""
    chosen, notes = readable_pool(model, texts or model.world.pool)
    atoms = prepare_atoms(model.encode_text(chosen.texts, progress=None)).cpu().double()
    # A direction that has nothing to do with the pool has a nearest text too, this near at most in 19 cases of 20.
    random = random_directions(_RANDOM, atoms.shape[1]).double()
    limit = float((random @ atoms.T).max(dim=1).values.quantile(0.95))
    of_neurons, of_pairs = (each.cpu() for each in found.directions())

    def row(unit: str, inertia: Tensor, images: Tensor, direction: Tensor) -> dict[str, Any]:
        along = atoms @ direction / direction.norm().clamp(min=1e-12)
        best, indices = along.argsort(descending=True, stable=True)[:2].tolist(), images.tolist()
        return {
            "unit": unit, "inertia": float(inertia), "words": [chosen.texts[i] for i in best],
            "cosine": float(along[best[0]]), "fits": bool(along[best[0]] > limit),
            "images": [source.name(i) for i in indices], "indices": indices,
        }  # fmt: skip

    def rows() -> Iterable[dict[str, Any]]:
        for place, neuron in enumerate(found.neurons):
            yield row(str(neuron), found.neuron_inertia[place], found.neuron_images[place], of_neurons[place])
            for head in found.pair_inertia[place].argsort(stable=True).tolist():
                inertia, images = found.pair_inertia[place, head], found.pair_images[place, head]
                yield row(f"{neuron}x{head}", inertia, images, of_pairs[place, head])

    return list(rows()), notes
