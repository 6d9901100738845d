"""`summand debias`: find the heads that carry a spurious attribute, remove them, and see what it does."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ..errors import SummandError
from .ablate import (
    ClassesOption,
    CountOption,
    MeansOption,
    TemplatesOption,
    open_data,
    parse_heads,
    text_classifier,
)
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
    stderr,
    wait,
)

_SHOWN_GROUPS = 12
_FEW = 20


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
        int | None, typer.Option("--neurons", help="Remove neurons of this layer (second-order effects), not heads.")
    ] = None,
    cover: Annotated[
        float, typer.Option("--cover", help="Choose units until they carry this share of the attribute.")
    ] = 0.9,
    layers: Annotated[
        int | None, typer.Option("--layers", min=1, help="Choose from this many of the last layers [default: all].")
    ] = None,
    draws: Annotated[int, typer.Option("--draws", min=1, help="Random controls.")] = 5,
    seed: Annotated[int, typer.Option("--seed", help="Of the random controls.")] = 0,
    split: Annotated[
        str | None, typer.Option("--split", help="train, val or test, where the table has them [default: test].")
    ] = None,
    label: Annotated[str | None, typer.Option("--label-column", help="The column of the labels.")] = None,
    allow_empty: Annotated[bool, typer.Option("--allow-empty", help="Leave groups without images out.")] = False,
    templates: TemplatesOption = None,
    texts: Annotated[str | None, typer.Option("--pool", help="Texts for labels [default: fits the model].")] = None,
    train: Annotated[
        str | None,
        typer.Option(
            "--train",
            help="The training images, labelled like DATA: the mix that weights the groups, and without their labels "
            "what heads are chosen on and means taken over [default: the split train of the table, and DATA].",
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
    model: ModelOption = "scenes-vit",
    pretrained: PretrainedOption = None,
    batch_size: BatchOption = 64,
    random_init: RandomOption = False,
    device: DeviceOption = "cpu",
    as_json: JsonOption = False,
) -> None:
    """Remove the heads that carry a spurious attribute, and show the accuracy of every group before and after.

    Without --heads or --property the heads are found on unlabelled images: those whose variance lies along the
    attribute's texts rather than along the classes'.
    """
    from ..data import open_source
    from ..studies.debias import debias as repair
    from ..studies.groups import check_groups, with_shares
    from ..studies.spurious import in_words

    if heads and wanted:
        raise SummandError("give --heads or --property, not both")
    for path in (out, patched):
        if path is not None and path.suffix != ".npz":
            raise SummandError(f"{path}: the file must end in .npz")
    labelled = open_data(data, classes, groups=groups, split=split, label_column=label, count=count)
    check_groups(labelled, allow_empty)
    if train is not None:
        training = open_data(train, classes, groups=groups, label_column=label)
        labelled = with_shares(labelled, training)
    named = parse_heads(heads) if heads else None
    unlabelled = means or train
    reference = None if unlabelled is None else open_source(unlabelled)
    loaded = wait(f"loading {model}", lambda: load_model(model, pretrained, random_init, device))
    weights = wait("reading class names", lambda: text_classifier(loaded, data, labelled, classes, templates))
    progress = sys.stderr.isatty()
    suspects = _suspects(
        loaded, data, reference or labelled.source, weights, named,
        wanted=wanted, attribute=attribute, groups=groups, neurons=neurons, cover=cover, layers=layers, pool=texts,
        batch_size=batch_size, progress=progress,
    )  # fmt: skip
    what = groups if data.startswith("scenes") and groups else "the attribute"
    kind = "head" if neurons is None else "neuron"
    why = [in_words(suspect, what, "the classes", kind) for suspect in suspects]
    made = repair(
        loaded, labelled, weights, [suspect.unit for suspect in suspects],
        neurons=neurons is not None, layers=layers, draws=draws, seed=seed, means=reference, why=why,
        batch_size=batch_size, progress=progress,
    )  # fmt: skip
    if made.ablation is not None:
        made.ablation.save(out)
    if patched is not None:
        made.classifier.save(str(patched))
    for item in made.runs.skipped:
        stderr.print(f"[yellow]skipped[/] {escape(item.name)}: {escape(item.reason)}")
    if as_json:
        options = {"classes": classes, "groups": groups, "attribute": attribute, "heads": heads, "property": wanted}
        options |= {
            "neurons": neurons,
            "cover": cover,
            "layers": layers,
            "draws": draws,
            "seed": seed,
            "train": train,
            "means": means,
        }
        summary = {
            name: {"worst": table.worst, "weighted": table.weighted, "mean": table.mean, "balanced": table.balanced}
            for name, table in _tables(made).items()
        }
        removed = [
            {
                "unit": suspect.name,
                "attribute": _plain(suspect.attribute),
                "classes": _plain(suspect.classes),
                "carries": _plain(suspect.carries),
                "texts": list(suspect.texts),
                "why": reason,
            }
            for suspect, reason in zip(suspects, why, strict=True)
        ]
        files = {"ablation": str(out) if made.ablation is not None else None, "classifier": patched and str(patched)}
        emit("debias", loaded.name, data, options, _rows(made), summary=summary, removed=removed, files=files)
        return
    _print(made, why, kind)
    console = Console(highlight=False)
    if made.ablation is not None:
        console.print(f"[bold]{out.resolve()}[/]  apply it with summand.load(…, ablation=…)", soft_wrap=True)
    elif patched is None:
        console.print("Nothing was written: an ablation file holds heads; for neurons give --classifier FILE.npz.")
    if patched is not None:
        console.print(f"[bold]{patched.resolve()}[/]  text classifier for the model as it is", soft_wrap=True)


def _suspects(
    model: Any,
    data: str,
    source: Any,
    weights: Any,
    named: list[tuple[int, int]] | None,
    *,
    wanted: str | None,
    attribute: str | None,
    groups: str | None,
    neurons: int | None,
    cover: float,
    layers: int | None,
    pool: str | None,
    batch_size: int,
    progress: bool,
) -> list[Any]:
    from ..studies.debias import head_moments, neuron_moments
    from ..studies.heatmap import default_pool
    from ..studies.spurious import Suspect, by_property, choose, described
    from ..studies.zeroshot import classifier, scenes_classes
    from ..text.labels import importance, label_heads
    from ..text.pools import pool as open_pool

    if named is not None:
        return [Suspect(unit, float("nan"), float("nan"), float("nan")) for unit in named]
    if wanted is not None:
        if neurons is not None:
            raise SummandError("--property is about heads; leave out --neurons")
        moments, where = head_moments(model, source, layers, batch_size, progress)
        texts = open_pool(pool or default_pool(model)).texts
        embedded = model.encode_text(texts, progress=progress)
        labels = label_heads(moments, range(len(where)), texts, embedded, importance(moments, embedded))
        return by_property([replace(label, layer=where[label.layer]) for label in labels], wanted)
    if attribute is not None:
        directions = model.encode_text([text.strip() for text in attribute.split(",") if text.strip()])
    elif data.startswith("scenes") and groups:
        directions = classifier(model, scenes_classes(groups))
    else:
        raise SummandError(
            "say what the spurious attribute is in words (--attribute 'a photo on land,a photo on water'), or which "
            "heads to remove (--heads, --property)"
        )
    if neurons is not None:
        return choose(
            neuron_moments(model, source, neurons, batch_size, progress), directions, weights, [neurons], cover
        )
    moments, where = head_moments(model, source, layers, batch_size, progress)
    found = choose(moments, directions, weights, where, cover)
    texts = open_pool(pool or default_pool(model)).texts
    return described(found, moments, where, texts, model.encode_text(texts, progress=progress))


def _tables(made: Any) -> dict[str, Any]:
    draws = {f"random {i + 1}": table for i, table in enumerate(made.random)}
    return {"before": made.before, "after": made.after, "patched classifier": made.patched, **draws}


def _rows(made: Any) -> list[dict[str, Any]]:
    rows = []
    for i, name in enumerate(made.before.classes):
        for j, value in enumerate(made.before.values):
            if made.before.counts[i, j]:
                rows.append(
                    {
                        "class": name,
                        "group": value,
                        "images": int(made.before.counts[i, j]),
                        "before": float(made.before.accuracy[i, j]),
                        "after": float(made.after.accuracy[i, j]),
                        "patched": float(made.patched.accuracy[i, j]),
                        "random": float(made.best_random.accuracy[i, j]),
                    }
                )
    return rows


def _plain(value: float) -> float | None:
    return None if value != value else value


def _print(made: Any, why: list[str], kind: str) -> None:
    console = Console(highlight=False)
    for reason in why[:_SHOWN_GROUPS]:
        console.print(f"• {escape(reason)}", soft_wrap=True)
    if len(why) > _SHOWN_GROUPS:
        console.print(f"• and {len(why) - _SHOWN_GROUPS} more {kind}s")
    columns = {
        "before": made.before,
        "after": made.after,
        "patched texts": made.patched,
        f"best of {len(made.random)} random": made.best_random,
    }
    table = Table(title=f"Accuracy, % ({len(why)} {kind}s removed)", title_justify="left", header_style="bold")
    table.add_column("group", no_wrap=True)
    table.add_column("images", justify="right")
    for name in columns:
        table.add_column(name, justify="right")
    rows = sorted(_rows(made), key=lambda row: row["before"])
    for row in rows[:_SHOWN_GROUPS]:
        values = (row[key] for key in ("before", "after", "patched", "random"))
        table.add_row(
            f"{row['class']} / {row['group']}", str(row["images"]), *(f"{100 * value:.1f}" for value in values)
        )
    if len(rows) > _SHOWN_GROUPS:
        table.add_row(f"… {len(rows) - _SHOWN_GROUPS} more groups", "", "", "", "", "")
    table.add_section()
    for name, get in (
        ("worst group", lambda found: found.worst),
        *([("worst quarter of the groups", lambda found: found.lowest(0.25))] if len(rows) > 8 else []),
        ("all groups alike", lambda found: found.balanced),
        ("train-weighted", lambda found: found.weighted),
    ):
        table.add_row(name, "", *(f"{100 * get(found):.1f}" for found in columns.values()), style="bold")
    console.print(table)
    smallest = min(row["images"] for row in rows)
    if smallest < _FEW:
        console.print(f"The smallest group has {smallest} image(s): the accuracy of the worst one is hardly known.")
