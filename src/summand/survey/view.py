"""One unit of a survey: what it is called, what it writes, and where it does most."""

from __future__ import annotations

import html
from functools import cached_property
from typing import Any

import pandas as pd
from jaxtyping import Float
from torch import Tensor

from ..arguments import names_wrong_arguments
from ..errors import SummandError
from ..notebook import as_img
from ..statistics.principal_direction import significance
from .strip import Shown, picture_strip, strongest
from .survey import Survey
from .unit_words import End, Words, directions_of, words_of_row
from .units import Unit

_PICTURES = 8


@names_wrong_arguments
class UnitView:
    """One unit. Made by `survey["9:2914"]`; in a notebook it shows itself."""

    def __init__(self, survey: Survey, unit: Unit) -> None:
        self.survey, self.unit, self.group, self.index = survey, unit, unit.group, unit.index

    @property
    def name(self) -> str:
        return self.unit.name

    @property
    def kind(self) -> str:
        """head, neuron or pair."""
        return self.unit.kind

    @cached_property
    def label(self) -> pd.Series | None:
        """Its row of the survey's labels; None where it has none."""
        if not self.survey.labelled:
            return None
        table = self.survey.labels
        found = table[(table["kind"] == self.kind) & (table["unit"] == self.name)]
        return found.iloc[0] if len(found) else None

    @cached_property
    def called(self) -> Words:
        """What it is called: both ends of its directions, with the evidence for each; no ends where it was not
        labelled."""
        return Words(()) if self.label is None else words_of_row(self.label)

    @property
    def words(self) -> list[str]:
        """The first word of every end that is proven; empty where there is none."""
        return self.called.proven

    @property
    def texts(self) -> list[str]:
        """The texts that span what it writes (heads), or that its direction is a weighted sum of; empty where it was
        not labelled."""
        return [] if self.label is None else list(self.label["texts"])

    @property
    def weights(self) -> list[float]:
        """Of its texts, signed."""
        return [] if self.label is None else [float(weight) for weight in self.label["weights"]]

    @property
    def evidence(self) -> bool | None:
        """Whether images that were held out show its words; None where that could not be tested."""
        if self.label is None:
            return None
        return {"proven": True, "not proven": False}.get(str(self.label["verdict"]))

    @property
    def directions(self) -> Float[Tensor, "thing embed"]:
        """The directions whose ends its words are for: a head's components along the texts, else r_n."""
        if self.group.kind != "heads":
            return self.direction[None]
        things = 1 + max((end.thing for end in self.called.ends), default=0)
        return directions_of(self.survey, self.group)[self.index][:things]

    @property
    def direction(self) -> Float[Tensor, " embed"]:
        """r_n."""
        return self._rank().directions[(0, *self.index[1:])]

    @property
    def offset(self) -> Float[Tensor, " embed"]:
        """b_n, its mean effect."""
        return self._rank().offsets[(0, *self.index[1:])]

    @property
    def variance(self) -> float:
        """The share of its strongest effects that r_n carries."""
        return float(self.survey.rank_one(self.group).explained[self.index][0])

    @property
    def threshold(self) -> float:
        """The norm ‖φ_n(x) − b_n‖ above which its effect is significant."""
        return float(significance(self.survey.top_images(self.group))[self.index])

    @property
    def images(self) -> pd.DataFrame:
        """Its top images, largest |x_n| first: number, name, and x_n in standard deviations."""
        rows = [item for side in strongest(self.survey, self.group, self.index, count=1 << 30) for item in side]
        rows.sort(key=lambda item: -abs(item.x))
        columns = {"name": [item.name for item in rows], "x": [item.x for item in rows]}
        return pd.DataFrame(columns, index=pd.Index([item.image for item in rows], name="image", dtype="int64"))

    def show(self, count: int = _PICTURES) -> Any:
        """A matplotlib figure: its words, and the pictures of its top images."""
        return picture_strip(self.survey.source(), self._sides(count), self._title(), self._said())

    def plot(self, count: int = _PICTURES) -> Any:
        """The same as `show`."""
        return self.show(count)

    def _rank(self) -> Any:
        rank = self.survey.rank_one(self.group)
        some = [self.index[0]]
        return type(rank)(rank.basis.select(some), rank.weights[some], rank.mean[some], rank.explained[some])

    def _sides(self, count: int) -> list[list[Shown]]:
        """Both sides where the unit has two; the few stray images of one side are no side."""
        most, least = strongest(self.survey, self.group, self.index, count)
        return [most, least] if 2 * len(least) >= len(most) else [most]

    def _title(self) -> str:
        return f"{self.kind} {self.name} of {self.survey.manifest.model}"

    def _said(self) -> str:
        return "" if self.label is None else str(self.label["label"])

    def __repr__(self) -> str:
        return f"<{self._title()}{f': {self._said()}' if self._said() else ', no words yet'}>"

    def _repr_html_(self) -> str:
        ends = "".join(_row(end) for end in self.called.ends if end.words)
        texts = " · ".join(
            html.escape(signed(text, weight)) for text, weight in zip(self.texts, self.weights, strict=True)
        )
        said = f"<p><b>{html.escape(self._said())}</b></p><table>{ends}</table><p>texts: {texts}</p>"
        said = said if self.label is not None else "<p>no words yet: survey.label()</p>"
        try:
            picture = as_img(self.show(), f"the images in which {self.kind} {self.name} does most")
        except SummandError as error:
            picture = f"<p>{html.escape(str(error))}</p>"
        return f"<h4>{html.escape(self._title())}</h4>{picture}{said}"


def signed(text: str, weight: float) -> str:
    """A text with its weight and a minus where the unit speaks against it."""
    return f"{weight:+.2f} {text}".replace("-", "−", 1)


def _row(end: End) -> str:
    shown = (
        "" if end.shown is None else f"{100 * end.shown:.0f} % of its images (chance {100 * (end.chance or 0):.0f} %)"
    )
    return (
        f"<tr><td>{'+' if end.sign > 0 else '−'}</td><td>{html.escape(end.text)}</td>"
        f"<td>{shown}</td><td>{end.verdict}</td></tr>"
    )
