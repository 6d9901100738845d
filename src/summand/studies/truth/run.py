"""Labels of heads against what the heads carry."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import SummandError
from ...models import Model
from ...scenes import attribute_of
from ...survey.make import survey
from ...text.labels import HeadLabel, importance, label_heads
from ...text.pools import pool
from ...unit import parse_layers
from ..verb import OptionError, verb
from .options import TruthOptions
from .result import Truth
from .scores import agreement, anova_shares, by_chance, counterfactual_movement, lifts

_LABELLED, _JUDGED, _CHANGED = 101, 202, 303  # seeds of the three samples of scenes


@verb(TruthOptions)
def truth(model: Model, *, options: TruthOptions, batch_size: int = 64, progress: bool | None = None) -> Truth:
    r"""For every head: what its label names; share(u, a) = Σ_v n_v ‖μ_v − μ‖² / Σ_i ‖φ_u(x_i) − μ‖², how much of the
    variance of its effect an attribute a of the scenes explains; and which attribute moves it most when it alone
    changes, E ‖φ_u(x) − φ_u(x')‖².

    The label: TextSpan's first texts over other scenes than those that judge.

    Raises `SummandError` for layers that the model does not have.
    """
    layers = _layers(model, options)
    texts = pool(options.pool).texts
    embeddings = model.encode_text(texts)
    heads: dict[str, Any] = {"units": "heads", "held_out": 0, "top": 0, "keep": layers}
    heads |= {"batch_size": batch_size, "progress": progress}
    described = f"scenes:count={options.described},seed={_LABELLED + options.seed}"
    seen = survey(model, described, **heads).moments("heads")
    labels = label_heads(seen, layers, texts, embeddings, importance(seen, embeddings))
    judge = f"scenes:count={options.count},seed={_JUDGED + options.seed}"
    fresh = survey(model, judge, **heads)
    causes = fresh.source().attributes()
    assert causes is not None
    shares = anova_shares(fresh.kept, causes)
    if len(labels) != len(shares):
        raise SummandError(f"{len(shares) - len(labels)} heads write nothing and have no label; leave their layers out")
    moved = counterfactual_movement(model, options.pairs, _CHANGED + options.seed, layers)
    # A change of shape and one of place are not equally large: compare heads by how each moves relative to all heads.
    most = (moved / moved.sum(axis=0)).idxmax(axis=1)
    named = [label.attribute for label in labels]
    strong = shares.max(axis=1) >= options.dominant
    by_texts = agreement(shares, named, options.dominant)
    summary = {
        "heads": by_texts.heads,
        "dominant": by_texts.dominant,
        "agreement": by_texts.agreement,
        "agreement_first_text": agreement(shares, [_first(label) for label in labels], options.dominant).agreement,
        "agreement_all_heads": agreement(shares, named, dominant=0.0).agreement,
        "agreement_random_texts": by_chance(shares, texts, options.dominant, options.seed),
        "agreement_causal": float(np.mean([a == b for a, b, s in zip(named, most, strong, strict=True) if s])),
        "lift": lifts(moved, named),
    }
    rows = [
        {
            "head": label.name,
            "texts": list(label.texts[:3]),
            "named": name,
            "true": shares.loc[i].idxmax(),
            "share": float(shares.loc[i].max()),
            "moved_most_by": most[i],
        }
        for i, (label, name) in enumerate(zip(labels, named, strict=True))
    ]
    return Truth(rows, options, model=model.name, data=judge, summary=summary)


def _layers(model: Model, options: TruthOptions) -> list[int]:
    count = model.tower.layers
    if options.layers is None:
        return list(range(max(0, count - 3), count))
    found = sorted(set(parse_layers(options.layers)))
    wrong = [layer for layer in found if not 0 <= layer < count]
    if wrong:
        raise OptionError("layers", f"of {model.name} are 0 to {count - 1}, got {wrong}")
    return found


def _first(label: HeadLabel) -> str | None:
    return attribute_of(label.texts[0])
