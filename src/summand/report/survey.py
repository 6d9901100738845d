"""The figure of a survey: a map of heads with their words, or the most important of other units."""

from __future__ import annotations

from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd

from ..survey import Group, Survey
from ..survey.shown import of_group
from ..survey.unit_words import words_of_row
from .figures import BAR, SECOND_BAR, short, style

_MOST = 20
_WORDS_UP_TO = 12  # heads in a layer: in a finer map words could not be read


def figure(survey: Survey, group: Group) -> Any:
    """Heads as a map; of other units the `_MOST` of largest importance, or of largest variance without labels."""
    rows = _labels(survey, group)
    return _map(survey, rows) if group.kind == "heads" else _bars(survey, group, rows)


def _labels(survey: Survey, group: Group) -> pd.DataFrame | None:
    if not survey.labelled:
        return None
    found = survey.labels
    own = [of_group(kind, layer) == group.name for kind, layer in zip(found["kind"], found["layer"], strict=True)]
    return found.loc[own]


def _map(survey: Survey, rows: pd.DataFrame | None) -> Any:
    from ..plots import Plot

    layers, heads = survey.shape("heads")
    if rows is None:
        values, said = survey.moments("heads").variance().numpy(), "variance"
    else:
        values, said = np.zeros((layers, heads)), "importance: share of the variance along the texts"
        values[rows["layer"].astype(int), rows["head"].astype(int)] = rows["importance"]
    worded = rows is not None and heads <= _WORDS_UP_TO
    with style():
        size = (1.15 * heads + 1.6, 0.62 * layers + 1.1) if worded else (0.34 * heads + 2.4, 0.3 * layers + 1.3)
        drawn = Plot(figsize=size, layout="constrained")
        axes = drawn.subplots()
        shown = axes.imshow(values, cmap="Blues", vmin=0, aspect="auto")
        axes.set(xlabel="head", ylabel="layer", title=f"heads of {survey.manifest.model}")
        axes.set_xticks(range(heads))
        axes.set_yticks(range(layers))
        axes.grid(visible=False)
        drawn.colorbar(shown, ax=axes, shrink=0.8, pad=0.01).set_label(said, fontsize=8)
        if worded and rows is not None:
            _write(axes, rows, float(values.max()))
    return drawn


def _write(axes: Any, rows: pd.DataFrame, largest: float) -> None:
    """The first word of each head; in italics and brackets where it is not proven, or what the head is of, where only
    words of a smaller part are."""
    for row in rows.to_dict("records"):
        words = words_of_row(row)  # type: ignore[arg-type]
        first = words.first
        said = str(row["texts"][0]) if first is None else first.words[0]
        said = str(words.kind) if words.in_part else said
        text = said if words.whole else f"({said})"
        dark = row["importance"] > 0.55 * largest
        axes.text(
            int(row["head"]), int(row["layer"]), fill(short(text, 30), 15), ha="center", va="center", fontsize=6.5,
            color="white" if dark else "black", style="normal" if words.whole else "italic", parse_math=False,
        )  # fmt: skip


def _bars(survey: Survey, group: Group, rows: pd.DataFrame | None) -> Any:
    from ..plots import Plot

    if rows is None or not len(rows):
        values = survey.moments(group).variance().flatten()
        best = values.argsort(descending=True, stable=True)[:_MOST].tolist()
        units = [group.unit([int(n) for n in np.unravel_index(place, survey.shape(group))]) for place in best]
        found = pd.DataFrame({"unit": units, "value": values[best].tolist(), "proven": True})
        said = "variance"
    else:
        best = rows.sort_values("importance", ascending=False, kind="stable").head(_MOST)
        units = [f"{row['unit']}  {short(str(row['label']), 60)}" for row in best.to_dict("records")]
        proven = (best["verdict"] == "proven").tolist()
        found = pd.DataFrame({"unit": units, "value": best["importance"].tolist(), "proven": proven})
        said = "importance: share of what these units write along the texts"
    with style():
        drawn = Plot(figsize=(7.2, 0.9 + 0.24 * len(found)), layout="constrained")
        axes = drawn.subplots()
        for place, row in enumerate(found.to_dict("records")):
            axes.barh(place, row["value"], height=0.66, **(BAR if row["proven"] else SECOND_BAR))
        axes.set_yticks(range(len(found)), found["unit"], parse_math=False)
        axes.set_xlabel(said)
        axes.set_title(f"{group.name} of {survey.manifest.model}, the first {len(found)}", loc="left")
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
    return drawn
