"""`summand.open`: the survey in a folder."""

from __future__ import annotations

from pathlib import Path

from ..arguments import names_wrong_arguments
from ..errors import SummandError
from ..models import Model
from .manifest import Manifest
from .shelf import Folder
from .survey import Survey


@names_wrong_arguments
def open_survey(path: str | Path, model: Model | None = None) -> Survey:
    """The survey in a folder. model: a wrapped one, which cannot be loaded again by name.

    Raises `SummandError` for a folder that is no survey, and for one that was not finished, with the command that goes
    on with it.
    """
    path = Path(path).expanduser()
    manifest = Manifest.read(path)
    if not manifest.complete:
        done = f"{manifest.passed:,} of {manifest.planned:,}" if manifest.planned else "none"
        raise SummandError(
            f"{path} is not finished ({done} image passes are done); this goes on with it: {manifest.command(path)}"
        )
    found = Survey(Folder(path), manifest, model)
    if model is not None:
        found.check_model(model)
    return found
