"""`summand subconcepts`: is a neuron about one thing, and do its pairs with heads tell its meanings apart?"""

from __future__ import annotations

import sys
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
    JsonOption,
    OwnModelOption,
    PretrainedOption,
    RandomOption,
    app,
    emit,
    escape,
    pool_for,
    warn_of_strange,
    wide_console,
)
from .inputs import model_for, open_images

_SHOWN, _RANDOM = 12, 400


@app.command(
    epilog="Examples:\n\n"
    "  summand subconcepts scenes:count=1000 --neuron 100 --model scenes-rn\n\n"
    "  summand subconcepts scenes:count=1000 --model scenes-rn\n\n"
    "  summand subconcepts photos/ --neuron 624 --model RN50x16 --pretrained openai --out butterfly.png --json"
)
def subconcepts(
    images: Annotated[str, typer.Argument(help="A folder, a csv/parquet of paths, scenes[:…], or a run folder.")],
    neuron: Annotated[
        list[int] | None, typer.Option("--neuron", help="Which (can be repeated) [default: a survey of all].")
    ] = None,
    top: Annotated[int, typer.Option("--top", min=2, help="Top images of a unit.")] = 10,
    pairs: Annotated[int, typer.Option("--pairs", min=1, help="Pairs drawn below a neuron, the most alike first.")] = 4,
    texts: Annotated[str | None, typer.Option("--pool", help="Texts to name units by [default: fits].")] = None,
    count: Annotated[int | None, typer.Option("--count", "-n", min=1, help="Use at most this many images.")] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Contact sheet of the neurons, or figure of the survey.")
    ] = Path("subconcepts.png"),
    model: OwnModelOption = None,
    pretrained: PretrainedOption = None,
    checkpoint: CheckpointOption = None,
    activation: ActivationOption = None,
    batch_size: BatchOption = 64,
    random_init: RandomOption = False,
    device: DeviceOption = "cpu",
    as_json: JsonOption = False,
) -> None:
    """Set the top images of a neuron in front of an attention pool against those of its pairs with single heads.

    The inertia of the images' embeddings says how alike they are: 0 where all are the same. A neuron with a high
    inertia and pairs with a low one has several meanings, and the pairs tell them apart.
    """
    from ..effects.pairs import with_pairs
    from ..report.figures import check_format, save
    from ..report.subconcepts import figure
    from ..studies.subconcepts import subconcepts as study

    check_format(out)
    where = open_images(images, count)
    if len(where.source) < top:
        raise SummandError(f"{images} holds {len(where.source)} image(s), fewer than --top {top}; give more images")
    loaded = model_for(where, model, pretrained, random_init, device, checkpoint, activation)
    with_pairs(loaded.tower)
    warn_of_strange(loaded, where.source)
    chosen = None if not neuron else list(dict.fromkeys(neuron))
    found = study(loaded, where.source, chosen, top, batch_size, sys.stderr.isatty())
    summary = {
        "chance": found.chance,
        "neurons": float(found.neuron_inertia.median()),
        "pairs": float(found.pair_inertia.median()),
        "narrower": found.narrower(),
    }
    options = {"neuron": chosen, "top": top, "pairs": pairs, "count": count, "out": str(out)}
    if chosen is None:
        save(figure(found, f"{loaded.name}, {top} top images of {len(where.source)}"), out)
        rows = _survey(found)
    else:
        rows = _units(loaded, found, where.source, texts)
        _sheet(rows, where.source, pairs, out)
    if as_json:
        emit("subconcepts", loaded.name, where.given, options, rows, inertia=summary)
        return
    (_print_survey if chosen is None else _print_units)(rows, summary, top)
    wide_console().print(f"[bold]{out.resolve()}[/]", soft_wrap=True)


def _survey(found: Any) -> list[dict[str, Any]]:
    """A row a neuron, first those whose pairs are the most alike against them."""
    rows = []
    for place, neuron in enumerate(found.neurons):
        each = found.pair_inertia[place]
        best = int(each.argmin())
        rows.append({
            "unit": str(neuron), "inertia": float(found.neuron_inertia[place]), "pairs": float(each.median()),
            "best": f"{neuron}.{best}", "best_inertia": float(each[best]),
        })  # fmt: skip
    return sorted(rows, key=lambda row: row["best_inertia"] - row["inertia"])


