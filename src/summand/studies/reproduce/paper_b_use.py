"""Paper B, what pairs are good for: sub-concepts, polysemanticity, segmentation of Context-59."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..subconcepts.result import Subconcepts
from ..subconcepts.run import subconcepts
from ..subconcepts.tops import TopsOfPairs
from . import sets
from .job import Job
from .maps import best_of, scored, segmented
from .row import RN50X16, Claim, Curve, Found, Row

_NEURON, _HEAD = 624, 21
_COMMON = ("none", "small", "large", "solid")  # values that too many scenes have to say anything
_MOST, _FEW = 8, 5  # of ten images: they show it, and hardly show it
_BINS = 20
_LOW = 0.7  # of the inertia of random images
_ROLLS = (1, 7, 101)  # how far pairs are moved to other neurons, as a control


def _tops(job: Job, unit: int | None) -> Subconcepts:
    return job.once(
        ("tops", job.weights[0], unit),
        lambda: subconcepts(job.model(), job.usual_of_pool(), unit, batch_size=job.options.batch_size),
    )


def sub_concepts(job: Job) -> Found:
    """A neuron's top images show one thing; those of one of its pairs show this and one thing more."""
    found = Found()
    if not job.scenes:
        made = _tops(job, _NEURON)
        rows = made.rows.set_index("unit")
        for name in (str(_NEURON), f"{_NEURON}x{_HEAD}"):
            found.words.append((name, " · ".join(rows.loc[name, "words"])))
            found.numbers[f"inertia of {name}"] = float(rows.loc[name, "inertia"])
        narrow = found.numbers[f"inertia of {_NEURON}x{_HEAD}"] < found.numbers[f"inertia of {_NEURON}"]
        found.claims.append(
            Claim(
                "the pair is about something narrower than its neuron",
                narrow,
                " and ".join(f"{value:.2f}" for value in found.numbers.values()),
            )
        )
        return found
    made = _tops(job, None)
    table = job.usual_of_pool().attributes()
    assert table is not None
    tops = made.found
    examples, of_one = _sub_concepts(table, tops.neurons, tops.neuron_images.numpy(), tops.pair_images.numpy())
    strange = [
        len(
            _sub_concepts(
                table, tops.neurons, tops.neuron_images.numpy(), np.roll(tops.pair_images.numpy(), by, axis=0)
            )[0]
        )
        for by in _ROLLS
    ]
    by_chance = float(np.mean(strange))
    found.numbers |= {
        "neurons of one thing": float(of_one),
        "pairs of a narrower one": float(len(examples)),
        "the same with pairs of other neurons": by_chance,
    }
    found.words += [(unit, f"{_said(own)}, narrower: {_said(more)}") for unit, own, more in examples[:6]]
    found.claims.append(
        Claim(
            "pairs are sub-concepts of their neuron",
            len(examples) > 2 * max(by_chance, 1),
            f"{len(examples)} pairs show what their neuron shows and one thing more; with pairs of other neurons "
            f"{by_chance:.1f}",
            f"{of_one} of {len(tops.neurons)} neurons are of one thing that can be named",
        )
    )
    return found


Named = dict[str, str]


def _sub_concepts(
    table: pd.DataFrame, numbers: tuple[int, ...], neurons: np.ndarray, pairs: np.ndarray
) -> tuple[list[tuple[str, Named, Named]], int]:
    """Pairs whose top images share a value with those of their neuron and another one that these do not; and how many
    neurons' top images share one."""
    examples, of_one = [], 0
    for place, number in enumerate(numbers):
        own, hinted = _shown(table, neurons[place], _MOST), _shown(table, neurons[place], _FEW + 1)
        of_one += bool(own)
        for head in range(pairs.shape[1]) if own else ():
            both = _shown(table, pairs[place, head], _MOST)
            more = {name: value for name, value in both.items() if name not in hinted}
            if more and any(both.get(name) == value for name, value in own.items()):
                examples.append((f"{number}x{head}", own, more))
    return examples, of_one


