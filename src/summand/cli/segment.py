"""`summand segment`: how well maps of texts cover what they name."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from ..errors import SummandError
from .common import (
    ActivationOption,
    BatchOption,
    CheckpointOption,
    DeviceOption,
    ImageSizeOption,
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
    wide_console,
)


@app.command(
    epilog="Examples:\n\n"
    "  summand segment scenes:groups=2,count=200 --methods all --out segments\n\n"
    "  summand segment scenes:groups=2 --by shape --model scenes-rn\n\n"
    "  summand segment scenes:groups=2,count=100 --methods decomposition,chefer,random --perturbation\n\n"
    "  summand segment gtsegs_ijcv.mat --protocol paper --model ViT-B-32 --pretrained openai --reference photos/\n\n"
    "  summand segment context59:VOCdevkit/VOC2010 --fit windows --methods pairs --model RN50x16 --pretrained openai"
)
def segment(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="scenes[:…], gtsegs_ijcv.mat, FORMAT:PATH (voc2012, context59, ade20k, coco-panoptic, coco-stuff), or "
            "a folder with images/, masks/ and classes.txt.",
        ),
    ],
    methods: Annotated[
        str | None, typer.Option("--methods", help="all, or names with commas between [default: Summand's own].")
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option("--protocol", help="paper: predicted class, published methods, cropped image, stretched mask."),
    ] = None,
    asked: Annotated[str | None, typer.Option("--class", help="Draw the map of the true or predicted class.")] = None,
    fit: Annotated[str | None, typer.Option("--fit", help="crop, stretch, mismatch or windows.")] = None,
    threshold: Annotated[str | None, typer.Option("--threshold", help="A number from 0 to 1, or mean.")] = None,
    by: Annotated[
        str | None, typer.Option("--by", help="Scenes: all values of shape, colour or texture as classes.")
    ] = None,
    count: Annotated[int | None, typer.Option("--count", min=1, help="Use at most so many pictures.")] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            "--reference",
            help="Images to learn directions of neurons (published: pairs too) from [default: scenes, or DATA].",
        ),
    ] = None,
    neurons: Annotated[
        int | None, typer.Option("--neurons", min=1, help="Of neuron maps: how many a text is drawn by [default: 200].")
    ] = None,
    layers: Annotated[
        str | None, typer.Option("--layers", help="Of the neurons, such as 8-10 [default: as chosen on scenes].")
    ] = None,
    weighting: Annotated[
        str | None,
        typer.Option("--weighting", help="Of the neurons: mean (published), signed or weighted [default: weighted]."),
    ] = None,
    perturbation: Annotated[
        bool,
        typer.Option("--perturbation", help="Also take away and put back patches in a map's order (slow; no masks)."),
    ] = False,
    contrast: Annotated[
        bool | None,
        typer.Option("--contrast/--no-contrast", help="Take the mean text from each [default: as chosen on scenes]."),
    ] = None,
    shape: Annotated[
        str | None, typer.Option("--shape", help="signed, clipped or root [default: as chosen on scenes].")
    ] = None,
    image_size: ImageSizeOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for per_image.parquet and examples.png.")
    ] = None,
    examples: Annotated[int, typer.Option("--examples", min=0, help="Pictures in examples.png.")] = 6,
    model: ModelOption = "scenes-vit",
    pretrained: PretrainedOption = None,
    checkpoint: CheckpointOption = None,
    activation: ActivationOption = None,
    random_init: RandomOption = False,
    device: DeviceOption = "cpu",
    batch_size: BatchOption = 32,
    as_json: JsonOption = False,
) -> None:
    """Segment a data set by maps of its class names, and score every method under one stated protocol."""
    from ..data.masks import open_masks
    from ..studies import segmentation as study
    from ..studies.perturbation import PerturbationOptions

    chosen = _protocol(study.Protocol, protocol, asked, fit, threshold)
    source = open_masks(data, count, by)
    if protocol == "paper" and not source.figures and source.background is None:
        chosen = replace(chosen, asked=asked or "true", fit=fit or "windows")  # paper B's; A and C have figures
    if shape not in (None, "signed", "clipped", "root"):
        raise SummandError(f"--shape must be signed, clipped or root, got {shape!r}")
    if out is not None:
        _check_out(out)
    loaded = open_model(model, pretrained, random_init, device, image_size, checkpoint, activation)
    warn_of_strange(loaded, source)
    wanted = [name.strip() for name in (methods or "").split(",") if name.strip()]
    wanted = study.default_methods(loaded, chosen.paper) if methods is None else wanted
    names, refused = study.choose(loaded, wanted)
    drawn = _neurons(names, neurons, layers, weighting)
    learnt = _reference(study, loaded, source, reference) if study.needs_reference(names, chosen.paper) else None
    ready = [
        wait(f"preparing {name}", lambda name=name: study.prepare(loaded, name, learnt, chosen.paper, **drawn))
        for name in names
    ]
    given = {key: value for key, value in (("contrast", contrast), ("shape", shape)) if value is not None}
    ready = [replace(method, **given) for method in ready]
    found = study.segment(
        loaded,
        source,
        ready,
        chosen,
        batch_size=batch_size,
        examples=examples if out is not None else 0,
        perturbation=PerturbationOptions() if perturbation else None,
        progress=sys.stderr.isatty(),
    )
    for item in found.skipped:
        stderr.print(f"[yellow]skipped[/] {escape(item.name)}: {escape(item.reason)}")
    titles = {method.name: method.title for method in ready}
    files = {} if out is None else _write(out, found, titles, source)
    rows = [{"method": name, "title": titles[name], **scores} for name, scores in found.scores.items()]
    if as_json:
        options = {
            **{"protocol": protocol, "class": chosen.asked, "fit": chosen.fit, "threshold": chosen.threshold},
            **{"count": found.images, "by": by, "reference": reference, "random_init": random_init},
            **{"perturbation": perturbation, "image_size": image_size},
            **{"neurons": neurons, "layers": layers, "weighting": weighting},
            **{"treated": {m.name: {"contrast": m.contrast, "shape": m.shape} for m in ready}},
        }
        skipped = [{"name": item.name, "reason": item.reason} for item in found.skipped]
        more = {"task": found.task, "refused": refused, "skipped": skipped, "files": files}
        emit("segment", loaded.name, source.label, options, rows, **more)
        return
    _table(found, titles)
    console = wide_console()
    console.print(f"{loaded.name} on {found.images} pictures of {escape(source.label)}", soft_wrap=True)
    console.print(
        f"Protocol: {chosen.describe(found.task)}; cost: in encode_image's, a shared pass counted for each",
        soft_wrap=True,
    )
    if perturbation:
        said = "area under the class's probability while patches are taken from (put into) the picture"
        console.print(f"deletion, insertion: {said}, the most relevant first; small (large) is good", soft_wrap=True)
    console.print(f"Treated: {_treated(ready)}", soft_wrap=True)
    if refused:
        console.print(f"Does not apply to this model: {', '.join(refused)} (why: --json)", soft_wrap=True)
    if loaded.random_weights:
        console.print("[bold yellow]The weights are RANDOM: these maps mean nothing.[/]")
    for path in files.values():
        console.print(f"[bold]{path}[/]", soft_wrap=True)


def _neurons(names: list[str], count: int | None, layers: str | None, weighting: str | None) -> dict[str, Any]:
    """What is said of the neuron maps."""
    from ..survey.units import parse_units

    given = {"--neurons": count, "--layers": layers, "--weighting": weighting}
    said = [option for option, value in given.items() if value is not None]
    of = ["neurons", "neurons-both", *["second-order"] * (said == ["--layers"])]
    if said and not set(of) & set(names):
        raise SummandError(f"{', '.join(said)}: neurons are drawn by {', '.join(of)}; name one of them in --methods")
    if weighting not in (None, "mean", "signed", "weighted"):
        raise SummandError(f"--weighting must be mean, signed or weighted, got {weighting!r}")
    found = {"weighting": weighting, "layers": None if layers is None else parse_units(f"neurons:{layers}")[0].layers}
    return found if count is None else found | {"count": count}


def _treated(methods: Any) -> str:
    """Which methods' texts are less their mean, and which maps are clipped or rooted."""
    groups: dict[str, list[str]] = {}
    for method in methods:
        groups.setdefault(f"{'contrast' if method.contrast else 'plain text'}, {method.shape}", []).append(method.name)
    return "; ".join(f"{what}: {', '.join(names)}" for what, names in groups.items())


