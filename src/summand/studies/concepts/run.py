"""What a picture holds, in the words of the neurons that it moves."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Any

from ...data.pictures import as_picture
from ...models import Model
from ..given import neurons_of, of_scenes, readable_pool, reference_of, usual
from ..verb import verb
from .image import check_size, image_concepts
from .options import ConceptsOptions
from .result import Concepts


@verb(ConceptsOptions)
def concepts(model: Model, image: Any, reference: Any = None, *, options: ConceptsOptions) -> Concepts:
    r"""The picture's own sparse code, with maps of its first texts; and w_j = Σ_{n ∈ N(I)} γ_j^n x_n(I) / τ_n, words
    of the units N(I) that it moves unusually far (paper A, App. A.5).

    image: a picture in any form. reference: images, or a survey, that say what is usual (r_n, b_n and the thresholds
    τ_n); for a model of scenes by default 1,000 scenes. `image_concepts` has the formulas.

    Raises `SummandError` for another model without a reference, layers without neurons, and sizes that do not fit.
    """
    picture = as_picture(image)
    given = reference_of(model, reference, options.count)
    groups = neurons_of(model, options.layers)
    chosen, notes = readable_pool(model, options.pool or ("scenes" if of_scenes(model) else "words-30k"))
    check_size(chosen, options.own_size)
    embeddings = model.encode_text(chosen.texts, progress=None)
    found = image_concepts(
        model,
        picture,
        usual(model, given, groups, options.batch_size),
        chosen,
        embeddings,
        words=options.top,
        size=options.size,
        code_size=options.own_size,
        maps=options.maps,
        parity=options.protocol,
    )
    return Concepts(
        [{"text": text, "coefficient": amount} for text, amount in found.code],
        options,
        model=model.name,
        data=str(image) if isinstance(image, (str, os.PathLike)) else None,
        notes=notes,
        maps=found.maps,
        units=[{**asdict(unit), "words": list(unit.words)} for unit in found.units],
        words=[{"word": word, "score": score} for word, score in found.words],
        cosine=found.cosine,
        groups=[group.name for group in groups],
        pool=chosen.name,
        usual=given.name,
    )
