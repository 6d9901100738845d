"""Deletion and insertion curves."""

from __future__ import annotations

from typing import Any

from ..studies.perturbation.result import Perturbation
from .figures import STYLES, panels, style

_PANELS = {"deletion_positive": "taken away, most relevant first", "insertion_positive": "put in, most relevant first"}


def figure(result: Perturbation) -> Any:
    """The mean answer over the share of the patches, a line for each method."""
    what = "cosine" if result.options.answer == "logit" else "probability"
    with style():
        drawn, axes = panels(2, width=4.4, height=3.4, columns=2)
        for axis, (name, title) in zip(axes, _PANELS.items(), strict=True):
            for number, (method, curves) in enumerate(result.curves.items()):
                look = STYLES[number % len(STYLES)]
                axis.plot(result.shares, curves[name], label=result.titles[method], **look)
            axis.set_title(title)
            axis.set_xlabel("share of the patches")
            axis.set_ylabel(f"{what} of the text")
        axes[0].legend()
    return drawn
