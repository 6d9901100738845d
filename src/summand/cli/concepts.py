"""`summand concepts`: what an image holds, in words."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

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
    read_picture,
    wait,
    warn_of_strange,
    wide_console,
)
from .inputs import model_for, open_images


@app.command(
    epilog="Examples:\n\n"
    "  summand concepts scene.png\n\n"
    "  summand concepts dog.jpg --images photos/ --layers 9 --model ViT-B-32 --pretrained openai --out dog.png\n\n"
    "  summand concepts dog.jpg --images run/ --json"
)
def concepts(
    image: Annotated[Path, typer.Argument(help="The picture.")],
    images: Annotated[
        str | None, typer.Option("--images", "-i", help="What is usual: images or a run folder [default: scenes].")
    ] = None,
    layers: Annotated[
        str | None, typer.Option("--layers", help="Of the neurons, such as 9 or 8-10 [default: the last three].")
    ] = None,
    words: Annotated[int, typer.Option("--words", min=1, help="How many words.")] = 10,
    size: Annotated[int | None, typer.Option("--size", min=1, help="Texts in a neuron's sparse code.")] = None,
    code_size: Annotated[int, typer.Option("--code-size", min=1, help="Texts in the image's own code.")] = 8,
    maps: Annotated[
        int, typer.Option("--maps", min=0, help="Draw maps of so many texts of the picture's own code.")
    ] = 3,
    paper: Annotated[
        bool, typer.Option("--paper", help="Weigh words by norms, as the paper's notebook, not by signed projections.")
    ] = False,
    texts: Annotated[str | None, typer.Option("--pool", help="Words to choose from [default: words-30k].")] = None,
    count: Annotated[int | None, typer.Option("--count", "-n", min=1, help="Use at most this many images.")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Picture of the maps.")] = Path("concepts.png"),
    model: OwnModelOption = None,
    pretrained: PretrainedOption = None,
    checkpoint: CheckpointOption = None,
    activation: ActivationOption = None,
    batch_size: BatchOption = 64,
    random_init: RandomOption = False,
    device: DeviceOption = "cpu",
    as_json: JsonOption = False,
) -> None:
    """Say what a picture holds, in the words of the neurons that it moves unusually far, and show where."""
    from ..maps.heatmap import default_pool
    from ..report.figures import check_format
    from ..studies.concepts import check_sizes, image_concepts
    from ..survey.profile import neuron_groups, profile, profile_of_run
    from ..text.pools import pool

    check_format(out)
    picture = read_picture(image)
    if images is None and model is not None and not model.startswith("scenes-"):
        raise SummandError("--images: give images (or a run folder) that say what is usual for this model's neurons")
    where = open_images(images or "scenes", count or (1000 if images is None else None))
    loaded = model_for(where, model, pretrained, random_init, device, checkpoint, activation)
    warn_of_strange(loaded, picture, where.source)
    groups = neuron_groups(loaded, layers)
    chosen = pool_for(loaded, pool(texts or ("scenes" if default_pool(loaded) == "scenes" else "words-30k")))
    check_sizes(chosen, words, code_size)
    progress = sys.stderr.isatty()
    embeddings = loaded.encode_text(chosen.texts, progress=progress)
    held = where.run is not None and all(group in where.run.groups for group in groups)
    known = profile_of_run(where.run, groups) if held else profile(loaded, where.source, groups, batch_size, progress)
    found = wait(
        "reading the picture",
        lambda: image_concepts(
            loaded,
            picture,
            known,
            chosen,
            embeddings,
            words=words,
            size=size,
            code_size=code_size,
            maps=maps,
            parity="paper" if paper else None,
        ),
    )
    if found.maps is not None:
        found.maps.save(out)
    if as_json:
        options = {"layers": [group.name for group in groups], "pool": chosen.name, "usual": where.given,
                   "words": words, "code_size": code_size, "count": count, "out": str(out)}  # fmt: skip
        units = [asdict(unit) for unit in found.units]
        code = [{"text": text, "coefficient": amount} for text, amount in found.code]
        emit("concepts", loaded.name, str(image), options, found.rows(), units=units, code=code, cosine=found.cosine)
        return
    console = wide_console()
    table = Table(header_style="bold", title=f"{len(found.units)} significant units say", title_justify="left")
    table.add_column("word", no_wrap=True)
    table.add_column("score", justify="right")
    for word, score in found.words:
        table.add_row(escape(word), f"{score:.3f}")
    if found.words:
        console.print(table)
    else:
        console.print("no unit is moved unusually far by this picture")
    table = Table(header_style="bold", title="the units moved furthest", title_justify="left")
    table.add_column("unit")
    table.add_column("× usual", justify="right")
    table.add_column("its words", no_wrap=True)
    for unit in found.units[:5]:
        said = "; ".join(unit.words) or "(none of its texts)"
        table.add_row(unit.unit, f"{unit.norm / max(unit.threshold, 1e-12):.2f}", escape(said))
    if found.units:
        console.print(table)
    table = Table(
        header_style="bold", title=f"the picture's own code (cosine {found.cosine:.2f})", title_justify="left"
    )
    table.add_column("text", no_wrap=True)
    table.add_column("coefficient", justify="right")
    for text, amount in found.code:
        table.add_row(escape(text), f"{amount:.3f}")
    console.print(table)
    if found.maps is not None:
        console.print(f"[bold]{out.resolve()}[/]", soft_wrap=True)
