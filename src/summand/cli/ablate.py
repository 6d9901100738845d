"""`summand ablate`: what each kind of term is worth to zero-shot classification."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ..errors import SummandError, nearest
from .common import (
    BatchOption,
    DeviceOption,
    JsonOption,
    ModelOption,
    PretrainedOption,
    RandomOption,
    app,
    emit,
    escape,
    load_model,
    pool_for,
    stderr,
    wait,
    warn_of_strange,
)

_KINDS = ("mlps", "attention", "class-token", "second-order", "indirect", "sparse", "textspan", "pairs")
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
CountOption = Annotated[int | None, typer.Option("--count", "-n", min=1, help="Use at most this many images.")]
MeansOption = Annotated[
    str | None,
    typer.Option("--means", help="Images that the means are taken over; of a table all splits [default: DATA itself]."),
]


@app.command(
    epilog="Examples:\n\n"
    "  summand ablate scenes:count=500,seed=3 --classes shape\n\n"
    "  summand ablate scenes:count=500 --classes shape --what second-order,sparse --layers 3,4 --out neurons.png\n\n"
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
        typer.Option("--what", help=f"Some of {', '.join(_KINDS)} [default: what is cheap and the model has]."),
    ] = None,
    heads: Annotated[
        list[str] | None, typer.Option("--heads", help="A set of heads, such as 10.3,11.2; may be repeated.")
    ] = None,
    layers: Annotated[
        str | None,
        typer.Option("--layers", help="Layers for second-order and sparse [default: all, and the fourth last]."),
    ] = None,
    pools: Annotated[
        str | None, typer.Option("--pool", help="Pools of texts, random for random directions [default: fits, random].")
    ] = None,
    sizes: Annotated[str | None, typer.Option("--sizes", help="Texts a neuron or a head, such as 4,8,16,32.")] = None,
    keep: Annotated[str, typer.Option("--keep", help="Percentages of pairs to keep.")] = "1,2,5,10,20,50",
    means: MeansOption = None,
    count: CountOption = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Figure to write.")] = Path("ablation.png"),
    model: ModelOption = "scenes-vit",
    pretrained: PretrainedOption = None,
    batch_size: BatchOption = 64,
    random_init: RandomOption = False,
    device: DeviceOption = "cpu",
    as_json: JsonOption = False,
) -> None:
    """Mean-ablate one kind of term after the other and measure zero-shot accuracy each time."""
    from ..data import open_source
    from ..studies import figures
    from ..studies.ablation import ablate as measure
    from ..studies.ablation_figure import figure

    figures.check_format(out)
    kinds = _kinds(what)
    numbers: dict[str, Any] = {
        "heads": [parse_units(text) for text in heads or []],
        "layers": _numbers(layers, "--layers"),
        "sizes": _numbers(sizes, "--sizes", above=0),
        "keep": _numbers(keep, "--keep", float, above=0, most=100),
    }
    labelled = open_data(data, classes, count=count)
    reference = None if means is None else open_source(means, count)
    loaded = wait(f"loading {model}", lambda: load_model(model, pretrained, random_init, device))
    warn_of_strange(loaded, labelled.source, reference)
    families = _families(loaded, kinds, images=len(reference or labelled), pools=pools, **numbers)
    weights = wait("reading class names", lambda: text_classifier(loaded, data, labelled, classes, templates))
    progress = sys.stderr.isatty()
    made = measure(loaded, labelled, weights, families, means=reference, batch_size=batch_size, progress=progress)
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
        options = {"classes": classes, "templates": templates, "means": means, "what": kinds, "out": str(out)}
        options |= {"heads": heads, "layers": layers, "pool": pools, "sizes": sizes, "keep": keep, "count": count}
        options |= {"pretrained": pretrained, "random_init": random_init}
        emit(
            "ablate", loaded.name, labelled.source.label, options, rows, baseline=made.baseline, images=len(made.labels)
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
    console.print(f"[bold]{out.resolve()}[/]", soft_wrap=True)


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
    from ..studies.zeroshot import classifier, named_classes, read_templates, scenes_classes

    own = is_scenes_model(model)
    if own and is_scenes(data) and templates is None and classes is not None:
        return classifier(model, scenes_classes(classes))
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


def _kinds(what: str | None) -> list[str] | None:
    kinds = None if what is None else [kind.strip() for kind in what.split(",")]
    for kind in kinds or []:
        if kind not in _KINDS:
            raise SummandError(f"unknown ablation {kind!r}{nearest(kind, _KINDS)} (there are {', '.join(_KINDS)})")
    return kinds


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


_OF_NEURONS = ("second-order", "indirect", "sparse")


def _check_layers(model: Any, kinds: list[str], layers: list[int] | None) -> None:
    """MLPs are of a stream of tokens, and the last layer's have no attention behind them."""
    from ..towers.pool import PoolTower
    from ..towers.residual import ResidualTower

    asked = [kind for kind in kinds if kind in _OF_NEURONS]
    if isinstance(model.tower, PoolTower) and ("mlps" in kinds or asked):
        what = ", ".join(["mlps"] * ("mlps" in kinds) + asked)
        raise SummandError(
            f"{model.name} ends in an attention pool and has no MLPs: {what} cannot be ablated, pairs can"
        )
    if asked and not isinstance(model.tower, ResidualTower):
        raise SummandError(f"{', '.join(asked)} need the neurons of a plain transformer; {model.name} is none")
    if not asked:
        return
    last = model.tower.layers - (1 if asked == ["indirect"] else 2)
    wrong = [layer for layer in layers or [] if not 0 <= layer <= last]
    if wrong:
        raise SummandError(f"--layers: {', '.join(asked)} of {model.name} are of layers 0 to {last}, got {wrong}")


