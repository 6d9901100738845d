"""Repair of a shortcut: what carries a spurious attribute is found, held at its mean, and every group looked at."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from torch import Tensor

from ...models import Model
from ...models.readable import readable
from ...text.pools import pool
from ..ablation.options import read_layers
from ..verb import verb
from ..zeroshot import attribute_classes, classifier, classifier_of
from . import suspects
from .inputs import Inputs, opened
from .options import DebiasOptions, read_texts, read_units
from .repair import check_layers, repair
from .result import Debiased
from .spurious import Suspect, in_words


@verb(DebiasOptions)
def debias(
    model: Model,
    data: Any,
    train: Any = None,
    reference: Any = None,
    *,
    options: DebiasOptions,
    batch_size: int = 64,
    count: int | None = None,
    progress: bool | None = None,
) -> Debiased:
    r"""M'(x) = M(x) − Σ_{u ∈ S} (φ_u(x) − φ̄_u), S the heads or neurons that carry a spurious attribute; accuracy of
    every group, (class, value of the attribute), before and after, beside as many random units.

    data: images with classes and groups: a folder or a table (`groups` says where the groups stand), `scenes[:…]`,
    (images, labels, groups) as lists, or opened already. train: training images, labelled like `data`: the mix that
    weights the groups, and, without their labels, what S is chosen on and φ̄ taken over; of a table with a column split
    its rows of split train. reference: other images for these two, in any form.

    S is named (`units`); or found from unlabelled images and texts alone: units whose variance lies along the
    attribute's texts rather than the classes' (`attribute` of two texts or more), or whose labels name it (of one).

    Raises `SummandError` for images without groups, and for units that the model does not have.
    Source: paper C, section 5.1; of neurons paper A, Eq. 5.
    """
    given = opened(data, train, reference, options, count)
    weights = classifier_of(model, given.labelled, options.templates)
    layers = read_layers(options.layers)
    layers = None if layers is None else check_layers(model, layers)
    reading = {"batch_size": batch_size, "progress": progress}
    found = _suspects(model, given, weights, layers, options, **reading)
    what = given.attribute if given.attribute and options.attribute is None else "the attribute"
    why = [in_words(suspect, what, "the classes") for suspect in found]
    made = repair(
        model,
        given.labelled,
        weights,
        [suspect.unit for suspect in found],
        neurons=found[0].kind == "neuron",
        layers=layers,
        draws=options.draws,
        control=options.control,
        seed=options.seed,
        means=given.reference,
        why=why,
        parity=options.protocol,
        **reading,
    )
    label = data if isinstance(data, str) else given.labelled.source.label
    return Debiased.of(made, found, why, options, model, data=label)


def _suspects(
    model: Model,
    given: Inputs,
    weights: Float[Tensor, "class embed"],
    layers: list[int] | None,
    options: DebiasOptions,
    **reading: Any,
) -> list[Suspect]:
    """What is to be removed, and why."""
    wanted, texts = read_units(options.units), read_texts(options.attribute)
    source = given.labelled.source if given.reference is None else given.reference
    if wanted.named:
        return suspects.named(wanted.named, wanted.kind)
    described_by = readable(pool(options.pool or model.world.pool), model._tokenizer)[0]
    if len(texts) == 1:
        return suspects.labelled_heads(model, source, texts[0], described_by, layers=layers, **reading)
    if texts:
        directions = model.encode_text(texts)
    else:
        assert given.attribute is not None
        directions = classifier(model, attribute_classes(model.world, given.attribute))
    if wanted.layer is not None:
        found = suspects.found_neurons
        return found(model, source, directions, weights, wanted.layer, cover=options.cover, **reading)
    more = {"cover": options.cover, "layers": layers, **reading}
    return suspects.found_heads(model, source, directions, weights, described_by, **more)
