"""The command line: parse, call, print."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from . import __version__
from .errors import SummandError

app = typer.Typer(
    name="summand",
    help="Take a CLIP image encoder apart exactly, and say in words and pictures what each part does.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
_err = Console(stderr=True, highlight=False)

ModelOption = Annotated[
    str, typer.Option("--model", "-m", help="scenes-vit, an open_clip name, hf-hub:org/name or local-dir:path.")
]
PretrainedOption = Annotated[
    str | None, typer.Option("--pretrained", "-p", help="open_clip's tag of the weights, or a checkpoint file.")
]
RandomOption = Annotated[bool, typer.Option("--random-init", help="Random weights on purpose, to try things out.")]
DeviceOption = Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1, mps.")]
BatchOption = Annotated[int, typer.Option("--batch-size", min=1, help="Images a forward pass.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One machine-readable result on stdout, nothing else there.")]


def main() -> None:
    """Run the command line: 0 on success, 2 on bad usage or input, 130 when interrupted."""
    try:
        app(standalone_mode=True)
    except SummandError as error:
        _err.print(f"[bold red]error:[/] {_escape(str(error))}", soft_wrap=True)
        sys.exit(2)
    except KeyboardInterrupt:
        _err.print("interrupted")
        sys.exit(130)


def _escape(text: str) -> str:
    return text.replace("[", r"\[")


def _picture(path: Path) -> Any:
    """The image of a file, or an error that names it."""
    from .data.sources import read_image

    try:
        return read_image(path)
    except OSError as error:
        raise SummandError(f"cannot read the image {path}: {error.strerror or error}") from error


def _wide_console() -> Console:
    """As wide as the terminal; wide enough for one line a row where the output is not a terminal."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else 240)


