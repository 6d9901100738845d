"""Where a command's images and model come from: a source, or a run that remembers both."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import SummandError
from .common import load_model, wait, warnings_said
from .loading import device
from .options import ModelOptions


@dataclass(frozen=True)
class Images:
    """Images as a command was given them. run: None where they are no run folder."""

    given: str
    source: Any
    run: Any


def open_images(given: str, count: int | None = None) -> Images:
    """The images of a run folder that `summand decompose` wrote, or of an image source."""
    from ..data import open_source
    from ..survey import open_run
    from ..survey.manifest import FILE

    if (Path(given).expanduser() / FILE).is_file():
        run = open_run(given)
        if count is not None:
            raise SummandError(f"{given} is a run, which has its own images; leave out --count")
        return Images(given, run.source(), run)
    return Images(given, open_source(given, count), None)


def model_for(
    images: Images,
    model: str | None,
    pretrained: str | None,
    random_init: bool,
    device: str,
    checkpoint: str | None = None,
    activation: str | None = None,
) -> Any:
    """The model that was asked for; else the run's own; else scenes-vit."""
    if model is None and images.run is not None:
        options = {"--pretrained": pretrained, "--checkpoint": checkpoint, "--activation": activation}
        options |= {"--random-init": random_init}
        if given := [option for option, value in options.items() if value]:
            raise SummandError(f"{images.given} is a run of its own model; {given[0]} needs --model")
        with warnings_said():
            return wait("loading the run's model", lambda: images.run.load_model(device))
    name = model or "scenes-vit"
    options = {"checkpoint": checkpoint, "activation": activation}
    return wait(f"loading {name}", lambda: load_model(name, pretrained, random_init, device, **options))


def seen(given: str, count: int | None, chosen: ModelOptions) -> tuple[Any, Any]:
    """The images of a source or of a run folder, and the model: a run's own unless another is named."""
    opened = open_images(given, count)
    if opened.run is None or replace(chosen, device="auto") != ModelOptions():
        return opened.source, chosen.load(opened.source)
    with warnings_said():
        return opened.source, wait("loading the run's model", lambda: opened.run.load_model(device(chosen.device)))
