"""Repair of a shortcut: what carries a spurious attribute is found, held at its mean, and every group looked at."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from torch import Tensor

from ...models import Model
from ...models.readable import readable
from ...survey import Group
from ...survey.unit_words import heads_in_words
from ...text.pools import pool
from ..ablation.options import read_layers
from ..verb import verb
from ..zeroshot import attribute_classes, classifier, classifier_of
from . import suspects
from .choice import Choice, choose_way, every_other
from .control import check_layers
from .inputs import Inputs, opened
from .options import DebiasOptions, read_texts, read_units
from .repair import repair
from .result import Debiased
from .spurious import NoUnits, Suspect, in_words, span

_DONE = {"measured": "was moved towards its mean", "units-axis": "lost what it writes along the attribute"}


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
) -> Debiased:
    r"""M'(x) = M(x) − Σ_{u ∈ S} (φ_u(x) − φ̄_u), S the heads or neurons that carry a spurious attribute, or only what
    these, all terms, or M itself hold along the attribute's texts; accuracy of every group, (class, value of the
    attribute), before and after, beside as many random units.

    data: images with classes and groups: a folder or a table (`groups` says where the groups stand), `scenes[:…]`,
    (images, labels, groups) as lists, or opened already. train: training images, labelled like `data`: the mix that
    weights the groups, and, without their labels, what S is chosen on and φ̄ taken over; of a table with a column split
    its rows of split train. reference: other images for these two, in any form, or a survey of them, whose statistics
    are not learnt again; what a way leaks is then taken over the images that it kept aside.

    S is named (`units`); or found from unlabelled images and texts alone: units whose variance lies along the
    attribute's texts rather than the classes' (`attribute` of two texts or more), or whose labels name it (of one: the
    attribute or proven words in a survey that has labels; else, and with a pool of its own, texts that span a head).
    Which way is taken is chosen on unlabelled images as well (`choose_way`), and none where the attribute does not
    reach the answer: then nothing is changed. Groups are only for the report.

    Raises `SummandError` for images without groups, and for units that the model does not have.
    Source: paper C, section 5.1; of neurons paper A, Eq. 5.
    """
    given = opened(data, train, reference, options, count)
    if given.survey is not None:
        given.survey.check_model(model)
    weights = classifier_of(model, given.labelled, options.templates)
    layers = read_layers(options.layers)
    layers = None if layers is None else check_layers(model, layers)
    reading = {"batch_size": batch_size, "progress": None}
    found, choice, axes = _found(model, given, weights, layers, options, **reading)
    way = options.way or (choice.way if choice else "units")
    what = given.attribute if given.attribute and options.attribute is None else "the attribute"
    strength = choice.strength if choice else 1.0
    touched = found if way in ("units", "measured", "units-axis") else []
    why = [in_words(suspect, what, "the classes", _DONE.get(str(way), "was removed")) for suspect in touched]
    made = repair(
        model,
        given.labelled,
        weights,
        [suspect.unit for suspect in found],
        neurons=read_units(options.units).kind == "neuron",
        axes=axes,
        way=way,
        strength=strength,
        layers=layers,
        draws=options.draws,
        control=options.control,
        seed=options.seed,
        means=given.reference,
        survey=given.survey,
        why=why or [f"what is written along {what}"],
        parity=options.protocol,
        **reading,
    )
    label = data if isinstance(data, str) else given.labelled.source.label
    return Debiased.of(made, touched, why, options, model, label, choice, strength)


def _found(
    model: Model,
    given: Inputs,
    weights: Float[Tensor, "class embed"],
    layers: list[int] | None,
    options: DebiasOptions,
    **reading: Any,
) -> tuple[list[Suspect], Choice | None, Float[Tensor, "axis embed"] | None]:
    """What carries the attribute, found on every other unlabelled image; and, where the attribute is given by its
    values, how it is best removed, by the other half, and its axes."""
    wanted, texts = read_units(options.units), read_texts(options.attribute)
    if wanted.named or len(texts) == 1:
        return _suspects(model, given, weights, layers, options, **reading), None, None
    directions = _directions(model, given, texts)
    source = given.labelled.source if given.reference is None else given.reference
    half, known = given, given.survey
    group = Group("heads") if wanted.layer is None else Group("neurons", wanted.layer)
    if not options.protocol and (known is None or not known.holds(group) or not len(known.held_out_images)):
        half, known = Inputs(given.labelled, every_other(source), given.attribute), None
    try:
        found = _suspects(model, half, weights, layers, options, **reading)
    except NoUnits:
        if options.protocol or options.way in ("units", "measured", "units-axis"):
            raise
        found = []
    if options.protocol:
        return found, None, None
    units, axes = [suspect.unit for suspect in found], span(directions, "attribute").to(weights)
    neurons = wanted.kind == "neuron"
    choice = choose_way(model, source, units, axes, directions, weights, neurons=neurons, survey=known, **reading)
    return found, choice, axes


def _directions(model: Model, given: Inputs, texts: list[str]) -> Float[Tensor, "value embed"]:
    """Of the attribute's values."""
    if texts:
        return model.encode_text(texts)
    assert given.attribute is not None
    return classifier(model, attribute_classes(model.world, given.attribute))


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
    reading = {"survey": given.survey, **reading}
    described_by = readable(pool(options.pool or model.world.pool), model._tokenizer)[0]
    if len(texts) == 1:
        called = heads_in_words(given.survey) if options.pool is None else None  # else labels of another pool
        return suspects.labelled_heads(model, source, texts[0], described_by, layers=layers, called=called, **reading)
    directions = _directions(model, given, texts)
    if wanted.layer is not None:
        found = suspects.found_neurons
        return found(model, source, directions, weights, wanted.layer, cover=options.cover, **reading)
    more = {"cover": options.cover, "layers": layers, **reading}
    return suspects.found_heads(model, source, directions, weights, described_by, **more)
