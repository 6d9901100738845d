"""What a survey is asked about its units: their words, and which of them are about something."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from ..arguments import names_wrong_arguments
from ..errors import SummandError
from ..text.pools import Pool
from .shelf import LABELS, Shelf
from .shown import Shown
from .units import Group, Unit

if TYPE_CHECKING:
    from .survey import Survey


@names_wrong_arguments
class Asked(Shown):
    """The questions of a `Survey`."""

    shelf: Shelf
    groups: tuple[Group, ...]

    @property
    def _survey(self) -> Survey:
        raise NotImplementedError

    @property
    def labelled(self) -> bool:
        return self.shelf.has(LABELS, table=True)

    @property
    def labels(self) -> pd.DataFrame:
        """One row a unit, as `label` made them."""
        if not self.labelled:
            how = "survey.label()" if self.shelf.path is None else f"`summand label {self.shelf.path}`"
            raise SummandError(f"{self.shelf.label} has no labels yet; {how} makes them")
        return self.shelf.table(LABELS)

    def label(
        self,
        pool: str | Path | Pool | Sequence[str] | None = None,
        *,
        size: int = 3,
        most: int | None = None,
        draws: int | None = None,
        progress: bool | None = None,
    ) -> pd.DataFrame:
        """Every unit in words, and what the words are worth on the held-out images; kept in the survey.

        pool: a name, a file of texts, or a list of texts [default: fits the model]. size: texts a unit, and words an
        end at most. most: of neurons and pairs only so many, the most important. docs/runs.md lists the columns.
        """
        from .labels import label

        return label(self._survey, pool, size=size, most=most, draws=draws, progress=progress)

    def find(self, what: Any, *, top: int = 10, by: str = "cosine") -> pd.DataFrame:
        """Units by a text, an image or a direction [embed]: those whose r_n is nearest, with their words and evidence.

        cosine: of r_n with the centred embedding of `what`, signed. by: "cosine", or "evidence": those first of whose
        effects on held-out images `what` says more than other texts (or images) do.
        """
        from .search import find

        return find(self._survey, what, top, by)

    def audit(self, *, most: int | None = None) -> pd.DataFrame:
        """Every unit: is it about one thing (clear), about several, or the like of another (redundant)?"""
        from .audit import audit

        return audit(self._survey, most)[0]

    def __getitem__(self, unit: str | Unit) -> Any:
        """One unit by its name: words, weights, evidence, r_n, top images; `.show()` draws it."""
        from .view import UnitView

        only_pairs = {group.kind for group in self.groups} == {"pairs"}  # then 624.21 can be nothing else
        found = Unit.parse(unit, "pairs" if only_pairs else None)
        self._survey.check_unit(found.group, found.index)
        return UnitView(self._survey, found)