def _version(value: bool) -> None:
    if value:
        print(f"summand {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    pass


def _emit(
    command: str, model: str | None, data: str | None, options: dict[str, Any], rows: list[Any], **more: Any
) -> None:
    """The one schema of every machine-readable result."""
    print(json.dumps({"command": command, "model": model, "data": data, "options": options, "rows": rows, **more}))


def _load(model: str, pretrained: str | None, random_init: bool, device: str) -> Any:
    from . import load

    loaded = load(model, pretrained, random_init=random_init, device=device)
    if loaded.random_weights:
        _err.print(
            f"[bold yellow]warning:[/] the weights of {model} are RANDOM: what follows says nothing about images"
        )
    return loaded


def _wait(text: str, work: Callable[[], Any]) -> Any:
    """Do something slow behind a spinner on stderr."""
    with _err.status(text):
        return work()


@app.command(
    epilog="Examples:\n\n"
    "  summand atlas\n\n"
    "  summand atlas --images photos/ --model ViT-B-16 --pretrained laion2b_s34b_b88k --out b16\n\n"
    "  summand atlas --images scenes:count=5000,seed=3 --json"
)
def atlas(
    model: ModelOption = "scenes-vit",
    pretrained: PretrainedOption = None,
    images: Annotated[
        str, typer.Option("--images", "-i", help="A folder, a csv/parquet of paths, or scenes[:key=value,…].")
    ] = "scenes",
    count: Annotated[
        int | None,
        typer.Option("--count", "-n", help="Use at most this many images [default: 2000 scenes, all files]."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the site.")] = Path("atlas"),
    texts: Annotated[
        str | None, typer.Option("--pool", help="Description pool: a name or a text file [default: fits the model].")
    ] = None,
    layers: Annotated[int, typer.Option("--layers", min=1, help="How many of the last layers get a page a head.")] = 4,
    size: Annotated[int, typer.Option("--size", min=1, help="Texts a head.")] = 10,
    batch_size: BatchOption = 64,
    random_init: RandomOption = False,
    device: DeviceOption = "cpu",
    as_json: JsonOption = False,
) -> None:
    """Label every head of the last layers and build a site that shows what each one sees, and where.

    The site is a folder of plain files: open its index.html, no server needed.
    """
    from .atlas import build
    from .atlas.build import check_folder
    from .data import open_source
    from .studies.heatmap import default_pool
    from .text.pools import pool

    source = open_source(images, count)
    chosen = pool(texts) if texts else None
    check_folder(out)
    loaded = _wait(f"loading {model}", lambda: _load(model, pretrained, random_init, device))
    chosen = chosen or pool(default_pool(loaded))
    made = build(
        loaded, source, out, pool=chosen, layers=layers, size=size, batch_size=batch_size, progress=sys.stderr.isatty()
    )
    rows = [
        {
            "layer": label.layer,
            "head": label.head,
            "importance": round(label.importance, 5),
            "attribute": label.attribute if default_pool(loaded) == "scenes" else None,
            "texts": list(label.texts),
            "explained": [round(share, 4) for share in label.explained],
        }
        for label in made.labels
    ]
    for item in made.skipped:
        _err.print(f"[yellow]skipped[/] {_escape(item.name)}: {_escape(item.reason)}")
    if as_json:
        options = {
            "pool": chosen.name,
            "layers": layers,
            "size": size,
            "count": made.images,
            "random_init": random_init,
        }
        skipped = [{"name": item.name, "reason": item.reason} for item in made.skipped]
        _emit(
            "atlas",
            loaded.name,
            source.label,
            options,
            rows,
            page=str(made.page),
            residual=made.residual,
            skipped=skipped,
        )
        return
    _heads_table(made.labels, default_pool(loaded) == "scenes")
    left_out = f", {len(made.skipped)} skipped" if made.skipped else ""
    console = Console(highlight=False)
    console.print(
        f"{made.images} images{left_out} in {made.seconds:.0f} s; the parts add up to the whole to {made.residual:.0e}"
    )
    if loaded.random_weights:
        console.print("[bold yellow]The weights are RANDOM: these labels mean nothing.[/]")
    console.print(f"[bold]{made.page.resolve()}[/]", soft_wrap=True)


def _heads_table(labels: list[Any], scenes: bool) -> None:
    table = Table(
        title="What each head of the last layers writes", title_justify="left", header_style="bold", expand=True
    )
    table.add_column("head", no_wrap=True)
    table.add_column("importance", justify="right", no_wrap=True)
    if scenes:
        table.add_column("sees", style="bold", no_wrap=True)
    table.add_column("first texts", overflow="ellipsis", no_wrap=True, ratio=1)
    table.add_column("explained", justify="right", no_wrap=True)
    for label in sorted(labels, key=lambda label: -label.importance):
        seen = [label.attribute or ""] if scenes else []
        table.add_row(
            label.name,
            f"{100 * label.importance:.1f} %",
            *seen,
            " · ".join(label.texts[:3]),
            f"{100 * label.explained[-1]:.0f} %",
        )
    Console(highlight=False).print(table)


@app.command(
    epilog="Examples:\n\n"
    '  summand heatmap scene.png "a star" --out star.png\n\n'
    '  summand heatmap scene.png "a red star" --versus "a blue ring"\n\n'
    '  summand heatmap dog.jpg "a dog" "grass" --model ViT-B-16 --pretrained laion2b_s34b_b88k'
)
def heatmap(
    image: Annotated[Path, typer.Argument(help="The picture.")],
    texts: Annotated[list[str], typer.Argument(metavar="TEXT...", help="One or several texts, in quotes.")],
    versus: Annotated[str | None, typer.Option("--versus", help="Compare the one text with this one.")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Picture to write.")] = Path("heatmap.png"),
    array: Annotated[
        Path | None, typer.Option("--array", help="Also write the maps [text, height, width] as .npy.")
    ] = None,
    model: ModelOption = "scenes-vit",
    pretrained: PretrainedOption = None,
    random_init: RandomOption = False,
    device: DeviceOption = "cpu",
    as_json: JsonOption = False,
) -> None:
    """Show which parts of a picture speak for a text, and which against it."""
    import numpy as np

    from .studies.heatmap import heatmap as make

    picture = _picture(image)
    loaded = _wait(f"loading {model}", lambda: _load(model, pretrained, random_init, device))
    maps = _wait("taking the image apart", lambda: make(loaded, picture, texts, versus=versus))
    maps.save(out)
    if array is not None:
        np.save(array, maps.upsampled())
    rows = [
        {"text": text, "sum": float(grid.sum()), "max": float(grid.max()), "min": float(grid.min())}
        for text, grid in zip(maps.texts, maps.grid, strict=True)
    ]
    if as_json:
        _emit("heatmap", loaded.name, str(image), {"versus": versus, "out": str(out)}, rows, grid=maps.grid.tolist())
    else:
        Console(highlight=False).print(f"[bold]{out.resolve()}[/]", soft_wrap=True)


@app.command(
    epilog="Examples:\n\n"
    "  summand scenes --count 64 --seed 1 --out sheet.png\n\n"
    "  summand scenes --count 500 --groups 2 --out folder/\n\n"
    '  summand scenes --text "two red stars and a blue ring in the snow" --count 8 --out stars.png'
)
def scenes(
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many scenes.")] = 64,
    seed: Annotated[int, typer.Option("--seed", help="The same seed draws the same scenes.")] = 0,
    out: Annotated[Path, typer.Option("--out", "-o", help="A .png for a contact sheet, or a folder for files.")] = Path(
        "scenes.png"
    ),
    groups: Annotated[int, typer.Option("--groups", min=1, max=2, help="Groups of objects a scene.")] = 1,
    shift: Annotated[
        list[str] | None, typer.Option("--shift", help="attribute/value/share, as in place/sea/0.3.")
    ] = None,
    tie: Annotated[list[str] | None, typer.Option("--tie", help="cause/effect/share, as in shape/place/0.95.")] = None,
    text: Annotated[str | None, typer.Option("--text", help="Draw the described scene.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Draw scenes with known causes: a contact sheet, or a folder with masks and attributes.csv."""
    from . import scenes as world

    if text is not None:
        drawn = world.describe(text, count, seed)
    else:
        options = [f"count={count}", f"seed={seed}", f"groups={groups}"]
        options += [f"shift={item}" for item in shift or []] + [f"tie={item}" for item in tie or []]
        drawn = world.parse_source("scenes:" + ",".join(options)).sample()
    if out.suffix.lower() == ".png":
        try:
            world.contact_sheet(drawn.images).save(out)
        except OSError as error:
            raise SummandError(f"cannot write {out}: {error.strerror or error}") from error
    else:
        world.write_folder(drawn, out)
    if as_json:
        rows = json.loads(drawn.attributes.to_json(orient="records"))
        _emit("scenes", None, text, {"count": count, "seed": seed, "groups": groups, "out": str(out)}, rows)
    else:
        Console(highlight=False).print(f"[bold]{out.resolve()}[/]", soft_wrap=True)


@app.command(epilog="Examples:\n\n  summand pools\n\n  summand pools general | head")
def pools(
    name: Annotated[str | None, typer.Argument(help="Print the texts of this pool.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the description pools, or the texts of one."""
    from .text.pools import names, pool

    if name is not None:
        found = pool(name)
        if as_json:
            _emit("pools", None, name, {}, list(found.texts))
        else:
            sys.stdout.write("\n".join(found.texts) + "\n")
        return
    if as_json:
        _emit("pools", None, None, {}, [{"name": key, "about": about} for key, about in names().items()])
        return
    table = Table(header_style="bold")
    table.add_column("pool", style="bold")
    table.add_column("what is in it")
    for key, about in names().items():
        table.add_row(key, about)
    Console(highlight=False).print(table)


@app.command(epilog="Examples:\n\n  summand models\n\n  summand models --json")
def models(as_json: JsonOption = False) -> None:
    """List every model by name, with its image tower, the terms of its sum, and whether the sum is exact."""
    from .loading import catalogue

    rows = catalogue()
    if as_json:
        _emit("models", None, None, {}, rows)
        return
    table = Table(header_style="bold", box=None, pad_edge=False)
    table.add_column("model", no_wrap=True)
    table.add_column("weights", justify="right")
    table.add_column("image tower")
    table.add_column("exact", no_wrap=True)
    table.add_column("terms, or why not", overflow="fold")
    for row in rows:
        verdict = "[green]exact[/]" if row["exact"] else "[yellow]no[/]"
        about = " + ".join(row["terms"]) if row["exact"] else f"no: {_escape(row['reason'])}"
        table.add_row(row["model"], str(row["tags"]), row["tower"], verdict, about)
    _wide_console().print(table)
    exact = sum(row["exact"] for row in rows)
    _err.print(
        f"{exact} of {len(rows)} models can be taken apart exactly; weights: how many trained sets there are",
        soft_wrap=True,
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
    random_init: RandomOption = False,
    device: DeviceOption = "cpu",
    as_json: JsonOption = False,
) -> None:
    """Show how much each word of a text adds to its similarity with a picture or another text."""
    from .studies.words import words as make

    if image is not None and versus is not None:
        raise SummandError("compare the text with --image or with --versus, not with both")
    picture = None if image is None else _picture(image)
    loaded = _wait(f"loading {model}", lambda: _load(model, pretrained, random_init, device))
    made = _wait("taking the text apart", lambda: make(loaded, text, picture, versus))
    if as_json:
        rows = [
            {"word": word, "contribution": value} for word, value in zip(made.words, made.contributions, strict=True)
        ]
        options = {"text": text, "versus": versus, "random_init": random_init}
        data = None if image is None else str(image)
        more = {"other": made.other, "similarity": made.similarity, "residual": made.residual}
        _emit("words", loaded.name, data, options, rows, **more)
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
        table.add_row(f"[{'bold' if word else 'dim'}]{_escape(name)}[/]", f"{value:+.3f}", bar, end_section=end)
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
