"""What every command shares: the app, its options, and how it prints."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ..errors import SummandError, SummandWarning
from .faults import Commands

app = typer.Typer(
    name="summand",
    cls=Commands,
    help="Take a CLIP image encoder apart exactly, and say in words and pictures what each part does.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
stderr = Console(stderr=True, highlight=False)
_NAMED = 5  # lines of a pool that are named when they cannot be read

ModelOption = Annotated[
    str, typer.Option("--model", "-m", help="scenes-vit, an open_clip name, hf-hub:org/name or local-dir:path.")
]
OwnModelOption = Annotated[
    str | None, typer.Option("--model", "-m", help="As in `atlas` [default: the run's own, else scenes-vit].")
]
ImagesOption = Annotated[
    str, typer.Option("--images", "-i", help="A folder, a csv/parquet of paths, or scenes[:key=value,…].")
]
PretrainedOption = Annotated[
    str | None, typer.Option("--pretrained", "-p", help="open_clip's tag of the weights, or a checkpoint file.")
]
CheckpointOption = Annotated[
    str | None,
    typer.Option(
        "--checkpoint", help="A file of fine-tuned weights; beside a tag, which says what they were fine-tuned from."
    ),
]
ActivationOption = Annotated[
    str | None,
    typer.Option("--activation", help="What a checkpoint computes, where no tag says it: gelu or quickgelu."),
]
RandomOption = Annotated[bool, typer.Option("--random-init", help="Random weights on purpose, to try things out.")]
DeviceOption = Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1, mps.")]
BatchOption = Annotated[int, typer.Option("--batch-size", min=1, help="Images a forward pass.")]
ImageSizeOption = Annotated[
    int | None, typer.Option("--image-size", min=1, help="Pixels a side, for finer maps [default: the model's own].")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One machine-readable result on stdout, nothing else there.")]


def escape(text: str) -> str:
    """Text as it is, where rich would read markup."""
    return text.replace("[", r"\[")


def read_picture(path: Path) -> Any:
    """The image of a file, or an error that names it."""
    from ..data.pictures import read_image

    try:
        return read_image(path)
    except OSError as error:
        raise SummandError(f"cannot read the image {path}: {error.strerror or error}") from error


def wide_console() -> Console:
    """As wide as the terminal; wide enough for one line a row where the output is not a terminal."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else 240)


def emit(
    command: str, model: str | None, data: str | None, options: dict[str, Any], rows: list[Any], **more: Any
) -> None:
    """The one schema of every machine-readable result."""
    print(json.dumps({"command": command, "model": model, "data": data, "options": options, "rows": rows, **more}))


def load_model(
    model: str,
    pretrained: str | None,
    random_init: bool,
    device: str,
    image_size: int | None = None,
    checkpoint: str | None = None,
    activation: str | None = None,
) -> Any:
    """`summand.load`, which says on stderr what it warns of, and where the weights are random."""
    from .. import load

    options: dict[str, Any] = {"image_size": image_size, "checkpoint": checkpoint, "activation": activation}
    with warnings_said():
        loaded = load(model, pretrained, random_init=random_init, device=device, **options)
    if loaded.random_weights:
        stderr.print(
            f"[bold yellow]warning:[/] the weights of {model} are RANDOM: what follows says nothing about images"
        )
    return loaded


def open_model(model: str, *options: Any) -> Any:
    """`load_model` behind a spinner on stderr."""
    return wait(f"loading {model}", lambda: load_model(model, *options))


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


def warn_of_strange(model: Any, *given: Any) -> str | None:
    """A loud warning where a scenes model is asked about photographs; what it says."""
    from ..studies.world import strange_pictures

    found = strange_pictures(model, *given)
    _loudly(found)
    return found


def warn_of_strange_run(run: Any) -> None:
    """The same for a run."""
    from ..studies.world import strange_run

    _loudly(strange_run(run))


def _loudly(warning: str | None) -> None:
    if warning is not None:
        stderr.print(f"[bold white on red] WARNING [/] {escape(warning)}", soft_wrap=True)


def pool_for(model: Any, chosen: Any) -> Any:
    """A description pool without the lines that the model cannot read, which are named on stderr."""
    from ..models.readable import readable

    kept, left = readable(chosen, model._tokenizer)
    for item in left[:_NAMED]:
        reason = item.reason if len(item.reason) <= 200 else f"{item.reason[:197]}..."
        stderr.print(f"[yellow]skipped[/] {escape(chosen.name)}, line {item.line}: {escape(reason)}", soft_wrap=True)
    if left:
        stderr.print(
            f"[yellow]{len(left)} of {len(chosen.texts):,} descriptions of {escape(chosen.name)} were skipped[/]"
        )
    return kept


def wait(text: str, work: Callable[[], Any]) -> Any:
    """Do something slow behind a spinner on stderr."""
    with stderr.status(text):
        return work()
