"""`summand heatmap`: where in a picture a text is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..maps.options import HeatmapOptions
from .adapter import command
from .options import ModelOptions


@command
def heatmap(
    images: str,
    texts: Annotated[list[str] | None, Parameter(negative=())] = None,
    *,
    array: Path | None = None,
    options: HeatmapOptions,
    model: ModelOptions,
):
    """Show which parts of a picture speak for a text, and which against it.

    Examples:

    - summand heatmap scene.png "a star" --out star.png
    - summand heatmap scene.png "a red star" --versus "a blue ring"
    - summand heatmap photos/ "a dog" "grass" --out maps --model ViT-B-16 --pretrained laion2b_s34b_b88k
    - summand heatmap dog.jpg "a dog" --method chefer --overlay --colours magma --opacity 0.5
    - summand heatmap scene.png --head 5.3 --reference scenes:count=500
    - summand heatmap scene.png --neuron 4:120
    - summand heatmap street.jpg "a bicycle" --windows 2 --model ViT-B-16 --pretrained openai
    - summand heatmap scene.png "a star" --pair 62x3 --model scenes-rn

    Parameters
    ----------
    images
        A picture; or many, each drawn in the folder of --out: a folder, a csv or parquet of paths, or scenes.
    texts
        One or several texts, in quotes.
    array
        Also write the maps, in the coordinates of the picture: a name in .npz, or a folder for many pictures.
    """
    from ..studies.heatmap.pictures import opened
    from ..studies.heatmap.result import check_arrays
    from ..studies.heatmap.run import drawn

    options.check_texts(texts or [])
    pictures = opened(images, options.count)
    if array is not None:
        check_arrays(array, pictures.single)
    found = drawn(model.load(pictures.source), pictures, texts or [], options)
    if array is not None:
        found.save_maps(array)
    return found