def _families(
    model: Any,
    kinds: list[str] | None,
    images: int,
    heads: list[list[tuple[int, int]]],
    layers: list[int] | None,
    pools: str | None,
    sizes: list[int] | None,
    keep: list[float] | None,
) -> list[Any]:
    """The ablations of a model; by default the direct ones, and pairs where it has them."""
    from ..studies.direct_ablations import AttentionUpTo, ClassToken, HeadSets, Mlps, Spans
    from ..studies.heatmap import default_pool
    from ..studies.neuron_ablations import Indirect, Pairs, SecondOrder, SparseSecondOrder
    from ..text.pools import pool, random_directions

    tower = model.tower
    pooled = "pool" in type(tower).__name__.lower()
    _check_layers(model, kinds or [], layers)
    if kinds is None:
        kinds = ["pairs"] if pooled else ["mlps", "attention", *(["class-token"] if tower.prefix else [])]
    texts = {}
    if "sparse" in kinds or "textspan" in kinds:
        for name in (pools or f"{default_pool(model)},random").split(","):
            texts[name] = (
                random_directions(3000, tower.embed).to(model.device)
                if name == "random"
                else model.encode_text(pool_for(model, pool(name)).texts, progress=sys.stderr.isatty())
            )
    families: list[Any] = []
    if heads:
        names = {f"heads {' '.join(f'{layer}.{head}' for layer, head in group)}": group for group in heads}
        families.append(HeadSets(model, names))
    for kind in kinds:
        if kind == "mlps":
            families.append(Mlps())
        elif kind == "class-token":
            families.append(ClassToken(model))
        elif kind == "attention":
            families.append(AttentionUpTo())
        elif kind == "second-order":
            families += [SecondOrder(layer, images) for layer in layers or range(tower.layers - 1)]
        elif kind == "indirect":
            families += [Indirect(layer) for layer in layers or range(tower.layers)]
        elif kind == "sparse":
            some = layers or [max(0, tower.layers - 4)]
            families += [SparseSecondOrder(layer, images, texts, sizes or [4, 8, 16, 32, 64, 128]) for layer in some]
        elif kind == "textspan":
            families.append(Spans(model, texts, sizes or [10, 20, 30, 40, 50, 60]))
        elif kind == "pairs":
            families += [Pairs(keep or [10]), Pairs(keep or [10], neurons=True)]
    return families
