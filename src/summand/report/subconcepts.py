"""The figure of `subconcepts`: the top images of units, or how alike those of all neurons and pairs are."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from ..data.pictures import shown
from ..studies.subconcepts.result import Subconcepts, said
from ..studies.subconcepts.tops import TopsOfPairs
from .contact_sheet import sheet
from .figures import BAR, BASE_LINE, SECOND_BAR, panels, style


def figure(result: Subconcepts) -> Any:
    """Of named neurons a contact sheet, with the most alike of their pairs; of all a histogram."""
    if result.units is None:
        return histogram(result.found, f"{result.model}, {result.options.top} top images of {result.images}")
    drawn, seen = [], 0
    for row in result.rows.to_dict("records"):
        seen = seen + 1 if "x" in row["unit"] else 0
        if seen <= result.options.drawn:
            title = f"{'pair' if seen else 'neuron'} {row['unit']}, inertia {row['inertia']:.2f}: {said(row)}"
            drawn.append((title, [(shown(partial(result.source.image, index)), "") for index in row["indices"]]))
    return sheet(drawn, columns=result.options.top)


def histogram(found: TopsOfPairs, title: str) -> Any:
    """Shares of neurons and of pairs by the inertia of their top images; dotted: images drawn at random."""
    with style():
        drawn, (axes,) = panels(1, width=5.2, height=3.2)
        neurons, pairs = found.neuron_inertia.numpy(), found.pair_inertia.flatten().numpy()
        edges = np.linspace(0, max(neurons.max(), pairs.max(), found.chance) * 1.02, 31)
        for values, name, look in ((neurons, "neurons", BAR), (pairs, "neuron–head pairs", SECOND_BAR)):
            shares = 100 * np.histogram(values, edges)[0] / len(values)
            axes.bar(edges[:-1], shares, np.diff(edges), align="edge", label=name, **({"alpha": 0.8} | look))
        axes.axvline(found.chance, label="random images", **BASE_LINE)
        axes.set(xlabel="inertia of the top images (0: all alike)", ylabel="share of units, %", title=title)
        axes.legend()
    return drawn