def _shown(table: pd.DataFrame, images: np.ndarray, least: int) -> dict[str, str]:
    """Attribute → the value that at least so many of the images share, unless most images of all do."""
    found = {}
    for name in sets.ATTRIBUTES:
        values, counts = np.unique(table[name].to_numpy()[images].astype(str), return_counts=True)
        value = str(values[counts.argmax()])
        if counts.max() >= least and value not in _COMMON:
            found[name] = value
    return found


def _said(values: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def polysemanticity(job: Job) -> Found:
    """Inertia Σ‖e − ē‖² of the embeddings of the ten top images: low where a unit is about one thing."""
    made = _tops(job, None).found
    low = _LOW * made.chance
    neurons, pairs = (100 * share for share in made.low(low))
    found = Found(
        numbers={
            "neurons of low inertia": neurons,
            "pairs of low inertia": pairs,
            "median inertia of neurons": float(made.neuron_inertia.median()),
            "median inertia of pairs": float(made.pair_inertia.median()),
            "inertia of random images": made.chance,
        }
    )
    edges = np.linspace(0, 1.2 * made.chance, _BINS + 1)
    for name, each in (("neurons", made.neuron_inertia), ("pairs", made.pair_inertia)):
        counts, _ = np.histogram(each.numpy(), edges)
        middle = tuple(float(edge) for edge in (edges[:-1] + edges[1:]) / 2)
        share = tuple(100 * float(count) / each.numel() for count in counts)
        found.curves.append(Curve("inertia of the top images", name, middle, share, "inertia", "% of the units"))
    found.claims.append(
        Claim(
            "a larger share of pairs than of neurons is about one thing",
            pairs > neurons,
            f"{pairs:.1f} against {neurons:.1f} % under {_LOW:g} of what random images have",
            _truly(job, made) if job.scenes else "",
        )
    )
    return found


def _truly(job: Job, tops: TopsOfPairs) -> str:
    """How many units are of one thing by the truth about their images, which inertia stands for."""
    table = job.usual_of_pool().attributes()
    assert table is not None
    every = (tops.neuron_images.numpy(), tops.pair_images.flatten(0, 1).numpy())
    neurons, pairs = (100 * np.mean([bool(_shown(table, images, _MOST)) for images in each]) for each in every)
    return (
        f"scenes that share one thing differ in seven others, so inertia hardly sees it: by the truth about them "
        f"{pairs:.0f} % of the pairs and {neurons:.0f} % of the neurons are of one thing"
    )


_METHODS = {
    "maskclip": "MaskCLIP",
    "pairs-neuron": "neuron map alone",
    "pairs-similarity": "head similarity alone",
    "pairs": "product of both",
}


def context(job: Job) -> Found:
    """mIoU on PASCAL Context-59: neuron map times head similarity over 20,000 pairs, each factor alone, MaskCLIP."""
    found = scored(segmented(job, "context59", _METHODS, fit="windows"), _METHODS, {"mIoU": "mIoU"})
    own = _METHODS["pairs"]
    for other in _METHODS.values():
        if other != own:
            found.claims += best_of(found, own, [other], ["mIoU"])
    return found


_RN, _VAL = ("scenes-rn",), ("imagenet-val",)
ROWS = (
    Row(
        "B:subconcepts",
        "a neuron and its pairs: 624 and 624x21",
        sub_concepts,
        (RN50X16,),
        _VAL,
        on_scenes=_RN,
        images=1_000,
        deviates=("1,000 validation images in the place of all 50,000",),
    ),
    Row(
        "B:polysemanticity",
        "inertia of top images",
        polysemanticity,
        (RN50X16,),
        _VAL,
        on_scenes=_RN,
        images=1_000,
        deviates=("the paper plots these numbers and prints none",),
    ),
    Row(
        "B:context59",
        "segmentation of PASCAL Context-59",
        context,
        (RN50X16,),
        ("context59",),
        on_scenes=_RN,
        passes=40,
        images=5_105,
        published={
            "MaskCLIP, mIoU": 22.8,
            "neuron map alone, mIoU": 16.5,
            "head similarity alone, mIoU": 24.7,
            "product of both, mIoU": 26.2,
        },
    ),
)
