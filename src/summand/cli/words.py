"""`summand words`: what each word of a text adds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from ..errors import SummandError
from .common import (
    ActivationOption,
    CheckpointOption,
    DeviceOption,
    JsonOption,
    ModelOption,
    PretrainedOption,
    RandomOption,
    app,
    emit,
    escape,
    open_model,
    read_picture,
    wait,
)


@app.command(
    epilog="Examples:\n\n"
    '  summand words "a red star on the left"\n\n'
    '  summand words "a red star on the left" --image scene.png\n\n'
    '  summand words "a dog on the grass" --versus "a cat" --model ViT-B-16 --pretrained laion2b_s34b_b88k --json'
)
def words(
    text: Annotated[str, typer.Argument(help="The text to take apart, in quotes.")],
    image: Annotated[Path | None, typer.Option("--image", "-i", help="Similarity with this picture.")] = None,
    versus: Annotated[
        str | None, typer.Option("--versus", help="Similarity with this text [default: the text itself].")
    ] = None,
    model: ModelOption = "scenes-vit",
    pretrained: PretrainedOption = None,
    checkpoint: CheckpointOption = None,
    activation: ActivationOption = None,
    random_init: RandomOption = False,
    device: DeviceOption = "cpu",
    as_json: JsonOption = False,
) -> None:
    """Show how much each word of a text adds to its similarity with a picture or another text."""
    from ..studies.words import words as make

    if image is not None and versus is not None:
        raise SummandError("compare the text with --image or with --versus, not with both")
    picture = None if image is None else read_picture(image)
    loaded = open_model(model, pretrained, random_init, device, None, checkpoint, activation)
    made = wait("taking the text apart", lambda: make(loaded, text, picture, versus))
    if as_json:
        rows = [
            {"word": word, "contribution": value} for word, value in zip(made.words, made.contributions, strict=True)
        ]
        options = {"text": text, "versus": versus, "random_init": random_init}
        data = None if image is None else str(image)
        more = {"other": made.other, "similarity": made.similarity, "residual": made.residual}
        emit("words", loaded.name, data, options, rows, **more)
        return
    other = {
        "the read-out token itself": made.other["embedding"],
        "the MLPs": made.other["mlps"],
        "constants": made.other["bias"],
    }
    values = [*zip(made.words, made.contributions, strict=True), *other.items()]
    limit = max(map(abs, made.contributions)) or 1.0
    table = Table(header_style="bold", caption_justify="left")
    table.add_column("word", no_wrap=True)
    table.add_column("adds", justify="right", no_wrap=True)
    table.add_column("       against │ for", no_wrap=True)
    for place, (name, value) in enumerate(values):
        word = place < len(made.words)
        bar = _signed_bar(value / limit) if word else ""
        end = place in (len(made.words) - 1, len(values) - 1)
        table.add_row(f"[{'bold' if word else 'dim'}]{escape(name)}[/]", f"{value:+.3f}", bar, end_section=end)
    table.add_row("cosine similarity", f"{made.similarity:+.3f}", "")
    Console(highlight=False).print(table)


def _signed_bar(share: float, half: int = 14) -> str:
    """A bar to the left (blue, against) or right (red, for) of the middle; share is in −1 … 1."""
    cells = round(abs(share) * half * 8)
    whole, rest = divmod(cells, 8)
    if share >= 0:
        bar = "█" * whole + (" ▏▎▍▌▋▊▉"[rest] if rest else "")
        return f"{' ' * (half + 1)}│[red]{bar}[/]"
    bar = ("▐" if rest >= 4 else "") + "█" * whole
    return f"{' ' * (half + 1 - len(bar))}[blue]{bar}[/]│"
