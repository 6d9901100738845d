"""Maps of class names against masks: every method, under one stated protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ...data.masks import MaskSource, open_masks, own_masks
from ...errors import SummandError
from ...maps.methods import MapMethod, choose, default_methods, needs_reference, prepare
from ...maps.references import learnt_from
from ...models import Model
from ...progress import Progress
from ...unit import parse_layers, split
from ..perturbation.options import PerturbationOptions
from ..verb import OptionError, verb
from .options import SegmentOptions
from .protocol import Protocol
from .result import Segmentation
from .scoring import score

Own = tuple[Any, Any, Any]
"""Images, masks and classes, as `own_masks` reads them."""
_NEURON_MAPS = ("neurons", "neurons-both")


@verb(SegmentOptions)
def segment(model: Model, data: str | MaskSource | Own, *, options: SegmentOptions) -> Segmentation:
    r"""figure(x) = {pixel: m_t(pixel) > threshold}, m_t the map of a class's text t, scaled to 0 … 1 per picture;
    scored by pixel accuracy, IoU over the whole data set and average precision per picture.

    data: a source (`scenes[:…]`, a data set as it is distributed, a folder with images/, masks/ and classes.txt), an
    opened one, or own (images, masks, classes), as `own_masks` reads them. Of semantic masks all classes are drawn at
    once and a pixel is of the class whose map is largest there.

    Raises `SummandError` before any work for methods, options and data that do not fit each other.
    """
    source = opened(data, options)
    protocol = stated(options, source)
    given = split(options.methods) if options.methods is not None else default_methods(model, protocol.paper)
    names, refused = choose(model, given)
    ready, notes = _ready(model, source, names, protocol.paper, options)
    perturbed = PerturbationOptions(options.steps, options.fill, options.answer) if options.perturbation else None
    found = score(
        model, source, ready, protocol,
        batch_size=options.batch_size, examples=options.examples, perturbation=perturbed, progress=None,
    )  # fmt: skip
    if found.skipped:
        named = "; ".join(f"{item.name}: {item.reason}" for item in found.skipped[:5])
        notes.append(f"{len(found.skipped)} pictures were skipped ({named})")
    if model.random_weights:
        notes.append("the weights are RANDOM: these maps mean nothing")
    treated = {method.name: {"contrast": method.contrast, "shape": method.shape} for method in ready}
    titles = {method.name: method.title for method in ready}
    return Segmentation(found, titles, options, source, model=model.name, notes=notes, treated=treated, refused=refused)


def opened(data: Any, options: SegmentOptions) -> MaskSource:
    """The pictures and masks that are meant, in any form."""
    if isinstance(data, str):
        return open_masks(data, options.count, options.by)
    if isinstance(data, MaskSource):
        source = data
        if options.by is not None and not all(source.classes[i].startswith(f"{options.by} ") for i in source.things):
            raise OptionError("by", f"is of scenes that are opened with it, and {source.label} has other classes")
    else:
        if options.by is not None:
            raise OptionError("by", "is of scenes, and own masks have classes of their own")
        if not isinstance(data, tuple) or len(data) != 3:
            raise SummandError(
                f"expected a source of pictures with masks, or (images, masks, classes); got {type(data).__name__}"
            )
        source = own_masks(*data)
    return source.at_most(options.count)


def stated(options: SegmentOptions, source: MaskSource) -> Protocol:
    """The protocol, with what was asked for otherwise."""
    protocol = Protocol.published() if options.protocol == "paper" else Protocol()
    if options.protocol == "paper" and not source.figures and source.background is None:
        protocol = replace(protocol, asked="true", fit="windows")  # paper B's; A and C have figures
    given = {name: getattr(options, name) for name in ("asked", "fit", "threshold")}
    return replace(protocol, **{name: value for name, value in given.items() if value is not None})


def _ready(
    model: Model, source: MaskSource, names: list[str], paper: bool, options: SegmentOptions
) -> tuple[list[MapMethod], list[str]]:
    """The methods, prepared and treated as was asked, and what must be said of it."""
    notes: list[str] = []
    reference = None
    drawn = _of_neurons(names, options)
    if needs_reference(names, paper):
        reference, own = learnt_from(model, options.reference, source)
        if own:
            notes.append("directions of neurons are learnt from the pictures that are scored; reference=… takes others")
    ready = []
    with Progress("preparing methods", len(names), "methods") as bar:
        for name in names:
            ready.append(prepare(model, name, reference, paper, **drawn))
            bar.update()
    treatment = {"contrast": options.centre, "shape": options.shape}
    given = {name: value for name, value in treatment.items() if value is not None}
    return [replace(method, **given) for method in ready], notes


def _of_neurons(names: Sequence[str], options: SegmentOptions) -> dict[str, Any]:
    """What is said of the neuron maps. Raises `SummandError` where none of the methods is one."""
    given = {name: getattr(options, name) for name in ("neurons_per_text", "layers", "weighting")}
    said = [name for name, value in given.items() if value is not None]
    of = [*_NEURON_MAPS, *["second-order"] * (said == ["layers"])]
    if said and not set(of) & set(names):
        raise OptionError(said[0], f"is of neuron maps: neurons are drawn by {', '.join(of)}; name one in methods=…")
    layers = None if options.layers is None else parse_layers(options.layers)
    found = {"weighting": options.weighting, "layers": layers}
    return found if options.neurons_per_text is None else found | {"count": options.neurons_per_text}
