"""`summand heatmap`: where in a picture a text is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ..errors import SummandError
from .common import (
    ActivationOption,
    CheckpointOption,
    DeviceOption,
    ImageSizeOption,
    JsonOption,
    ModelOption,
    PretrainedOption,
    RandomOption,
    app,
    emit,
    open_model,
    pool_for,
    read_picture,
    wait,
    warn_of_strange,
)


@app.command(
    epilog="Examples:\n\n"
    '  summand heatmap scene.png "a star" --out star.png\n\n'
    '  summand heatmap scene.png "a red star" --versus "a blue ring"\n\n'
    '  summand heatmap dog.jpg "a dog" "grass" --model ViT-B-16 --pretrained laion2b_s34b_b88k --contrast classes\n\n'
    "  summand heatmap scene.png --head 5.3 --images scenes:count=500\n\n"
    "  summand heatmap scene.png --neuron 4:120\n\n"
    '  summand heatmap street.jpg "a bicycle" --windows 2 --model ViT-B-16 --pretrained openai\n\n'
    '  summand heatmap scene.png "a star" --pair 62.3 --model scenes-rn'
)
def heatmap(
    image: Annotated[Path, typer.Argument(help="The picture.")],
    texts: Annotated[
        list[str] | None, typer.Argument(metavar="[TEXT]...", help="One or several texts, in quotes.")
    ] = None,
    versus: Annotated[str | None, typer.Option("--versus", help="Compare the one text with this one.")] = None,
    contrast: Annotated[
        str | None,
        typer.Option("--contrast", help="Texts whose mean is taken away: a pool (classes: ImageNet's) or a text file."),
    ] = None,
    head: Annotated[
        str | None,
        typer.Option("--head", help="Only this head, such as 22.11; without TEXT, its most and least similar texts."),
    ] = None,
    neuron: Annotated[str | None, typer.Option("--neuron", help="A neuron's activations, such as 9:2914.")] = None,
    pair: Annotated[
        str | None, typer.Option("--pair", help="A neuron–head pair of an attention pool, such as 624.21.")
    ] = None,
    images: Annotated[
        str | None, typer.Option("--images", help="With --head and no TEXT: images that the head is labelled on.")
    ] = None,
    texts_pool: Annotated[str | None, typer.Option("--pool", help="Texts that the head is labelled with.")] = None,
    windows: Annotated[
        int | None,
        typer.Option(
            "--windows", min=1, help="Read the whole picture in overlapping windows, so many along its short side."
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Picture to write.")] = Path("heatmap.png"),
    array: Annotated[
        Path | None, typer.Option("--array", help="Also write the maps [text, height, width] as .npy.")
    ] = None,
    model: ModelOption = "scenes-vit",
    pretrained: PretrainedOption = None,
    checkpoint: CheckpointOption = None,
    activation: ActivationOption = None,
    random_init: RandomOption = False,
    image_size: ImageSizeOption = None,
    device: DeviceOption = "cpu",
    as_json: JsonOption = False,
) -> None:
    """Show which parts of a picture speak for a text, and which against it."""
    import numpy as np

    from ..maps.heatmap import heatmap as make
    from ..text.pools import pool

    given = list(texts or [])
    if not given and neuron is None and head is None:
        more = "a pair's map is along a text: give one" if pair is not None else "or --head or --neuron"
        raise SummandError(f"expected at least one TEXT; {more}")
    if array is not None and array.suffix != ".npy":
        raise SummandError(f"--array writes .npy, got {array}")
    if (images is not None or texts_pool is not None) and (head is None or given):
        raise SummandError("--images and --pool label a head: use them with --head and without TEXT")
    others = None if contrast is None else pool(contrast)
    picture = read_picture(image)
    loaded = open_model(model, pretrained, random_init, device, image_size, checkpoint, activation)
    warn_of_strange(loaded, picture)
    against = None if others is None else pool_for(loaded, others).texts
    if head is not None and not given:
        given = wait("labelling the head", lambda: _head_texts(loaded, picture, head, images, texts_pool))
    maps = wait(
        "taking the image apart",
        lambda: make(loaded, picture, given, versus, against, head=head, neuron=neuron, pair=pair, windows=windows),
    )
    maps.save(out)
    if array is not None:
        try:
            np.save(array, maps.upsampled())
        except OSError as error:
            raise SummandError(f"cannot write {array}: {error.strerror or error}") from error
    rows = [
        {"text": text, "sum": float(grid.sum()), "max": float(grid.max()), "min": float(grid.min())}
        for text, grid in zip(maps.texts, maps.grid, strict=True)
    ]
    if as_json:
        options = {"versus": versus, "contrast": contrast, "head": head, "neuron": neuron, "pair": pair}
        options |= {"windows": windows, "image_size": image_size}
        options |= {"out": str(out), "quantity": maps.quantity}
        emit("heatmap", loaded.name, str(image), options, rows, grid=maps.grid.tolist())
    else:
        Console(highlight=False).print(f"[bold]{out.resolve()}[/]", soft_wrap=True)


def _head_texts(model: Any, picture: Any, head: str, images: str | None, texts: str | None) -> list[str]:
    """Of the texts that span what a head writes over a set of images, the two that point most and least along what it
    writes here (paper C, Fig. 7)."""
    from ..data import open_source
    from ..maps.heatmap import default_pool, parse_head
    from ..maps.joint import head_texts, most_and_least
    from ..scenes.pretrained import is_scenes_model
    from ..text.pools import pool

    if images is None:
        if not is_scenes_model(model):
            raise SummandError("without TEXT a head's own texts are drawn; give --images, a set to label the head on")
        images = "scenes:count=500,seed=4242"
    chosen = pool_for(model, pool(texts or default_pool(model))).texts
    place = parse_head(head)
    return most_and_least(model, picture, *place, head_texts(model, open_source(images), chosen, *place))