def _protocol(kind: Any, name: str | None, asked: str | None, fit: str | None, threshold: str | None) -> Any:
    """The stated protocol, with what was asked for otherwise."""
    if name not in (None, "paper"):
        raise SummandError(f"--protocol must be 'paper' or be left out, got {name!r}")
    changes: dict[str, Any] = {}
    if asked is not None:
        changes["asked"] = asked
    if fit is not None:
        changes["fit"] = fit
    if threshold is not None:
        try:
            changes["threshold"] = threshold if threshold == "mean" else float(threshold)
        except ValueError:
            raise SummandError(f"--threshold must be a number or 'mean', got {threshold!r}") from None
    return replace(kind.published() if name == "paper" else kind(), **changes)


def _reference(study: Any, model: Any, source: Any, images: str | None) -> Any:
    """Pixels that neuron directions are learnt from; for the scenes models 500 scenes of another seed."""
    from ..data import open_source
    from ..maps.windows import fitted
    from ..scenes.pretrained import is_scenes_model

    if images is None and is_scenes_model(model):
        images = "scenes:count=500,seed=4242"
    size = model.tower.image_size
    if images is None:
        stderr.print("learning directions from the pictures of DATA; --reference takes others")
        step = max(1, len(source) // 500)
        pictures = [source.read(i).image for i in range(0, len(source), step)]
    else:
        opened = open_source(images)
        pictures = [opened.image(i) for i in range(len(opened))]
    if not is_scenes_model(model):
        pictures = [fitted(picture, size, "crop") for picture in pictures]
    return study.reference_batches(model, pictures)


def _check_out(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise SummandError(f"--out must be a folder, and {out} is a file")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SummandError(f"cannot make the folder {out}: {error.strerror or error}") from error


def _write(out: Path, found: Any, titles: dict[str, str], source: Any) -> dict[str, str]:
    from ..report.segmentation import examples_figure

    table = out / "per_image.parquet"
    found.per_image.to_parquet(table, index=False)
    files = {"per_image": str(table.resolve())}
    if found.examples:
        picture = out / "examples.png"
        classes = None if found.task == "figures" else source.classes
        examples_figure(found.examples, titles, classes, source.background).savefig(picture, dpi=130)
        files["examples"] = str(picture.resolve())
    return files


_HEADERS = {
    "pixel_accuracy": "pixel acc.",
    "mIoU": "mIoU",
    "mAP": "mAP",
    "AP": "figure AP",
    "pixel_accuracy_without_background": "pixel acc., no bg.",
    "mIoU_without_background": "mIoU, no bg.",
    "deletion_positive": "deletion",  # least relevant first is the insertion curve read backwards
    "insertion_positive": "insertion",
    "cost": "cost ×",
}


def _table(found: Any, titles: dict[str, str]) -> None:
    first = next(iter(found.scores.values()))
    columns = [key for key in _HEADERS if key in first]
    table = Table(header_style="bold")
    table.add_column("method", no_wrap=True)
    for key in columns:
        table.add_column(_HEADERS[key], justify="right")
    order = "AP" if "AP" in first else "mIoU"
    for name, scores in sorted(found.scores.items(), key=lambda item: -item[1][order]):
        cells = [f"{scores[key]:.2f}" if key == "cost" else f"{100 * scores[key]:.1f}" for key in columns]
        table.add_row(titles[name], *cells)
    wide_console().print(table)
