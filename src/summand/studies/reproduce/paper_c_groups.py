"""Paper C, the repair of a shortcut: Table 2 and Tables 10 to 13, Waterbirds and its like on scenes."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from ...data import ImageSource
from ...data.labelled import Labelled, open_labelled
from ...errors import SummandError
from ...text.properties import property_of
from ..debias.groups import GroupAccuracy
from ..debias.result import Debiased
from ..debias.run import debias
from ..zeroshot import read_labelled
from .job import Job
from .paper_c_heads import head_texts
from .row import LAION, Claim, Found, Row, Weights
from .sets import scenes

_PLACES = ("place", "landscapes", "outdoor_places", "indoor_places", "regions", "countries", "cities", "landmarks")
"""Lists of the pool `general` in the place of the paper's roles, geolocation and image location."""
_TIED = "tie=shape/place/0.95"
_TEST, _LEARN = 1811, 1812
_PAPER = {
    "worst group, as it is": (45.6, 47.7, 37.2),
    "worst group, best of random": (52.3, 57.7, 37.0),
    "worst group, heads ablated": (57.5, 72.9, 43.3),
    "all images, as it is": (76.7, 73.1, 77.0),
    "all images, heads ablated": (83.8, 84.2, 84.1),
}
_GROUPS = {
    "ViT-L-14": {
        "waterbird on water": (93.1, 92.1),
        "waterbird on land": (66.2, 77.8),
        "landbird on water": (47.7, 72.9),
        "landbird on land": (94.8, 94.9),
    },
    "ViT-H-14": {
        "waterbird on water": (69.8, 62.3),
        "waterbird on land": (37.2, 43.3),
        "landbird on water": (71.0, 87.9),
        "landbird on land": (96.4, 98.0),
    },
    "ViT-B-16": {
        "waterbird on water": (86.1, 80.5),
        "waterbird on land": (63.5, 81.6),
        "landbird on water": (45.6, 57.5),
        "landbird on land": (96.1, 94.3),
    },
}


def repaired(job: Job, weights: Weights) -> Debiased:
    """Heads whose labels name a place ablated, with MLPs and early layers, beside 10 random heads, the best of 5."""
    return job.once(("repaired", weights), lambda: _of_scenes(job, weights) if job.scenes else _birds(job, weights))


def _birds(job: Job, weights: Weights) -> Debiased:
    table = str(job.path("waterbirds") / "metadata.csv")
    data = read_labelled(table, "landbird,waterbird", groups="place", count=job.options.count)
    units = job.options.heads or ",".join(place_heads(job, weights, data.source))
    model, templates = job.model(weights), job.options.templates
    return debias(model, data, protocol="paper", units=units, templates=templates, batch_size=job.options.batch_size)


def place_heads(job: Job, weights: Weights, source: ImageSource) -> list[str]:
    """Heads of the last layers most of whose first five texts name a place. Raises `SummandError` where none is one."""
    pool, texts = head_texts(job, weights, source)
    found = [head for head, some in texts.items() if 2 * sum(property_of(t, pool) in _PLACES for t in some) > len(some)]
    if not found:
        raise SummandError(f"the texts of no head of {weights.name} name a place; name heads as --heads 21.11,22.2")
    return found


def _of_scenes(job: Job, weights: Weights) -> Debiased:
    """Shapes, whose place says most of them in the world that the tied model was trained in."""
    tied = open_labelled(f"{scenes(job.count(600), _LEARN)},{_TIED}", "shape", groups="place")
    data = by_usual_place(open_labelled(scenes(job.count(1600), _TEST), "shape", groups="place"))
    data = replace(data, shares=by_usual_place(tied).frequencies())
    named = {"units": job.options.heads} if job.options.heads else {"attribute": "place"}
    return debias(job.model(weights), data, None, tied.source, protocol="paper", allow_empty=True, **named)


def by_usual_place(data: Labelled) -> Labelled:
    """Two groups a shape: at the place that the tied world gives it, and elsewhere."""
    assert data.groups is not None
    elsewhere = (data.labels % len(data.values) != data.groups).astype(np.int64)
    return replace(data, values=("usual place", "elsewhere"), groups=elsewhere)


def worst(job: Job) -> Found:
    """Table 2: the worst group as it is, with 10 random heads ablated (the best of 5 draws), and with the heads."""
    found = Found()
    for (name, _), weights in zip(job.models(), job.weights, strict=True):
        made = repaired(job, weights)
        before, after, random = 100 * made.before.worst, 100 * made.after.worst, made.best_random
        by_chance = float("nan") if random is None else 100 * random.worst
        found.numbers |= {
            f"{name}worst group, as it is": before,
            f"{name}worst group, best of random": by_chance,
            f"{name}worst group, heads ablated": after,
        }
        found.words.append((weights.name, f"ablated: {', '.join(row['unit'] for row in made.removed)}"))
        found.claims += [
            Claim(
                "the worst group gains by it",
                after > before,
                f"{weights.name}: {before:.1f} to {after:.1f} %",
                _why(made),
            ),
            Claim(
                "and more than by random heads", after > by_chance, f"{after:.1f} against {by_chance:.1f} %", _why(made)
            ),
        ]
    return found


