"""`summand debias`: find the heads that carry a spurious attribute, remove them, and see what it does."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ..errors import SummandError, listed
from .ablate import (
    ClassesOption,
    CountOption,
    LabelOption,
    MeansOption,
    TemplatesOption,
    open_data,
    parse_units,
    text_classifier,
)
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
    pool_for,
    stderr,
    wait,
    warn_of_strange,
)
from .debias_table import show


@app.command(
    epilog="Examples:\n\n"
    "  summand debias scenes:count=2000,seed=5 --classes shape --groups place --model scenes-vit-tied "
    "--train scenes:count=400,seed=6,tie=shape/place/0.95\n\n"
    "  summand debias waterbird_complete95 --groups waterbird_complete95/metadata.csv --classes landbird,waterbird "
    "--attribute 'a photo on land,a photo on water' --model ViT-L-14 --pretrained laion2b_s32b_b82k\n\n"
    "  summand debias birds.csv --groups habitat --heads 10.3,11.2 --json"
)
def debias(
    data: Annotated[str, typer.Argument(help="A folder of images (with --groups TABLE), a csv, or scenes[:…].")],
    groups: Annotated[
        str | None,
        typer.Option("--groups", help="A table such as Waterbirds' metadata.csv, a column of DATA, or an attribute."),
    ] = None,
    classes: ClassesOption = None,
    attribute: Annotated[
        str | None,
        typer.Option("--attribute", help="Texts of the spurious attribute, commas between [scenes: --groups]."),
    ] = None,
    heads: Annotated[str | None, typer.Option("--heads", help="Remove these heads, such as 10.3,11.2.")] = None,
    wanted: Annotated[
        str | None, typer.Option("--property", help="Remove heads whose labels match: a list, an attribute or a word.")
    ] = None,
    neurons: Annotated[
        str | None,
        typer.Option(
            "--neurons", help="Not heads but neurons (second-order effects): of a layer, or these: 3.17,3.20."
        ),
    ] = None,
    cover: Annotated[
        float, typer.Option("--cover", help="Choose units until they carry this share of the attribute.")
    ] = 0.9,
    layers: Annotated[
        int | None, typer.Option("--layers", min=1, help="Choose from this many of the last layers [default: all].")
    ] = None,
    draws: Annotated[int, typer.Option("--draws", min=1, help="Random controls.")] = 5,
    control: Annotated[
        int | None, typer.Option("--control", min=1, help="Units that each draw removes [default: as many as removed].")
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option(
            "--protocol",
            help="paper: as in paper C and its code: draws of 10 heads; MLPs and heads before the last 4 layers are "
            "ablated too.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the random controls.")] = 0,
    split: Annotated[
        str | None,
        typer.Option(
            "--split", help="train, val or test, where the table has them [default: test]; if given, of --means too."
        ),
    ] = None,
    label: LabelOption = None,
    allow_empty: Annotated[bool, typer.Option("--allow-empty", help="Leave groups without images out.")] = False,
    templates: TemplatesOption = None,
    texts: Annotated[str | None, typer.Option("--pool", help="Texts for labels [default: fits the model].")] = None,
    train: Annotated[
        str | None,
        typer.Option(
            "--train",
            help="The training images, labelled like DATA: the mix that weights the groups, and without their labels "
            "what heads are chosen on and means taken over; of a table with a column split, its rows of split train "
            "[default: the split train of the table, and DATA].",
        ),
    ] = None,
    means: MeansOption = None,
    count: CountOption = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Ablation to write, for summand.load(…, ablation=FILE).")
    ] = Path("ablation.npz"),
    patched: Annotated[
        Path | None, typer.Option("--classifier", help="Also write the patched text classifier (.npz).")
    ] = None,
    picture: Annotated[Path, typer.Option("--figure", help="Figure to write: every group before and after.")] = Path(
        "debias.png"
    ),
    model: ModelOption = "scenes-vit",
    pretrained: PretrainedOption = None,
    checkpoint: CheckpointOption = None,
    activation: ActivationOption = None,
    batch_size: BatchOption = 64,
    random_init: RandomOption = False,
    device: DeviceOption = "cpu",
    as_json: JsonOption = False,
) -> None:
    """Remove the heads that carry a spurious attribute, and show the accuracy of every group before and after.

    Without --heads or --property the heads are found on unlabelled images: those whose variance lies along the
    attribute's texts rather than along the classes'. With --neurons LAYER the same is done with neurons.
    """
    from ..data import open_source
    from ..report import figures
    from ..report.debias import figure
    from ..scenes.source import is_scenes
    from ..studies.debias.groups import check_groups, with_shares
    from ..studies.debias.run import debias as repair
    from ..studies.debias.spurious import check_cover, in_words

    if heads and wanted:
        raise SummandError("give --heads or --property, not both")
    if neurons is not None and (heads or wanted):
        raise SummandError("--heads and --property are about heads, --neurons finds neurons; give one of them")
    if protocol not in (None, "paper"):
        raise SummandError(f"--protocol must be 'paper' or be left out, got {protocol!r}")
    if protocol and neurons is not None:
        raise SummandError("--protocol paper removes heads, as paper C does; leave --neurons out")
    check_cover(cover)
    scenes = is_scenes(data)
    by_hand = heads or (neurons if neurons and "." in neurons else None)
    named = parse_units(by_hand) if by_hand else None
    layer = None if neurons is None or named is not None else _layer(neurons)
    for path, option in ((out, "--out"), (patched, "--classifier")):
        if path is not None and path.suffix != ".npz":
            raise SummandError(f"{path}: the file must end in .npz")
        if path is not None:
            figures.check_place(path, option)
    figures.check_format(picture)
    labelled = open_data(data, classes, groups=groups, split=split, label_column=label, count=count)
    check_groups(labelled, allow_empty)
    if not (by_hand or wanted or attribute or (scenes and groups)):
        raise SummandError(
            "say what the spurious attribute is in words (--attribute 'a photo on land,a photo on water'), or which "
            "heads or neurons to remove (--heads 10.3, --neurons 9.41, --property)"
        )
    training = None
    if train is not None:
        training = open_data(train, classes, groups=groups, label_column=label, usual_split="train")
        labelled = with_shares(labelled, training)
    reference = open_source(means, split=split) if means else None if training is None else training.source
    loaded = open_model(model, pretrained, random_init, device, None, checkpoint, activation)
    warn_of_strange(loaded, labelled.source, reference)
    weights = wait("reading class names", lambda: text_classifier(loaded, data, labelled, classes, templates))
    progress = sys.stderr.isatty()
    reading = {"batch_size": batch_size, "progress": progress}
    suspects = _suspects(
        loaded, reference or labelled.source, weights,
        None if named or wanted else _attribute(loaded, attribute, groups or ""),
        named=named, wanted=wanted, neurons=layer, cover=cover, layers=layers, pool=texts, **reading,
    )  # fmt: skip
    what = groups if scenes and groups and attribute is None else "the attribute"
    kind = "head" if neurons is None else "neuron"
    why = [in_words(suspect, what, "the classes", kind) for suspect in suspects]
    made = repair(
        loaded, labelled, weights, [suspect.unit for suspect in suspects],
        neurons=neurons is not None, layers=layers, draws=draws, control=control, seed=seed, means=reference, why=why,
        parity="paper" if protocol else None, **reading,
    )  # fmt: skip
    figures.save(figure(made, f"{loaded.name} on {data}: {len(suspects)} {kind}(s) removed"), picture)
    made.ablation.save(out)
    if patched is not None:
        made.classifier.save(str(patched))
    for item in made.runs.skipped:
        stderr.print(f"[yellow]skipped[/] {escape(item.name)}: {escape(item.reason)}")
    unweighted = [f"{name} / {value}" for name, value in made.before.unweighted]
    if unweighted:
        stderr.print(
            f"[yellow]not in the training images:[/] {escape(listed(unweighted, most=6))}; "
            f"train-weighted accuracy leaves {'it' if len(unweighted) == 1 else 'them'} out"
        )
    if as_json:
        options = {"classes": classes, "groups": groups, "attribute": attribute, "heads": heads, "property": wanted}
        options |= {"neurons": neurons, "cover": cover, "layers": layers, "draws": draws, "seed": seed, "train": train}
        options |= {"control": control, "protocol": protocol}
        options |= {"means": means, "split": split, "label_column": label, "allow_empty": allow_empty, "count": count}
        options |= {"templates": templates, "pool": texts, "pretrained": pretrained, "random_init": random_init}
        options |= {"checkpoint": checkpoint, "activation": activation}
        options |= {"out": str(out), "classifier": patched and str(patched), "figure": str(picture)}
        removed = [
            {
                "unit": suspect.name,
                "attribute": _plain(suspect.attribute),
                "classes": _plain(suspect.classes),
                "carries": _plain(suspect.carries),
                "texts": list(suspect.texts),
                "matched": list(suspect.matched),
                "why": reason,
            }
            for suspect, reason in zip(suspects, why, strict=True)
        ]
        files = {"ablation": str(out), "classifier": patched and str(patched), "figure": str(picture)}
        drawn = [[f"{layer}.{unit}" for layer, unit in units] for units in made.drawn]
        more = {"drawn": drawn, "summary": made.summary(), "unweighted": unweighted, "removed": removed, "files": files}
        emit("debias", loaded.name, data, options, made.rows(), **more)
        return
    show(made, why, kind)
    console = Console(highlight=False)
    console.print(f"[bold]{out.resolve()}[/]  apply it with summand.load(…, ablation=…)", soft_wrap=True)
    console.print(f"[bold]{picture.resolve()}[/]  every group before and after", soft_wrap=True)
    if patched is not None:
        console.print(f"[bold]{patched.resolve()}[/]  text classifier for the model as it is", soft_wrap=True)


def _suspects(
    model: Any,
    source: Any,
    weights: Any,
    directions: Any,
    *,
    named: list[tuple[int, int]] | None,
    wanted: str | None,
    neurons: int | None,
    cover: float,
    layers: int | None,
    pool: str | None,
    **reading: Any,
) -> list[Any]:
    from ..maps.heatmap import default_pool
    from ..studies.debias import suspects
    from ..text.pools import pool as open_pool

    if named is not None:
        return suspects.named(named)
    if neurons is not None:
        return suspects.found_neurons(model, source, directions, weights, neurons, cover=cover, **reading)
    texts = pool_for(model, open_pool(pool or default_pool(model)))
    if wanted is not None:
        return suspects.labelled_heads(model, source, wanted, texts, layers=layers, **reading)
    return suspects.found_heads(model, source, directions, weights, texts, cover=cover, layers=layers, **reading)


def _attribute(model: Any, attribute: str | None, groups: str) -> Any:
    """The texts of the spurious attribute as directions."""
    from ..studies.zeroshot import attribute_classes, classifier

    if attribute is not None:
        return model.encode_text([text.strip() for text in attribute.split(",") if text.strip()])
    return classifier(model, attribute_classes(model.world, groups))


def _layer(text: str) -> int:
    if not text.strip().isdigit():
        raise SummandError(f"--neurons takes a layer such as 9, or neurons such as 9.41,9.7; got {text!r}")
    return int(text)


def _plain(value: float) -> float | None:
    return None if value != value else value
