"""How a survey shows itself: a figure of a group of its units, and what a notebook says of it."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any, Protocol

from ..arguments import names_wrong_arguments
from ..errors import SummandError
from ..notebook import as_img, called
from ..unit import Group

if TYPE_CHECKING:
    import pandas as pd

    from .manifest import Manifest

_FIGURE = "summand.report.survey:figure"


class _Surveyed(Protocol):
    groups: tuple[Group, ...]
    manifest: Manifest

    @property
    def labelled(self) -> bool: ...

    @property
    def labels(self) -> pd.DataFrame: ...

    @property
    def images(self) -> pd.DataFrame: ...

    def plot(self, group: Group | str | None = None) -> Any: ...


@names_wrong_arguments
class Shown:
    """What a `Survey` has of this."""

    def plot(self: Any, group: Group | str | None = None) -> Any:
        """A figure of a group of units, by default of the first: of heads a map, layer by layer, with their words; of
        others the most important ones. Coloured by importance where they are labelled, else by variance."""
        return called(_FIGURE, self, self.group(self.groups[0] if group is None else group))

    def _repr_html_(self: _Surveyed) -> str:
        made = self.manifest
        rows = {"model": made.model, "images": f"{made.source}, {len(self.images):,} read"}
        rows |= {group.name: _counted(self, group) for group in self.groups}
        cells = "".join(f"<tr><th>{escape(name)}</th><td>{escape(said)}</td></tr>" for name, said in rows.items())
        try:
            figure = as_img(self.plot(), f"map of {self.groups[0].name} by importance")
        except SummandError as error:
            figure = f"<p>{escape(str(error))}</p>"
        random = "<p><b>The weights are RANDOM: words mean nothing.</b></p>" if made.random_init else ""
        return f"{random}<table>{cells}</table>{figure}"


def _counted(survey: Any, group: Group) -> str:
    """How many units, and of how many the words are proven."""
    sizes = " × ".join(map(str, survey.shape(group)))
    if not survey.labelled:
        return f"{sizes}, no words yet: survey.label()"
    found = survey.labels
    own = [of_group(kind, layer) == group.name for kind, layer in zip(found["kind"], found["layer"], strict=True)]
    verdicts = found["verdict"][own]
    return f"{sizes}, {int((verdicts == 'proven').sum()):,} of {len(verdicts):,} labelled ones proven"


def of_group(kind: str, layer: Any) -> str:
    """The name of the group that a row of the labels is of."""
    return f"{kind}s.{int(layer)}" if kind in ("neuron", "latent") else f"{kind}s"
