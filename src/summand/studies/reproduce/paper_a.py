"""Paper A, what second-order effects are worth: Figures 3 and 9 to 12."""

from __future__ import annotations

from ...data.labelled import Labelled, open_labelled
from ...models import Model
from ..ablation.accuracy import Family
from ..ablation.direct import AttentionUpTo
from ..ablation.neurons import SecondOrder
from . import sets
from .job import Job, Runs, joined
from .layers import Spread, in_batches, spread_of
from .row import B32, L14, NOTHING, Claim, Curve, Found, Row

_KINDS = {
    "all mean-ablated": "without all",
    "significant mean-ablated": "without the significant 2 %",
    "insignificant mean-ablated": "without all others",
    "rank-one reconstruction": "by one component each",
}
NORMS = "effects are not divided by ‖M(x)‖, and constants are each neuron's own, not shares of what all have in common"
PLOTTED = "the paper plots these numbers and prints none"
_SHIFTED = "shift=size/small/0.5,shift=texture/striped/0.5"  # scenes unlike those of the means, for ImageNet-R


def all_neurons(model: Model) -> str:
    """The neurons of every layer with attention behind it."""
    return f"neurons:0-{model.tower.layers - 2}"


def studied_layer(job: Job) -> int:
    """Layer 9 of 12, the third last, as far from the end in other models."""
    return job.model().tower.layers - 3


def _layers(
    job: Job, every: int = 1, layers: range | None = None, tasks: list[Labelled] | None = None
) -> tuple[Runs, dict[int, Spread]]:
    """Second-order effects of each layer ablated, and attention up to each layer; and what is known of each layer's
    neurons. As many layers in the same passes as their statistics leave room for."""

    def make() -> tuple[Runs, dict[int, Spread]]:
        model, usual = job.model(), job.usual()
        parts: list[Runs] = []
        spread: dict[int, Spread] = {}
        for some_layers in in_batches(model, list(layers or range(model.tower.layers - 1))):
            units = f"neurons:{some_layers[0]}-{some_layers[-1]}"
            known = job.survey(model, units, usual, share=units == all_neurons(model))
            families: list[Family] = [SecondOrder(layer, len(usual)) for layer in some_layers]
            families += [] if parts else [AttentionUpTo()]
            parts.append(job.runs(model, families, every=every, means=usual, survey=known, tasks=tasks))
            spread |= spread_of(job, known, some_layers)
        return joined(parts), spread

    return job.once(("layers", job.weights[0], every, layers, tasks is None), make)


def by_layer(job: Job) -> Found:
    """Figure 3: second-order effects of all neurons of a layer at their means; only of the images where a neuron's is
    significant; only of the others; and all of them by their first principal component."""
    return _found(*_layers(job))


def by_layer_of_tenth(job: Job) -> Found:
    """Figure 9: the same of a larger model, on every 10th validation image."""
    return _found(*_layers(job, every=10))


def elsewhere(job: Job) -> Found:
    """Figure 10: the same on ImageNet-R, layers 8 to 10; means and directions stay those of ImageNet."""
    last = job.model().tower.layers - 1
    if job.scenes:
        shifted = sets.scenes(job.count(), 1831, _SHIFTED)
        tasks = [open_labelled(shifted, attribute) for attribute in sets.ATTRIBUTES]
    else:
        whole = sets.imagenet_r(job.path("imagenet-r"), job.path("imagenet-val"), job.options.classes)
        tasks = [sets.at_most(sets.strided(whole, 10), job.options.count)]
    return _found(*_layers(job, layers=range(max(0, last - 3), last), tasks=tasks))


