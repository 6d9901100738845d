"""Paper C, what terms of the sum are worth: Figures 2, 3 and 4, Table 4."""

from __future__ import annotations

from ...text.lexicons import values_of
from ...text.pools import pool, random_directions
from ..ablation.direct import AttentionUpTo, ClassToken, Mlps, Spans
from ..ablation.together import Together
from .job import Job, Runs
from .row import L14, LAION, LITTLE, NOTHING, Claim, Curve, Found, Row, Weights

_LAST = 4  # layers of attention that carry the representation
_SIZES = (10, 20, 30, 40, 50, 60)
_SIZES_OF_SCENES = (1, 2, 4, 8, 16)  # a head has 16 channels
_TOKEN = "the class token's own term"  # noqa: S105 (of an image)
_NAMES = {"clip": "descriptions", "words": "common words", "gaussian": "random vectors"}
_MEANS = "means are of the terms as they are; the released code divides each image's by ‖M(x)‖ first"


def _direct(job: Job, weights: Weights) -> Runs:
    """All direct ablations of a model in the same passes, for the three rows that show them."""

    def make() -> Runs:
        model = job.model(weights)
        token, mlps = ClassToken(model), Mlps(embedding=True)
        return job.runs(model, [mlps, token, Together([ClassToken(model), Mlps(embedding=True)]), AttentionUpTo()])

    return job.once(("direct", weights), make)


def mlps(job: Job) -> Found:
    """Figure 2 (a table): every MLP's direct effect at its mean, what enters the first layer with them, as the released
    code counts it."""
    found, drops, lost = Found(), {}, list[float]()
    for (name, _), weights in zip(job.models(), job.weights, strict=True):
        runs = _direct(job, weights)
        without = runs.of("all MLPs")
        found.numbers |= {f"{name}as it is": runs.base, f"{name}without MLPs": without}
        drops[weights.name] = runs.base - without
        lost.append((runs.base - without) / runs.base)
    found.claims.append(
        Claim(
            "all MLPs together cost little (1 to 3 points)",
            max(lost) <= LITTLE,
            f"at most {max(drops.values()):.1f} points, {100 * max(lost):.1f} % of the accuracy",
        )
    )
    return found


def attention(job: Job) -> Found:
    """Figure 3: attention of layers 0 … l at its mean, for every l."""
    found, early, lost = Found(), [], []
    for (_, model), weights in zip(job.models(), job.weights, strict=True):
        runs, name = _direct(job, weights), weights.name
        x, y = runs.line("attention of layers 0 … l")
        found.curves.append(Curve("attention up to layer l at its mean", name, x, y, "last ablated layer"))
        before = y[model.tower.layers - _LAST - 1] if model.tower.layers > _LAST else runs.base
        found.numbers |= {
            f"{name} as it is": runs.base,
            f"{name} without all but the last {_LAST}": before,
            f"{name} without any attention": y[-1],
        }
        early.append((runs.base - before) / runs.base)
        lost.append((before - y[-1]) / max(runs.base, 1e-9))
    found.claims += [
        Claim(
            f"attention before the last {_LAST} layers costs next to nothing",
            max(early) <= NOTHING,
            f"at most {100 * max(early):.1f} % of the accuracy",
        ),
        Claim(
            f"the last {_LAST} layers carry the answer",
            min(lost) >= 0.5,
            f"at least {100 * min(lost):.0f} % of the accuracy goes with them",
        ),
    ]
    return found


def class_token(job: Job) -> Found:
    """Table 4: what the class token adds through its attention to itself, and this with all MLPs."""
    found, own, both = Found(), [], []
    for (name, _), weights in zip(job.models(), job.weights, strict=True):
        runs = _direct(job, weights)
        token, together = runs.of(_TOKEN), runs.of(f"{_TOKEN} and all MLPs")
        found.numbers |= {
            f"{name}as it is": runs.base,
            f"{name}without the class token's term": token,
            f"{name}and without MLPs": together,
        }
        own.append((runs.base - token) / runs.base)
        both.append((runs.base - together) / runs.base)
    found.claims += [
        Claim(
            "the class token's own term costs next to nothing",
            max(own) <= NOTHING,
            f"at most {100 * max(own):.1f} % of the accuracy",
        ),
        Claim("and with all MLPs little", max(both) <= LITTLE, f"at most {100 * max(both):.1f} % of the accuracy"),
    ]
    return found


