"""`summand atlas`: labels and pictures of every head, as a site."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from ..studies.atlas_options import AtlasOptions
from .adapter import command
from .options import Compute, OwnModelOptions, Show


@command
def atlas(
    images: Annotated[str, Parameter(alias="-i")] = "scenes",
    *,
    options: AtlasOptions,
    model: OwnModelOptions,
    compute: Compute,
    show: Show,
):
    """Label every head of the last layers and build a site that shows what each one sees, and where.

    The site is a folder of plain files (--out, by default atlas): open its index.html, no server needed.

    Examples:

    - summand atlas
    - summand atlas photos/ --model ViT-B-16 --pretrained laion2b_s34b_b88k --out b16
    - summand atlas scenes:count=5000,seed=3 --json

    Parameters
    ----------
    images
        A folder, a csv/parquet of paths, scenes[:key=value,…], or a folder of `summand survey`.
    """
    from ..report.site.run import atlas as verb
    from ..report.site.run import checked

    given, out = checked(images, show.out, options, compute.count)
    return verb(given, out, model=model.load(given), batch_size=compute.batch_size, options=options)
