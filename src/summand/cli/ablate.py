"""`summand ablate`: what each kind of term is worth to zero-shot classification."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ..errors import SummandError
from .common import (
    ActivationOption,
    BatchOption,
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
    stderr,
    wait,
    warn_of_strange,
)

_KINDS = "mlps, attention, class-token, second-order, indirect, sparse, textspan, pairs, reconstruction, registers"
ClassesOption = Annotated[
    str | None,
    typer.Option(
        "--classes",
        help="imagenet, a text file with a name a line, or names with commas between them, in the order of the sorted "
        "folders; on scenes the attribute that is the class [default: the folders' names].",
    ),
]
TemplatesOption = Annotated[
    str | None,
    typer.Option("--templates", help="openai (80), simple (7), a text file, or one such as 'a photo of {}'."),
]
LabelOption = Annotated[str | None, typer.Option("--label-column", help="The column of the labels.")]
CountOption = Annotated[int | None, typer.Option("--count", "-n", min=1, help="Use at most this many images.")]
MeansOption = Annotated[
    str | None,
    typer.Option("--means", help="Images that the means are taken over; of a table all splits [default: DATA itself]."),
]


@app.command(
    epilog="Examples:\n\n"
    "  summand ablate scenes:count=500,seed=3 --classes shape\n\n"
    "  summand ablate scenes:count=500 --classes shape --what second-order,sparse --layers 3,4 --out neurons.png\n\n"
    "  summand ablate birds.csv --label-column species --model ViT-B-16 --pretrained openai\n\n"
    "  summand ablate imagenet/val --classes imagenet --means imagenet/train --model ViT-B-16 "
    "--pretrained laion2b_s34b_b88k --heads 10.3,11.2 --json"
)
def ablate(
    data: Annotated[
        str, typer.Argument(help="A folder with one sub-folder a class, a csv with labels, or scenes[:…].")
    ],
    classes: ClassesOption = None,
    templates: TemplatesOption = None,
    what: Annotated[
        str | None,
        typer.Option(
            "--what",
            help=f"Some of {_KINDS}; class-token+mlps for both at the same time "
            "[default: what is cheap and the model has].",
        ),
    ] = None,
    heads: Annotated[
        list[str] | None, typer.Option("--heads", help="A set of heads, such as 10.3,11.2; may be repeated.")
    ] = None,
    layers: Annotated[
        str | None,
        typer.Option(
            "--layers",
            help="Of second-order, indirect, reconstruction and sparse [default: all; of sparse the fourth last].",
        ),
    ] = None,
    pools: Annotated[
        str | None,
        typer.Option(
            "--pool",
            help="Of sparse and textspan: pools of texts, random[:COUNT] for random directions, gaussian[:COUNT] for "
            "paper C's random vectors [default: fits, random].",
        ),
    ] = None,
    sizes: Annotated[
        str | None, typer.Option("--sizes", help="Texts a neuron, pair or head, such as 4,8,16,32.")
    ] = None,
    keep: Annotated[str, typer.Option("--keep", help="Percentages of pairs to keep.")] = "1,2,5,10,20,50",
    components: Annotated[
        str, typer.Option("--components", help="Of reconstruction: principal components a unit.")
    ] = "1,2,4",
    variance: Annotated[
        int | None,
        typer.Option(
            "--variance",
            min=1,
            help="Also how much the first principal component explains (paper A, Table 1), of so many neurons of each "
            "layer: of second-order and indirect, or an attention pool's (a pass for each image and indirect neuron).",
        ),
    ] = None,
    means: MeansOption = None,
    label: LabelOption = None,
    count: CountOption = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Figure to write.")] = Path("ablation.png"),
    model: ModelOption = "scenes-vit",
    pretrained: PretrainedOption = None,
    checkpoint: CheckpointOption = None,
    activation: ActivationOption = None,
    batch_size: BatchOption = 64,
    random_init: RandomOption = False,
    device: DeviceOption = "cpu",
    as_json: JsonOption = False,
) -> None:
    """Mean-ablate one kind of term after the other and measure zero-shot accuracy each time."""
    from ..data import open_source
    from ..report import figures
    from ..report.ablation import figure
    from ..studies.ablation.kinds import families, read_kinds, with_components
    from ..studies.ablation.run import ablate as measure
    from ..studies.ablation.variance import explained

    figures.check_format(out)
    kinds = read_kinds(what)
    numbers: dict[str, Any] = {
        "heads": [parse_units(text) for text in heads or []],
        "layers": _numbers(layers, "--layers"),
        "sizes": _numbers(sizes, "--sizes", above=0),
        "keep": _numbers(keep, "--keep", float, above=0, most=100),
        "components": _numbers(components, "--components", above=0),
    }
    labelled = open_data(data, classes, label_column=label, count=count)
    reference = None if means is None else open_source(means, count)
    loaded = open_model(model, pretrained, random_init, device, None, checkpoint, activation)
    warn_of_strange(loaded, labelled.source, reference)
    progress = sys.stderr.isatty()
    chosen = families(loaded, kinds, images=len(reference or labelled), pools=pools, **numbers, progress=progress)
    measured = with_components(loaded, kinds, numbers["layers"]) if variance is not None else []
    weights = wait("reading class names", lambda: text_classifier(loaded, data, labelled, classes, templates))
    made = measure(loaded, labelled, weights, chosen, means=reference, batch_size=batch_size, progress=progress)
    reading = {"batch_size": batch_size, "progress": progress}
    shares = [explained(loaded, reference or labelled.source, *asked, variance, **reading) for asked in measured]
    figures.save(figure(made, f"{loaded.name} on {labelled.source.label}"), out)
    for item in made.skipped:
        stderr.print(f"[yellow]skipped[/] {escape(item.name)}: {escape(item.reason)}")
    if as_json:
        rows = [
            {
                "ablation": row.version.name,
                "family": row.version.family,
                "series": row.version.series,
                "x": row.version.x,
                "accuracy": row.accuracy,
                "drop": row.drop,
            }
            for row in made.rows
        ]
        asked = None if kinds is None else ["+".join(group) for group in kinds]
        options = {"classes": classes, "templates": templates, "means": means, "what": asked, "out": str(out)}
        options |= {"heads": heads, "layers": layers, "pool": pools, "sizes": sizes, "keep": keep, "count": count}
        options |= {"components": components, "variance": variance, "label_column": label}
        options |= {"pretrained": pretrained, "random_init": random_init}
        options |= {"checkpoint": checkpoint, "activation": activation}
        emit(
            "ablate",
            loaded.name,
            labelled.source.label,
            options,
            rows,
            baseline=made.baseline,
            images=len(made.labels),
            variance=[share.row() for share in shares],
        )
        return
    table = Table(
        title=f"Zero-shot accuracy of {loaded.name}, {len(made.labels)} images, {len(labelled.classes)} classes",
        title_justify="left",
        header_style="bold",
    )
    table.add_column("replaced by the mean")
    table.add_column("accuracy", justify="right", no_wrap=True)
    table.add_column("change", justify="right", no_wrap=True)
    table.add_row("nothing", f"{100 * made.baseline:.1f} %", "", style="bold", end_section=True)
    for place, row in enumerate(made.rows):
        last = place + 1 == len(made.rows) or made.rows[place + 1].version.family != row.version.family
        values = (escape(row.version.name), f"{100 * row.accuracy:.1f} %", f"{-100 * row.drop:+.1f}")
        table.add_row(*values, end_section=last)
    console = Console(highlight=False)
    console.print(table)
    if shares:
        console.print(_variance(shares))
    console.print(f"[bold]{out.resolve()}[/]", soft_wrap=True)


def _variance(shares: list[Any]) -> Table:
    title = "Variance that the first principal component explains, mean over units"
    table = Table(title=title, title_justify="left", header_style="bold")
    for name in ("effects", "layer", "units", "of the largest", "of all images"):
        table.add_column(name, justify="left" if name == "effects" else "right", no_wrap=True)
    for row in (share.row() for share in shares):
        percent = (f"{100 * row[key]:.1f} %" for key in ("largest", "everywhere"))
        layer = "" if row["layer"] is None else str(row["layer"])
        table.add_row(row["effects"], layer, str(row["units"]), *percent)
    return table


def open_data(data: str, classes: str | None, **more: Any) -> Any:
    """Labelled images; class names read first, so that what is wrong with them is said before anything is loaded."""
    from ..data.labelled import open_labelled
    from ..scenes.source import is_scenes
    from ..studies.zeroshot import read_names

    if is_scenes(data):
        return open_labelled(data, classes, **more)
    return open_labelled(data, None if classes is None else read_names(classes), **more)


def text_classifier(model: Any, data: str, labelled: Any, classes: str | None, templates: str | None) -> Any:
    from ..scenes.pretrained import is_scenes_model
    from ..scenes.source import is_scenes
    from ..studies.zeroshot import attribute_classes, classifier, named_classes, read_templates

    own = is_scenes_model(model)
    if own and is_scenes(data) and templates is None and classes is not None:
        return classifier(model, attribute_classes(model.world, classes))
    return classifier(model, named_classes(labelled.classes, read_templates(templates, model)))


def parse_units(text: str) -> list[tuple[int, int]]:
    """`10.3,11.2` → [(10, 3), (11, 2)]: heads, or neurons, by layer."""
    found = []
    for piece in text.replace(" ", "").split(","):
        layer, dot, head = piece.partition(".")
        if not (dot and layer.isdigit() and head.isdigit()):
            raise SummandError(f"expected layer.head (or layer.neuron) such as 10.3,11.2, got {piece!r}")
        found.append((int(layer), int(head)))
    return found


def _numbers(
    text: str | None, option: str, kind: type = int, above: float = -1, most: float = float("inf")
) -> list[Any] | None:
    try:
        found = None if text is None else [kind(piece) for piece in text.split(",")]
    except ValueError:
        raise SummandError(f"{option} takes numbers with commas between them, got {text!r}") from None
    wrong = [number for number in found or [] if not above < number <= most]
    if wrong:
        limits = "from 0 on" if above < 0 else f"above {above}" + f" and up to {most}" * (most < float("inf"))
        raise SummandError(f"{option} takes numbers {limits}, got {wrong}")
    return found