def _units(model: Any, found: Any, source: Any, texts: str | None) -> list[dict[str, Any]]:
    """A row for each neuron, and behind it one for each of its pairs, the most alike first."""
    from ..maps.heatmap import default_pool
    from ..text.pools import pool, random_directions
    from ..text.sparse import prepare_atoms

    chosen = pool_for(model, pool(texts or default_pool(model)))
    atoms = prepare_atoms(model.encode_text(chosen.texts, progress=sys.stderr.isatty())).double().cpu()
    # A direction that has nothing to do with the pool has a nearest text too, this near at most in 19 cases of 20.
    random = random_directions(_RANDOM, atoms.shape[1]).double()
    limit = float((random @ atoms.T).max(dim=1).values.quantile(0.95))
    of_neurons, of_pairs = (each.cpu() for each in found.directions())

    def row(unit: str, inertia: Any, images: Any, direction: Any) -> dict[str, Any]:
        along = atoms @ direction / direction.norm().clamp(min=1e-12)
        best, indices = along.argsort(descending=True, stable=True)[:2].tolist(), images.tolist()
        return {
            "unit": unit, "inertia": float(inertia), "words": [chosen.texts[i] for i in best],
            "cosine": float(along[best[0]]), "fits": bool(along[best[0]] > limit),
            "images": [source.name(i) for i in indices], "indices": indices,
        }  # fmt: skip

    rows = []
    for place, neuron in enumerate(found.neurons):
        rows.append(row(str(neuron), found.neuron_inertia[place], found.neuron_images[place], of_neurons[place]))
        for head in found.pair_inertia[place].argsort(stable=True).tolist():
            inertia, images = found.pair_inertia[place, head], found.pair_images[place, head]
            rows.append(row(f"{neuron}.{head}", inertia, images, of_pairs[place, head]))
    return rows


def _words(row: dict[str, Any]) -> str:
    return " · ".join(row["words"]) if row["fits"] else "no text of the pool is nearer than chance"


def _sheet(rows: list[dict[str, Any]], source: Any, pairs: int, out: Path) -> None:
    from ..report.contact_sheet import contact_sheet

    drawn, seen = [], 0
    for row in rows:
        seen = 0 if "." not in row["unit"] else seen + 1
        if seen <= pairs:
            kind = "neuron" if seen == 0 else "pair"
            title = f"{kind} {row['unit']}, inertia {row['inertia']:.2f}: {_words(row)}"
            drawn.append((title, [(source.image(index), "") for index in row["indices"]]))
    contact_sheet(out, drawn, columns=len(rows[0]["indices"]))


def _print_units(rows: list[dict[str, Any]], summary: dict[str, float], top: int) -> None:
    console = wide_console()
    table = Table(header_style="bold", title=f"{top} top images each", title_justify="left")
    for name in ("unit", "inertia", "cosine", "words nearest to its direction"):
        table.add_column(name, justify="right" if name in ("inertia", "cosine") else "left", no_wrap=True)
    for place, row in enumerate(rows):
        first = "." not in row["unit"]
        if first and place:
            table.add_section()
        name = f"neuron {row['unit']}" if first else f"  pair {row['unit']}"
        table.add_row(
            name, f"{row['inertia']:.2f}", f"{row['cosine']:.2f}", escape(_words(row)), style="bold" if first else None
        )
    console.print(table)
    console.print(
        f"inertia 0: all images alike; {top} random images: {summary['chance']:.2f}. {summary['narrower']:.0%} of the "
        f"pairs are narrower than their neuron."
    )


def _print_survey(rows: list[dict[str, Any]], summary: dict[str, float], top: int) -> None:
    console = wide_console()
    table = Table(
        header_style="bold", title=f"neurons whose pairs tell most apart ({top} top images each)", title_justify="left"
    )
    for name in ("neuron", "inertia", "of its pairs, median", "narrowest pair", "its inertia"):
        table.add_column(name, justify="left" if name == "narrowest pair" else "right", no_wrap=True)
    for row in rows[:_SHOWN]:
        numbers = (f"{row[key]:.2f}" for key in ("inertia", "pairs"))
        table.add_row(row["unit"], *numbers, row["best"], f"{row['best_inertia']:.2f}")
    if len(rows) > _SHOWN:
        table.add_row(f"… {len(rows) - _SHOWN} more", "", "", "", "")
    console.print(table)
    console.print(
        f"median inertia: neurons {summary['neurons']:.2f}, pairs {summary['pairs']:.2f}, random images "
        f"{summary['chance']:.2f}; {summary['narrower']:.0%} of the pairs are narrower than their neuron.\n"
        f"See one with --neuron {rows[0]['unit']}."
    )
