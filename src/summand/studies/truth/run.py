"""Words for units against what their images show and what the units carry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ...data import open_source
from ...models import Model
from ...scenes import attribute_of
from ...survey.labels import SIZE, label_run
from ...survey.make import survey
from ...survey.unit_words import words_of_row
from ...survey.words import Readings, false_proofs
from ...text.kinds import values_of_pool
from ...text.pools import pool
from ...unit import parse_layers
from ..verb import OptionError, verb
from .options import TruthOptions
from .result import Truth
from .scores import agreement, anova_shares, by_chance, counterfactual_movement, lifts
from .values import by_attribute, first_proven, summary_of, values_shown

_SHUFFLES = range(3)
_LABELLED, _JUDGED, _CHANGED = 101, 202, 303  # seeds of the three samples of scenes


@verb(TruthOptions)
def truth(model: Model, *, options: TruthOptions, batch_size: int = 64) -> Truth:
    r"""Are the words for units true of the images?

    Value: of the 20 fresh scenes furthest along each end of a unit's directions, the share that shows the very value
    that its words name. Attribute, for every head: what its label names, and share(u, a) = Σ_v n_v ‖μ_v − μ‖² /
    Σ_i ‖φ_u(x_i) − μ‖², how much of the variance of its effect an attribute a of the scenes explains; and which
    attribute moves it most when it alone changes, E ‖φ_u(x) − φ_u(x')‖². What a label names is what its proven words
    are of; what it says that the head is of (`survey.words.attribute`) is another where they are of a small part.

    Labels are made on other scenes than those that judge.

    Raises `SummandError` for layers that the model does not have.
    """
    layers = _layers(model, options)
    texts = pool(options.pool).texts
    embeddings = model.encode_text(texts)
    given: dict[str, Any] = {"batch_size": batch_size, "progress": None}
    described = f"scenes:count={options.described},seed={_LABELLED + options.seed}"
    seen = survey(model, described, units=options.units, **given)
    labels = label_run(seen, texts, embeddings, SIZE, progress=None)
    labels = pd.DataFrame(labels[(labels["kind"] != "head") | labels["layer"].isin(layers)]).reset_index(drop=True)
    judge = f"scenes:count={options.count},seed={_JUDGED + options.seed}"
    ends = values_shown(model, seen, labels, open_source(judge), batch_size)
    readings = Readings.of(seen, values_of_pool(texts, embeddings.cpu().double()))
    units = list(zip(labels["kind"], labels["unit"], strict=True))
    found: dict[str, Any] = {
        "values": summary_of(ends, units, false_proofs(seen, readings, SIZE, _SHUFFLES)).to_dict("records"),
        "attributes": by_attribute(ends).to_dict("records"),
    }
    heads = labels[labels["kind"] == "head"]
    said: list[dict[str, Any]] = heads.to_dict("records")  # type: ignore[assignment]
    called = [words_of_row(row) for row in said]
    named, of = [words.worded for words in called], [words.kind for words in called]
    rows = pd.DataFrame(labels[["kind", "unit", "label", "verdict", "texts"]])
    rows = _with_ends(rows.assign(named=None, attribute=None, true=None, share=None, moved_most_by=None), ends)
    if len(heads):
        fresh = survey(model, judge, units="heads", held_out=0, top=0, keep=layers, **given)
        causes = fresh.source().attributes()
        assert causes is not None
        shares = anova_shares(fresh.kept, causes)
        moved = counterfactual_movement(model, options.pairs, _CHANGED + options.seed, layers)
        firsts = [attribute_of(chosen[0]) if len(chosen) else None for chosen in heads["texts"]]
        found |= _attributes(options, shares, moved, named, firsts, texts)
        of_all = ("agreement_attribute", options.dominant), ("agreement_attribute_all_heads", 0.0)
        found |= {name: agreement(shares, of, least).agreement for name, least in of_all}
        of_heads = rows["kind"] == "head"
        rows.loc[of_heads, "named"] = named
        rows.loc[of_heads, "attribute"] = of
        rows.loc[of_heads, "true"] = shares.idxmax(axis=1).to_numpy()
        rows.loc[of_heads, "share"] = shares.max(axis=1).to_numpy()
        rows.loc[of_heads, "moved_most_by"] = _most(moved).to_numpy()
    return Truth(rows.to_dict("records"), options, model=model.name, data=judge, summary=found)


def _attributes(
    options: TruthOptions,
    shares: pd.DataFrame,
    moved: pd.DataFrame,
    named: Sequence[str | None],
    firsts: Sequence[str | None],
    texts: Sequence[str],
) -> dict[str, Any]:
    strong = shares.max(axis=1) >= options.dominant
    by_words = agreement(shares, named, options.dominant)
    return {
        "heads": by_words.heads,
        "dominant": by_words.dominant,
        "agreement": by_words.agreement,
        "agreement_first_text": agreement(shares, firsts, options.dominant).agreement,
        "agreement_all_heads": agreement(shares, named, dominant=0.0).agreement,
        "agreement_random_texts": by_chance(shares, texts, options.dominant, options.seed),
        "agreement_causal": float(np.mean([a == b for a, b, s in zip(named, _most(moved), strong, strict=True) if s])),
        "lift": lifts(moved, named),
    }


def _most(moved: pd.DataFrame) -> pd.Series:
    """A change of shape and one of place are not equally large: each head is compared with all."""
    return (moved / moved.sum(axis=0)).idxmax(axis=1)


def _with_ends(rows: pd.DataFrame, ends: pd.DataFrame) -> pd.DataFrame:
    """What the fresh images at the first proven end of each unit show."""
    first = first_proven(ends)[["kind", "unit", "shown", "chance"]]
    return rows.merge(first, on=["kind", "unit"], how="left")


def _layers(model: Model, options: TruthOptions) -> list[int]:
    count = model.tower.layers
    if options.layers is None:
        return list(range(max(0, count - 3), count))
    found = sorted(set(parse_layers(options.layers)))
    wrong = [layer for layer in found if not 0 <= layer < count]
    if wrong:
        raise OptionError("layers", f"of {model.name} are 0 to {count - 1}, got {wrong}")
    return found
