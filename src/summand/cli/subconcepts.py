"""`summand subconcepts`: is a neuron about one thing, and do its pairs with heads tell its meanings apart?"""

from __future__ import annotations

from ..studies.subconcepts.options import SubconceptsOptions
from .adapter import command
from .options import PoolModelOptions


@command
def subconcepts(images: str, unit: str | None = None, *, options: SubconceptsOptions, model: PoolModelOptions):
    """Set the top images of a neuron in front of an attention pool against those of its pairs with single heads.

    The inertia of the images' embeddings says how alike they are: 0 where all are the same. A neuron with a high
    inertia and pairs with a low one has several meanings, and the pairs tell them apart.

    Examples:

    - summand subconcepts scenes:count=1000 100
    - summand subconcepts scenes:count=1000
    - summand subconcepts photos/ 624 --model RN50x16 --pretrained openai --out butterfly.png --json

    Parameters
    ----------
    images
        A folder, a csv or parquet of paths, scenes[:…], or the folder of a survey.
    unit
        Which neurons: 624, or 5,100 [default: all of them].
    """
    from .. import subconcepts as verb
    from ..studies.given import images_of

    given = images_of(images, options.count)
    return verb(model.load(given), given, unit, options=options)
