"""Models and images as commands are given them, with what must be said on stderr."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import SummandError, SummandWarning
from .console import escape, stderr
from .options import LoadOptions, OwnModelOptions

_OTHERS = ("checkpoint", "activation", "precision", "image_size", "ablation", "steer", "sae", "random_init")


def load(chosen: LoadOptions, given: tuple[Any, ...] = ()) -> Any:
    """The model of these options, on the device that `auto` finds."""
    from .. import load as load_model

    options = {name: getattr(chosen, name) for name in ("device", *_OTHERS)}
    with warnings_said():
        model = wait(f"loading {chosen.model}", lambda: load_model(chosen.model, chosen.pretrained, **options))
    warn(model, *given)
    return model


def load_own(chosen: OwnModelOptions, given: tuple[Any, ...]) -> Any:
    """The model of these options; where none is named, that of the first survey given, else the usual one."""
    from ..studies.given import Given

    sources = tuple(one.source if isinstance(one, Given) else one for one in given)
    own = next((one for one in given if isinstance(one, Given) and one.run is not None), None)
    if chosen.model is not None or own is None:
        return load(replace(chosen, model=chosen.model or chosen.USUAL), sources)
    if asked := [f"--{name.replace('_', '-')}" for name in ("pretrained", *_OTHERS) if getattr(chosen, name)]:
        raise SummandError(f"{own.name} is a run of its own model; {asked[0]} needs --model")
    assert own.run is not None
    run = own.run
    with warnings_said():
        model = wait("loading the run's model", lambda: run.load_model(chosen.device))
    warn(model, *sources)
    return model


def images_of(given: str | None, count: int | None) -> Any:
    """Images, or the survey of some, as they were given."""
    from ..studies.given import images_of

    return None if given is None else images_of(given, count)


def picture_of(given: Path) -> Any:
    """The picture, read."""
    from ..data.pictures import as_picture

    return as_picture(given)


def warn(model: Any, *given: Any) -> str | None:
    """Say on stderr that weights are random, or that a scenes model is asked about photographs; what was said."""
    from ..studies.world import strange_pictures

    if model.random_weights:
        said = f"the weights of {model.name} are RANDOM: what follows says nothing about images"
        stderr.print(f"[bold yellow]warning:[/] {escape(said)}", soft_wrap=True)
    found = strange_pictures(model, *given) if given else None
    _loudly(found)
    return found


@contextmanager
def warnings_said() -> Iterator[None]:
    """Warnings of ours as lines for people on stderr; those of others as ever."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always", SummandWarning)
        yield
    for one in found:
        if issubclass(one.category, SummandWarning):
            stderr.print(f"[bold yellow]warning:[/] {escape(str(one.message))}", soft_wrap=True)
        else:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)


def wait(text: str, work: Callable[[], Any]) -> Any:
    """Do something slow behind a spinner on stderr."""
    with stderr.status(text):
        return work()


def surveyed(folder: str) -> Any:
    """The survey in a folder; warns on stderr where a scenes model was shown photographs."""
    from ..studies.world import strange_run
    from ..survey import open_survey

    found = open_survey(folder)
    _loudly(strange_run(found))
    return found


def opened(folder: str, name: str, pool: str | None) -> tuple[Any, Any]:
    """A survey and its model, once the pool is known to be one."""
    from ..text.pools import pool as read_pool

    found = surveyed(folder)
    if pool is not None:
        read_pool(pool)
    with warnings_said():
        return found, wait(f"loading {found.manifest.model}", lambda: found.load_model(name))


def _loudly(said: str | None) -> None:
    if said is not None:
        stderr.print(f"[bold white on red] WARNING [/] {escape(said)}", soft_wrap=True)
