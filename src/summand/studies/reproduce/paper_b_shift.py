"""Paper B, concepts of single pictures by the contributions of pairs: Stanford Cars."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...data.sources import ImageSource, open_source
from ..given import readable_pool
from ..shift.scores import named_concepts
from . import sets
from .job import Job
from .row import RN50X16, Claim, Curve, Found, Row

_CONCEPTS = {"yellow": "yellow", "convertible": "convertible"}
_OF_SCENES = {"place": "the sea", "colour": "a yellow object", "letter": "the letter A", "shape": "a star"}
_VALUES = {"place": "sea", "colour": "yellow", "letter": "A", "shape": "star"}
_SEED = 1851


def cars(job: Job) -> Found:
    """Point-biserial correlation of ‖Σ of a concept's five pairs‖ / ‖Σ of all‖ with the truth about the picture."""
    model = job.model()
    source, texts, truths, when = _cars_of(job)
    pool = readable_pool(model, model.world.pool)[0]
    named = named_concepts(model, source, list(texts.values()), pool, job.options.batch_size, None, parity="paper")
    found = Found()
    for column, name in enumerate(texts):
        truth, scores = truths[name], named.scores[:, column]
        found.numbers[name] = float(
            np.corrcoef(truth, scores)[0, 1]
        )  # point-biserial: Pearson's, of a yes and a number
        found.words.append((name, "pairs " + " ".join(named.units.names[column])))
        if when is not None:
            years = sorted(set(when.tolist()))
            mean = tuple(float(scores[when == year].mean()) for year in years)
            found.curves.append(Curve(f"{name} by year", "score", tuple(map(float, years)), mean, "year", "score"))
    lowest = min(found.numbers, key=lambda name: found.numbers[name])
    found.claims.append(
        Claim(
            "scores of pairs follow the concept",
            found.numbers[lowest] >= 0.5,
            ", ".join(f"{name} {value:.2f}" for name, value in found.numbers.items()),
            f"{lowest} is the weakest: the published score is a length, which grows with whatever moves these pairs",
        )
    )
    return found


def _cars_of(job: Job) -> tuple[ImageSource, dict[str, str], dict[str, np.ndarray], Any]:
    """Images; concept → text; concept → truth; the year of each image, or None."""
    if not job.scenes:
        source, truths = sets.cars(job.path("stanford-cars"))
        texts = {name: text for name, text in _CONCEPTS.items() if name in truths}
        return source, texts, truths, truths["year"]
    source = open_source(sets.scenes(job.count(), _SEED))
    table = source.attributes()
    assert table is not None
    truths = {f"{name} {_VALUES[name]}": (table[name].astype(str) == _VALUES[name]).to_numpy() for name in _OF_SCENES}
    return source, {f"{name} {_VALUES[name]}": text for name, text in _OF_SCENES.items()}, truths, None


_RN = ("scenes-rn",)
ROWS = (
    Row(
        "B:cars",
        "concepts of Stanford Cars",
        cars,
        (RN50X16,),
        ("stanford-cars",),
        on_scenes=_RN,
        published={"yellow": 0.85, "convertible": 0.71},
        images=8_144,
        deviates=("colours are of a table of your own (colours.csv): the paper's is not ours to ship",),
    ),
)