def _found(runs: Runs, spread: dict[int, Spread]) -> Found:
    found = Found(numbers={"as it is": runs.base})
    lines = {}
    for series, name in _KINDS.items():
        x, y = runs.line(series)
        lines[series] = dict(zip(x, y, strict=True))
        found.curves.append(Curve("second-order effects of layer l", name, x, y))
        found.numbers |= {f"layer {layer:.0f} {name}": value for layer, value in lines[series].items()}
    found.curves.append(Curve("second-order effects of layer l", "as it is", (), (runs.base,)))
    drops = {name: {layer: runs.base - y for layer, y in line.items()} for name, line in lines.items()}
    whole, significant, others, rebuilt = (drops[series] for series in _KINDS)
    layers = sorted(whole)
    at = max(whole, key=lambda layer: whole[layer])
    here = spread[int(at)]
    selective = (
        f"the neurons are not selective here: in layer {at:.0f} the significant 2 % of the images hold "
        f"{here.significant:.0f} % of the effects' variance"
    )
    for layer, one in spread.items():
        found.numbers[f"layer {layer} variance in its significant 2 %"] = one.significant
        found.numbers[f"layer {layer} share of the output"] = one.carried
    found.claims += [
        Claim(
            "effects matter most in late layers",
            at >= layers[len(layers) // 2],
            f"layer {at:.0f} of {layers[0]:.0f} to {layers[-1]:.0f}: {whole[at]:.1f} points",
            f"together the neurons of layer {at:.0f} carry {here.carried:.0f} % of what varies in the output, those of "
            f"layer {layers[-1]:.0f} {spread[int(layers[-1])].carried:.0f} %",
        ),
        Claim(
            "those of the significant 2 % matter more than all others",
            significant[at] > others[at],
            f"layer {at:.0f}: {significant[at]:.1f} and {others[at]:.1f} points of {whole[at]:.1f}",
            selective,
        ),
        Claim(
            "the others do not matter",
            others[at] <= NOTHING * runs.base,
            f"layer {at:.0f}: {others[at]:.1f} points of {whole[at]:.1f}",
            selective,
        ),
        Claim(
            "one component each loses next to nothing",
            rebuilt[at] <= NOTHING * runs.base,
            f"layer {at:.0f}: {rebuilt[at]:.1f} points of {whole[at]:.1f}",
            f"the first component explains {here.first:.0f} % of the largest effects of layer {at:.0f}",
        ),
    ]
    return found


def before_attention(job: Job) -> Found:
    """Figures 11 and 12: neurons with large second-order effects sit just before the attention layers with large
    first-order effects."""
    runs, spread = _layers(job, every=1 if job.scenes or job.row.models[0] == B32 else 10)
    found = Found(numbers={"as it is": runs.base})
    neurons = dict(zip(*runs.line("all mean-ablated"), strict=True))
    x, y = runs.line("attention of layers 0 … l")
    steps = {at: before - after for at, before, after in zip(x, (runs.base, *y[:-1]), y, strict=True)}
    found.curves += [
        Curve(
            "accuracy that a layer costs",
            "its neurons, second order",
            tuple(neurons),
            tuple(runs.base - v for v in neurons.values()),
            measure="points",
        ),
        Curve("accuracy that a layer costs", "its attention, accumulated", x, tuple(steps.values()), measure="points"),
    ]
    neuron = max(neurons, key=lambda layer: runs.base - neurons[layer])
    first = max(steps, key=lambda layer: steps[layer])
    found.numbers |= {
        "layer of the largest second-order effect": neuron,
        "layer of the largest attention effect": first,
    }
    near, just = job.model().tower.layers / 3, max(first - 1, 0)
    found.claims.append(
        Claim(
            "neurons matter most just before the attention that matters most",
            first - near <= neuron < first,
            f"neurons of layer {neuron:.0f} ({runs.base - neurons[neuron]:.1f} points), attention of layer {first:.0f}",
            f"those just before it cost {runs.base - neurons[just]:.1f} points and carry "
            f"{spread[int(just)].carried:.0f} % of what varies in the output, those of layer {neuron:.0f} "
            f"{spread[int(neuron)].carried:.0f} %",
        )
    )
    return found


BOTH = ("imagenet-train", "imagenet-val")
_OTHER = ("scenes-vit-tied",)
_DEVIATES = (NORMS, PLOTTED)
ROWS = (
    Row(
        "A:fig3",
        "second-order effects ablated, by layer",
        by_layer,
        (B32,),
        BOTH,
        passes=3,
        stored="neurons",
        deviates=_DEVIATES,
        published={"layer 9 without all": 29.6},
    ),
    Row(
        "A:fig9",
        "second-order effects ablated, a larger model",
        by_layer_of_tenth,
        (L14,),
        BOTH,
        on_scenes=_OTHER,
        passes=3,
        stored="neurons",
        images=5_000,
        deviates=_DEVIATES,
    ),
    Row(
        "A:fig10",
        "second-order effects ablated, ImageNet-R",
        elsewhere,
        (B32,),
        (*BOTH, "imagenet-r"),
        passes=3,
        stored="neurons",
        images=3_000,
        deviates=_DEVIATES,
    ),
    Row(
        "A:fig11",
        "neurons and the attention behind them",
        before_attention,
        (B32,),
        BOTH,
        passes=3,
        stored="neurons",
        deviates=_DEVIATES,
    ),
    Row(
        "A:fig12",
        "neurons and the attention behind them, a larger model",
        before_attention,
        (L14,),
        BOTH,
        on_scenes=_OTHER,
        passes=3,
        stored="neurons",
        images=5_000,
        deviates=_DEVIATES,
    ),
)
