"""The figure of `subconcepts`: how alike the top images of neurons and of pairs are."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..studies.subconcepts import SubConcepts
from .figures import BAR, BASE_LINE, SECOND_BAR, panels, style


def figure(found: SubConcepts, title: str) -> Any:
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
