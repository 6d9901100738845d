"""What terms of the sum are worth to zero-shot classification: each replaced by its mean."""

from __future__ import annotations

from typing import Any

from ...data import ImageSource
from ...data.labelled import Labelled
from ...data.labelled_lists import as_source
from ...models import Model
from ...survey import Survey
from ..given import images_of, is_survey
from ..verb import verb
from ..zeroshot import classifier_of, read_labelled
from .accuracy import measure
from .kinds import families, with_components
from .options import AblateOptions, numbers, read_kinds, read_layers, read_sets
from .result import Ablations
from .variance import explained


def opened(
    data: Any, reference: Any, options: AblateOptions, count: int | None
) -> tuple[Labelled, ImageSource | None, Survey | None]:
    """The labelled images, those that means are taken over, and a survey of these, before a model is asked for
    anything."""
    labelled = read_labelled(data, options.classes, label_column=options.label_column, count=count)
    if not is_survey(reference):
        return labelled, None if reference is None else as_source(reference, count), None
    given = images_of(reference)
    return labelled, given.source, given.run


@verb(AblateOptions)
def ablate(
    model: Model,
    data: Any,
    reference: Any = None,
    *,
    options: AblateOptions,
    batch_size: int = 64,
    count: int | None = None,
) -> Ablations:
    r"""Accuracy of argmax_c ⟨M(x) − Σ_{u ∈ S} (φ_u(x) − φ̄_u), t_c⟩ for one set S of terms after the other.

    data: labelled images: a folder with a sub-folder a class, a table, `scenes[:…]`; (images, labels) as lists; or
    opened already. reference: images that the means φ̄ and all statistics are taken over, in any form, or a survey of
    them, whose heads and neurons are not learnt again; by default those of `data`. t_c: the mean of the class's texts.
    The direct effects φ of heads and MLPs are those of `decompose`, the others of `second_order`, `indirect` and
    `pairs`.

    Raises `SummandError` for terms and units that the model does not have, and labels that do not fit the classes.
    Sources: paper C, section 3; paper A, section 4; paper B.
    """
    kinds, sets, layers = read_kinds(options.what), read_sets(options.units), read_layers(options.layers)
    if kinds is None and sets:
        kinds = []
    labelled, means, known = opened(data, reference, options, count)
    if known is not None:
        known.check_model(model)
    chosen = families(
        model,
        kinds,
        images=len(means or labelled),
        sets=sets,
        layers=layers,
        pools=options.pool,
        sizes=numbers("size", options.size, above=0),
        keep=numbers("keep", options.keep, float, above=0, most=100),
        components=numbers("components", options.components, above=0),
        progress=None,
    )
    measured = [] if options.variance is None else with_components(model, kinds, layers)
    weights = classifier_of(model, labelled, options.templates)
    reading = {"batch_size": batch_size, "progress": None}
    made = measure(model, labelled, weights, chosen, means=means, survey=known, **reading)
    source = means or labelled.source
    shares = [explained(model, source, *asked, options.variance, survey=known, **reading) for asked in measured]
    return Ablations.of(made, options, labelled.source, labelled.classes, shares, model=model.name)
