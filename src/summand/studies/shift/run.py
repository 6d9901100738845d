"""Which units read differently in two sets of images, in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...errors import SummandError
from ...models import Model
from ...models.load import load
from ...models.world import SHIPPED
from ..given import Given, images_of, layers_of, readable_pool, unread
from ..verb import verb
from ..world import strange_pictures
from .compare import compare
from .options import ShiftOptions, check, is_reference, watched
from .readings import measure
from .reference import Reference, make_reference
from .result import Compared, Shift, shift_of
from .series import column_of, compare_by


@verb(ShiftOptions)
def shift(reference: Any, current: Any = None, model: Model | None = None, *, options: ShiftOptions) -> Shift:
    r"""D_u = sup_x |F_reference(x) − F_current(x)| of every unit's readings, with its p-value (Kolmogorov–Smirnov,
    Benjamini–Hochberg over the units); units and the representation along texts in one permutation test (max-T); eight
    measures of the pixels; and the maximum mean discrepancy of the whole; alarm where one of the four is at most α/4.

    reference: images in any form, a survey, or a saved reference (.npz, or a `Reference`). current: images; None where
    only `save_reference` is wanted. model: what reads them; by default the survey's own, else scenes-vit.

    Raises `SummandError` for another model than the saved reference's, and for fewer than 8 images.
    """
    saved = opened(reference)
    check(options, reference, current, saved is not None)
    before = None if saved is not None else images_of(reference, options.count)
    after = None if current is None else images_of(current, options.count)
    values = None
    if options.by is not None and after is not None:
        values = column_of(after.source, after.text or after.name, options.by, options.count)
    model = model or usual_model(saved, before, after)
    made, notes = reference_of(model, saved or before, options)
    kept = {} if options.save_reference is None else {"saved": str(options.save_reference)}
    if options.save_reference is not None:
        made.save(options.save_reference)
    group = made.readings.group.name
    if after is None:
        return Shift(
            [], options, compared=None, model=model.name, data=made.label, notes=notes, watched=group,
            images={"reference": len(made.measured)}, **kept,
        )  # fmt: skip
    measured = measure(model, after.source, made.readings, options.batch_size, None)
    tests: dict[str, Any] = {"alpha": options.alpha, "permutations": options.permutations, "seed": options.seed}
    series: list[dict[str, Any]] = []
    small: list[str] = []
    if values is None:
        result = compare(made, measured, **tests)
    else:
        result, series, small = compare_by(made, measured, values, **tests)
    if small:
        notes.append(f"not tested, fewer than 8 images: {', '.join(small)}")
    skipped = (*made.measured.skipped, *measured.skipped)
    sources = [some.source for some in (before, after) if some is not None]
    return shift_of(
        Compared(
            result, made, measured, after.source, before.source if before else None, after.source.label,
            model.random_weights, strange_pictures(model, *sources),
        ),
        options, after.source.name, model=model.name, data=after.name, skipped=skipped, series=series,
        concepts=made.named.compare(model, after.source, options.batch_size, None) if made.named else [],
        notes=[*notes, *unread(skipped)], **kept,
    )  # fmt: skip


def opened(reference: Any) -> Reference | None:
    """A saved reference, read where it is a file; None for images."""
    if isinstance(reference, Reference):
        return reference
    return Reference.load(Path(reference).expanduser()) if is_reference(reference) else None


def inputs(
    reference: Any, current: Any, options: ShiftOptions
) -> tuple[Reference | Given, Given | None, Given | None, str | None]:
    """A reference and images as they are named, opened: the reference, the images, those of the reference where they
    are images (None for a saved one), and the model that a saved one names where it is one that ships."""
    saved, after = opened(reference), None if current is None else images_of(current, options.count)
    if saved is not None:
        return saved, after, None, saved.model if saved.model in SHIPPED else None
    before = images_of(reference, options.count)
    return before, after, before, None


def usual_model(saved: Reference | None, *given: Given | None) -> Model:
    """The model of a saved reference where it is one of the scenes, the survey's own, else scenes-vit."""
    if saved is not None:
        if saved.model not in SHIPPED:
            raise SummandError(f"model=MODEL is missing: the reference was made with {saved.model}")
        return load(saved.model)
    run = next((some.run for some in given if some is not None and some.run is not None), None)
    return load("scenes-vit") if run is None else run.load_model()


def reference_of(model: Model, given: Reference | Given | None, options: ShiftOptions) -> tuple[Reference, list[str]]:
    """The reference as it was saved, or made from its images; and what must be said of it."""
    if isinstance(given, Reference):
        given.check(model)
        return given, []
    assert given is not None
    asked = watched(options.units)
    chosen, notes = readable_pool(model, options.pool or model.world.pool)
    made = make_reference(
        model, given.source, chosen, asked.kind,  # type: ignore[arg-type]
        layers=layers_of(model, options.layers, last=4) if asked.kind == "heads" else None,
        layer=asked.layers[0] if asked.layers else None, named=options.texts, parity=options.protocol,
        batch_size=options.batch_size, progress=None,
    )  # fmt: skip
    return made, notes
