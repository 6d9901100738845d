"""Whether the images at the ends of a unit's directions show the values that its words name, on fresh scenes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ...data import ImageSource
from ...errors import SummandError
from ...models import Model
from ...survey.batch import read
from ...survey.survey import Survey
from ...survey.unit_words import Words, directions_of
from ...survey.units import SINGULAR, Group
from ...text.lexicons import values_of

TOP = 20
"""Images of an end that are looked at."""


def shows(attributes: pd.DataFrame, text: str) -> Bool[np.ndarray, " scene"]:
    """Scenes of which a text is true: every value that it names is the scene's own ("two objects": count is 2)."""
    named = values_of(text)
    if not named:
        raise SummandError(
            f"{text!r} names no value of a scene; label with the pool 'scenes' to compare with the truth"
        )
    found = np.ones(len(attributes), dtype=bool)
    for attribute, value in named.items():
        found &= attributes[attribute].astype(str).to_numpy() == str(value)
    return found


def values_shown(
    model: Model, survey: Survey, table: pd.DataFrame, source: ImageSource, batch: int = 64
) -> pd.DataFrame:
    """One row an end that was given words: unit, kind, thing, sign, words, verdict, and over the `TOP` fresh scenes
    furthest along it: shown (of which one of the words is true), first (the first word), chance (of all scenes).

    table: labels of the survey. source: scenes that it has not seen.
    """
    attributes = source.attributes()
    if attributes is None:
        raise SummandError("the truth of these images is not known; give scenes")
    signals = _signals(model, survey, table, source, batch)
    true = {text: shows(attributes, text) for text in {t for ends in table["poles"] for e in ends for t in e["words"]}}
    rows = []
    for kind, unit, poles in zip(table["kind"], table["unit"], table["poles"], strict=True):
        for end in Words.of(poles).ends:
            if not end.words:
                continue
            top = (end.sign * signals[kind, unit][:, end.thing]).topk(TOP).indices.numpy()
            some = np.any([true[text] for text in end.words], axis=0)
            values = {"shown": some[top].mean(), "first": true[end.words[0]][top].mean(), "chance": some.mean()}
            attribute = next(iter(values_of(end.words[0])))
            known = {"kind": kind, "unit": unit, "thing": end.thing, "sign": end.sign, "attribute": attribute}
            rows.append({**known, "words": end.words, "verdict": end.verdict, **values})
    columns = ["kind", "unit", "thing", "sign", "attribute", "words", "verdict", "shown", "first", "chance"]
    return pd.DataFrame(rows, columns=columns)


def _signals(
    model: Model, survey: Survey, table: pd.DataFrame, source: ImageSource, batch: int
) -> dict[tuple[str, str], Float[Tensor, "image thing"]]:
    """x of fresh images along every direction of the labels."""
    readings = {group: found for group in survey.groups if (found := _reading(survey, group, table)) is not None}
    parts: dict[Group, list[Tensor]] = {group: [] for group in readings}
    for some in read(model, source, batch, tuple(readings), progress=False):
        for group, (_, places, mean, reading) in readings.items():
            coefficients = some.effects(group).coefficients.cpu().double().flatten(1, -2)[:, places]
            parts[group].append(torch.einsum("iup,utp->iut", coefficients - mean, reading).float())
    whole = {group: torch.cat(some) for group, some in parts.items()}
    return {
        (SINGULAR[group.kind], unit): whole[group][:, row]
        for group, (units, *_) in readings.items()
        for row, unit in enumerate(units)
    }


def _reading(survey: Survey, group: Group, table: pd.DataFrame) -> tuple[list[str], list[int], Tensor, Tensor] | None:
    """Labelled units of a group: names, places, c̄ [unit, path], and what a coefficient counts for along each of their
    directions, [unit, thing, path]."""
    shape = survey.shape(group)
    labelled = set(table.loc[table["kind"] == SINGULAR[group.kind], "unit"])
    indices = [index for index in np.ndindex(*shape) if group.unit(index) in labelled]
    if not indices:
        return None
    places = [int(np.ravel_multi_index(index, shape)) for index in indices]
    rank = survey.rank_one(group)
    if group.kind == "heads":
        directions = directions_of(survey, group).flatten(0, -3)[places]
        reading = directions @ rank.basis.double().dense().flatten(0, -3)[places].transpose(1, 2)
    else:
        reading = rank.reading().flatten(0, -3)[places].transpose(1, 2)
    return [group.unit(index) for index in indices], places, rank.mean.flatten(0, -2)[places], reading


def first_proven(ends: pd.DataFrame) -> pd.DataFrame:
    """Of every unit its first proven end."""
    proven = pd.DataFrame(ends[ends["verdict"] == "proven"])
    return pd.DataFrame(proven[~proven.duplicated(["kind", "unit"])])


def both_proven(ends: pd.DataFrame) -> pd.DataFrame:
    """The ends of directions that are proven at both."""
    proven = pd.DataFrame(ends[ends["verdict"] == "proven"])
    return pd.DataFrame(proven[proven.duplicated(["kind", "unit", "thing"], keep=False)])


def summary_of(ends: pd.DataFrame, units: Sequence[tuple[str, str]], shuffled: dict[str, float]) -> pd.DataFrame:
    """One row a kind of units: how many are proven, and what their fresh images show."""
    rows = []
    for kind in dict.fromkeys(kind for kind, _ in units):
        some = pd.DataFrame(ends[ends["kind"] == kind])
        first, both, count = first_proven(some), both_proven(some), sum(k == kind for k, _ in units)
        rows.append(
            {
                "kind": kind,
                "units": count,
                "proven": len(first) / count,
                "shown": first["shown"].mean(),
                "first_word": first["first"].mean(),
                "chance": first["chance"].mean(),
                "all_ends": some.loc[some["verdict"] == "proven", "shown"].mean(),
                "both_ends": both["shown"].mean(),
                "not_proven": some.loc[some["verdict"] != "proven", "shown"].mean(),
                "shuffled": shuffled.get(kind, float("nan")),
            }
        )
    return pd.DataFrame(rows)


def by_attribute(ends: pd.DataFrame) -> pd.DataFrame:
    """The first proven ends of units by the attribute that their first word names."""
    first = first_proven(ends)
    grouped = first.groupby(["kind", "attribute"], sort=False)
    return grouped.agg(units=("unit", "size"), shown=("shown", "mean"), chance=("chance", "mean")).reset_index()
