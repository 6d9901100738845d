"""Paper B, what pairs of neurons and heads are worth: reconstruction, sparsity, sparse codes."""

from __future__ import annotations

from ..ablation.pairs import Pairs
from ..ablation.reconstructions import NAMES, Reconstruction, SparsePairs
from .job import Job
from .row import LITTLE, RN50X16, Claim, Curve, Found, Row

_COMPONENTS = (1, 2, 4)
_KEPT = 20
_SHARES = (5, 10, 20, 50)
_PAIRS, _NEURONS = NAMES["pairs"], NAMES["neurons"]
_SIZE, _SIZES_OF_SCENES = 64, (4, 16, 64)


def reconstruction(job: Job) -> Found:
    """Every pair, or every neuron, by its first 1, 2 or 4 principal components."""
    model = job.model()
    families = [Reconstruction("pairs", (1,)), Reconstruction("neurons", _COMPONENTS)]
    runs = job.runs(model, families, every=10, means=job.usual_of_pool())
    pairs, (x, neurons) = runs.of(_PAIRS, 1), runs.line(_NEURONS)
    found = Found(numbers={"as it is": runs.base, "pairs by 1 component": pairs})
    found.numbers |= {f"neurons by {k:.0f} component{'s' * (k > 1)}": v for k, v in zip(x, neurons, strict=True)}
    found.curves += [
        Curve("by principal components", "neurons", x, neurons, "components"),
        Curve("by principal components", "pairs, by 1", (), (pairs,), "components"),
    ]
    found.claims += [
        Claim(
            "a pair loses nothing by one component",
            abs(pairs - runs.base) <= 0.1,
            f"{pairs:.1f} against {runs.base:.1f} %",
        ),
        Claim(
            "a neuron loses by one, and less with each more",
            neurons[0] < runs.base and list(neurons) == sorted(neurons),
            " / ".join(f"{value:.1f}" for value in neurons) + " % by 1 / 2 / 4",
        ),
    ]
    return found


def sparsity(job: Job) -> Found:
    """The 20 % of pairs, or of neurons, with the largest effects kept, the others at their means."""
    model = job.model()
    families = [Pairs(_SHARES), Pairs(_SHARES, neurons=True)]
    runs = job.runs(model, families, every=10, means=job.usual_of_pool())
    found = Found(numbers={"as it is": runs.base})
    lost = {}
    for name in (_PAIRS, _NEURONS):
        x, y = runs.line(name)
        found.curves.append(Curve("all others at their means", name, x, y, "% kept"))
        lost[name] = runs.base - runs.of(name, _KEPT)
    found.numbers |= {
        f"points lost with {_KEPT} % of pairs": lost[_PAIRS],
        f"points lost with {_KEPT} % of neurons": lost[_NEURONS],
    }
    found.claims += [
        Claim(
            f"{_KEPT} % of the pairs keep nearly all",
            lost[_PAIRS] <= LITTLE * runs.base,
            f"{lost[_PAIRS]:.1f} of {runs.base:.1f} points lost",
            _room(job),
        ),
        Claim(
            "and more than as many of the neurons",
            lost[_PAIRS] < lost[_NEURONS],
            f"{lost[_PAIRS]:.1f} against {lost[_NEURONS]:.1f} points lost",
        ),
    ]
    return found


def _room(job: Job) -> str:
    shape = job.model().tower.pair_directions().shape  # type: ignore[attr-defined]
    width = job.model().tower.embed
    return (
        f"this model has {shape[0] * shape[1]:,} pairs for {width} dimensions, {shape[0] * shape[1] // width} a "
        f"dimension, RN50x16 has 192: a fifth of few leaves little"
    )


def sparse(job: Job) -> Found:
    """Every pair, or every neuron, along the best approximation of its direction by m texts (OMP)."""
    model = job.model()
    pool = job.pool("words-30k", model)
    texts = {pool.name: model.encode_text(pool.texts, progress=None)}
    sizes = _SIZES_OF_SCENES if job.scenes else (_SIZE,)
    families = [
        SparsePairs("pairs", texts, sizes, parity="paper"),
        SparsePairs("neurons", texts, sizes, parity="paper"),
    ]
    runs = job.runs(model, families, every=10, means=job.usual_of_pool())
    found = Found(numbers={"as it is": runs.base})
    lines = {}
    for name in (_PAIRS, _NEURONS):
        x, y = runs.line(f"{name}, {pool.name}")
        lines[name] = dict(zip(x, y, strict=True))
        found.curves.append(Curve("by m texts", name, x, y, "texts a unit"))
        found.numbers |= {f"{name} by {size:.0f} texts": value for size, value in lines[name].items()}
    ahead = {size: lines[_PAIRS][size] - lines[_NEURONS][size] for size in lines[_PAIRS]}
    found.claims.append(
        Claim(
            "texts describe pairs better than neurons",
            min(ahead.values()) > 0,
            "points ahead at " + ", ".join(f"{size:.0f}: {gap:+.1f}" for size, gap in ahead.items()),
        )
    )
    return found


_VAL, _RN = ("imagenet-val",), ("scenes-rn",)
_SETS = (
    "means and directions are of 1,000 validation images that are not scored; the released code takes test images",
)
ROWS = (
    Row(
        "B:reconstruction",
        "pairs and neurons by principal components",
        reconstruction,
        (RN50X16,),
        _VAL,
        on_scenes=_RN,
        images=6_000,
        deviates=_SETS,
        published={
            "as it is": 70.7,
            "pairs by 1 component": 70.7,
            "neurons by 1 component": 66.9,
            "neurons by 2 components": 69.0,
            "neurons by 4 components": 70.0,
        },
    ),
    Row(
        "B:sparsity",
        "a fifth of the pairs kept",
        sparsity,
        (RN50X16,),
        _VAL,
        on_scenes=_RN,
        images=6_000,
        deviates=_SETS,
        published={"as it is": 70.7, "points lost with 20 % of pairs": 5.0, "points lost with 20 % of neurons": 25.0},
    ),
    Row(
        "B:omp",
        "pairs and neurons by sparse codes of texts",
        sparse,
        (RN50X16,),
        _VAL,
        on_scenes=_RN,
        images=6_000,
        deviates=(
            *_SETS,
            "common words of wordfreq: the released list is not ours to ship (--pool FILE)",
            "the paper plots these numbers and prints none",
        ),
    ),
)