def spans(job: Job) -> Found:
    """Figure 4: the heads of the last 4 layers projected on the first m texts of their TextSpan, the rest at its mean;
    texts from descriptions, from as many common words, and random vectors."""
    model = job.model()
    described = job.pool("general", model)
    count = len(described.texts)
    if job.scenes:
        words = [word for word in (model.world.vocabulary or tuple)() if word.isalpha()]
    else:
        words = list(pool("words-10k").texts[:count])
    pools = {
        _NAMES["clip"]: model.encode_text(described.texts, progress=None),
        _NAMES["words"]: model.encode_text(words, progress=None),
        _NAMES["gaussian"]: random_directions(count, model.tower.embed, unit=False).to(model.device),
    }
    sizes = _SIZES_OF_SCENES if job.scenes else _SIZES
    runs = job.runs(model, [Spans(model, pools, sizes, layers=_LAST)])
    found = Found(numbers={"as it is": runs.base})
    lines = {}
    for name in pools:
        x, y = runs.line(name)
        lines[name] = y
        found.curves.append(Curve("projected on m texts a head", name, x, y, "texts a head"))
        found.numbers |= {f"{size:.0f} {name} a head": value for size, value in zip(x, y, strict=True)}
    most, alone = lines[_NAMES["clip"]][-1], runs.of(f"heads of the last {_LAST} layers alone")
    found.numbers[f"heads of the last {_LAST} layers alone"] = alone
    found.claims.append(
        Claim(
            f"{sizes[-1]} descriptions a head come near the model as it is",
            runs.base - most <= LITTLE * runs.base,
            f"{most:.1f} against {runs.base:.1f} %",
            f"without any projection the heads of the last {_LAST} layers alone reach {alone:.1f} %",
        )
    )
    named = sum(bool(values_of(word)) for word in words)
    why = {_NAMES["words"]: f"{named} of the {len(words)} words that this model knows name a value, as descriptions do"}
    for other in (_NAMES["words"], _NAMES["gaussian"]):
        ahead = [a - b for a, b in zip(lines[_NAMES["clip"]][:-1], lines[other][:-1], strict=True)]
        where = f"points ahead at {', '.join(f'{size}: {gap:+.1f}' for size, gap in zip(sizes, ahead, strict=False))}"
        says = f"descriptions beat {other} at every m below the largest"
        found.claims.append(Claim(says, min(ahead) > 0, where, why.get(other, "") if job.scenes else ""))
    if not job.scenes and job.options.pool is None:
        found.notes.append(
            "the paper's 3,498 descriptions are not ours to ship: the pool `general` is in their place (--pool FILE)"
        )
    return found


_TABLE_4 = {
    "ViT-B-16": (70.22, 69.37, 67.32),
    "ViT-L-14": (75.25, 74.38, 73.87),
    "ViT-H-14": (77.95, 76.89, 76.29),
}
_MLPS = {"ViT-B-16": 67.04, "ViT-L-14": 74.12, "ViT-H-14": 76.30}
_VAL = ("imagenet-val",)

ROWS = (
    Row(
        "C:fig2",
        "MLPs mean-ablated",
        mlps,
        LAION,
        _VAL,
        deviates=(_MEANS,),
        published={f"{name} as it is": _TABLE_4[name][0] for name in _TABLE_4}
        | {f"{name} without MLPs": value for name, value in _MLPS.items()},
    ),
    Row(
        "C:fig3",
        "attention mean-ablated up to a layer",
        attention,
        LAION,
        _VAL,
        deviates=(_MEANS,),
        published={f"{name} as it is": values[0] for name, values in _TABLE_4.items()},
    ),
    Row(
        "C:fig4",
        "accuracy of heads projected on their texts",
        spans,
        (L14,),
        _VAL,
        published={"as it is": 75.25, "60 descriptions a head": 72.77},
    ),
    Row(
        "C:table4",
        "the class token's own term mean-ablated",
        class_token,
        LAION,
        _VAL,
        deviates=(_MEANS,),
        published={
            f"{name} {what}": value
            for name, values in _TABLE_4.items()
            for what, value in zip(
                ("as it is", "without the class token's term", "and without MLPs"), values, strict=True
            )
        },
    ),
)