def _why(made: Debiased) -> str:
    """Whether the other ways of `debias` do better, which tells a bad choice of heads from a shortcut elsewhere."""
    return f"the {len(made.removed)} heads whose texts name a place are not all that carry it" if made.removed else ""


def overall(job: Job) -> Found:
    """Table 10: accuracy over all images."""
    found = Found()
    for (name, _), weights in zip(job.models(), job.weights, strict=True):
        made = repaired(job, weights)
        before, after = 100 * made.before.mean, 100 * made.after.mean
        found.numbers |= {f"{name}all images, as it is": before, f"{name}all images, heads ablated": after}
        found.claims.append(
            Claim(
                "accuracy over all images rises too",
                after > before,
                f"{weights.name}: {before:.1f} to {after:.1f} %",
                "accuracy falls where the class is read by the heads, the MLPs or the early layers that go with them",
            )
        )
    return found


def groups(job: Job, *, model: str) -> Found:
    """Tables 11 to 13: every group of one model, ablated (as it is)."""
    made = repaired(job, job.weights[0])
    found = Found()
    for (what, before), (_, after) in zip(_cells(made.before), _cells(made.after), strict=True):
        found.numbers |= {f"{what}, as it is": before, f"{what}, heads ablated": after}
    gap, closed = _gap(made.before), _gap(made.after)
    found.claims.append(
        Claim(
            "the gap between groups closes", closed < gap, f"usual place ahead by {gap:.1f}, then {closed:.1f} points"
        )
    )
    return found


def _cells(table: GroupAccuracy) -> list[tuple[str, float]]:
    """Each group of Waterbirds; of scenes, of the two kinds of groups the mean over the shapes."""
    if len(table.classes) > 2:
        means = 100 * np.nanmean(table.accuracy, axis=0)
        return [
            (f"shapes {value if value == 'elsewhere' else 'at their ' + value}", float(mean))
            for value, mean in zip(table.values, means, strict=True)
        ]
    places = {"0": "land", "1": "water"}
    return [
        (f"{name} on {places.get(value, value)}", 100 * float(table.accuracy[row, column]))
        for row, name in enumerate(table.classes)
        for column, value in enumerate(table.values)
    ]


def _gap(table: GroupAccuracy) -> float:
    """Mean accuracy where the place is the class's usual one, less that of the others."""
    if len(table.classes) > 2:
        usual, elsewhere = np.nanmean(table.accuracy, axis=0)
    else:
        usual, elsewhere = np.trace(table.accuracy) / 2, np.trace(table.accuracy[:, ::-1]) / 2
    return float(100 * (usual - elsewhere))


_BIRDS = ("waterbirds",)
_CHOICE = (
    "heads are those whose texts name a place (landscapes, outdoor places, …); the paper's were chosen by hand "
    "(--heads names them)",
)


def _published(*keys: str) -> dict[str, float]:
    return {f"{w.name} {key}": _PAPER[key][i] for i, w in enumerate(LAION) for key in keys}


_TIED_MODEL = ("scenes-vit-tied",)
ROWS = (
    Row(
        "C:table2",
        "worst group of Waterbirds",
        worst,
        LAION,
        _BIRDS,
        on_scenes=_TIED_MODEL,
        images=5_794,
        deviates=_CHOICE,
        published=_published(*(key for key in _PAPER if key.startswith("worst"))),
    ),
    Row(
        "C:table10",
        "accuracy on Waterbirds",
        overall,
        LAION,
        _BIRDS,
        on_scenes=_TIED_MODEL,
        images=5_794,
        deviates=_CHOICE,
        published=_published(*(key for key in _PAPER if key.startswith("all"))),
    ),
    *(
        Row(
            f"C:table{number}",
            f"groups of Waterbirds, {weights.name}",
            partial(groups, model=weights.name),
            (weights,),
            _BIRDS,
            on_scenes=_TIED_MODEL,
            images=5_794,
            deviates=_CHOICE,
            published={
                f"{group}, {when}": value
                for group, pair in _GROUPS[weights.name].items()
                for when, value in zip(("as it is", "heads ablated"), pair, strict=True)
            },
        )
        for number, weights in ((11, LAION[1]), (12, LAION[2]), (13, LAION[0]))
    ),
)
