"""The explorer, served."""

from __future__ import annotations

import re
from pathlib import Path
from threading import Event
from typing import Any

from ...data import open_source
from ...effects.ablated import as_ablated
from ...errors import SummandError
from ...models import Model
from ...models.load import load
from ...studies.given import Given
from ...studies.verb import verb
from ...survey import Survey, survey_of
from ...survey.units import Wanted, default_units, groups_of
from .known import Known, known_of
from .options import ExploreOptions
from .uploads import leave_folder, take_folder

_KEPT = 4
"""Last layers of which a survey that is made here keeps what heads write."""
_USUAL_MODEL = "scenes-vit"
_OLDEST = (6, 31)
"""gradio's version that this was made with, as pyproject says too."""


class Explorer:
    """A page that is being served. url: where. folder: where pictures that are sent lie until the end. In a notebook it
    shows itself."""

    def __init__(self, url: str, served: Any, folder: Path) -> None:
        self.url, self.folder, self._served = url, folder, served
        self._ended = Event()

    def wait(self) -> None:
        """Until it is interrupted, which raises `KeyboardInterrupt`; it is closed then."""
        try:
            while self._served is not None:
                self._ended.wait(1)
        finally:
            self.close()

    def close(self) -> None:
        """Stop serving; with the last one that this process serves the pictures that were sent are deleted."""
        if self._served is not None:
            self._served.close(verbose=False)
            self._served = None
            self._ended.set()
            leave_folder()

    def __enter__(self) -> Explorer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Explorer at {self.url}>"

    def _repr_html_(self) -> str:
        return f'<iframe src="{self.url}" width="100%" height="900" style="border:0"></iframe>'


@verb(ExploreOptions)
def explore(survey_or_model: Any = None, *, model: Model | None = None, options: ExploreOptions) -> Explorer:
    """A live page on one's own pictures: predictions, contributions, maps, words, and what changes with units off.

    survey_or_model: a survey or its folder, whose labels give units their words; or a model; by default scenes-vit. For
    a model of scenes a survey is made where none is given. model: of a survey of a wrapped model. Returns at once:
    `.url` is where it serves, `.wait()` stays until it is interrupted, `.close()` ends it.

    Raises `SummandError` where gradio is missing, for a port that is taken, and for what is no survey or model.
    """
    _check_gradio()
    from .app import launched

    known = known_for(survey_or_model, model)
    folder = take_folder()
    try:
        url, served = launched(known, options, folder)
    except BaseException:
        leave_folder()
        raise
    return Explorer(url, served, folder)


def known_for(given: Any = None, model: Model | None = None) -> Known:
    """What is known of what was given."""
    if isinstance(given, Given):
        if given.run is None:
            raise SummandError(f"{given.name} is no survey; make one with summand survey {given.name} --out run")
        given = given.run
    if isinstance(given, Known):
        return given
    if given is None or isinstance(given, Model):
        chosen = given or model or load(_USUAL_MODEL)
        if as_ablated(chosen.tower) is not None:
            raise SummandError(f"{chosen.name}: the explorer switches units off itself; load it without ablation=")
        return known_of(chosen if chosen.world.images is None else surveyed(chosen), chosen)
    return known_of(given, model)


def surveyed(model: Model) -> Survey:
    """A labelled survey over the images that a model's world has at hand; kept for the next time."""
    latents = [Wanted("latents", tuple(model.autoencoders))] if model.autoencoders else []
    groups = groups_of(model, [*default_units(model), *latents])
    last = range(model.tower.layers)[-_KEPT:]
    found = survey_of(model, open_source(str(model.world.images)), groups, held_out=0.2, keep=list(last))
    if not found.labelled:
        found.label(progress=False)
    return found


def _check_gradio() -> None:
    try:
        import gradio
    except ImportError as error:
        raise SummandError("the explorer needs gradio: pip install 'summand-clip[explore]'") from error
    major, minor, *_ = (int(number) for number in re.findall(r"\d+", gradio.__version__))
    if (major, minor) < _OLDEST:
        needed = ".".join(map(str, _OLDEST))
        raise SummandError(f"the explorer needs gradio {needed}, and {gradio.__version__} is installed; upgrade it")
