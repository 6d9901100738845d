"""Which word of a text makes it similar to an image, or to another text."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ...data.pictures import as_picture
from ...errors import SummandError
from ...models import Model
from ...models.token_pieces import whole_words
from ...towers.pieces import PAD
from ..verb import verb
from .options import WordsOptions
from .result import Words


@verb(WordsOptions)
@torch.no_grad()
def words(model: Model, text: str, image: Any = None, *, options: WordsOptions) -> Words:
    r"""⟨E(t), u⟩/‖E(t)‖ = (Σ_w ⟨c_w, u⟩ + ⟨embedding, u⟩ + Σ_l ⟨mlp_l, u⟩ + ⟨bias, u⟩) / ‖E(t)‖, c_w over all heads.

    image: a picture in any form (a path, a PIL image, an array). u: the unit embedding of the image, of the other text,
    or, where neither is given, of the text itself: then the contributions are shares of its own embedding and sum to
    one.

    Raises `SummandError` for an image and a text at once, and for what `Model.decompose_text` refuses.
    """
    versus = options.versus
    if image is not None and versus is not None:
        raise SummandError("compare the text with an image or with another text (versus), not with both")
    parts = model.decompose_text(text)
    total = parts.total()[0]
    if image is not None:
        pixels = model.preprocess(as_picture(image))[None].to(model.device, model.dtype)
        unit = F.normalize(model.encode_image(pixels)[0].to(total), dim=0)
    else:
        unit = model.encode_text(versus if versus is not None else text)[0].to(total)
    length = total.norm()

    def along(term: Tensor) -> Tensor:
        return term @ unit / length

    tokens = along(parts.tokens()[0])
    found = [(word, float(tokens[where].sum())) for word, where in whole_words(parts.pieces[0])]
    found = [(word, value) for word, value in found if word != PAD or value != 0]
    other = {
        "embedding": float(along(parts.embedding()[0])),
        "mlps": float(along(parts.mlps()[0].sum(dim=0))),
        "bias": float(along(parts.bias()[0])),
    }
    similarity = float(model.encode_text(text)[0].to(total) @ unit)
    summed = sum(value for _, value in found) + sum(other.values())
    return Words(
        [{"word": word, "contribution": value} for word, value in found],
        options,
        model=model.name,
        data=str(image) if isinstance(image, (str, os.PathLike)) else None,
        text=text,
        other=other,
        similarity=similarity,
        residual=abs(summed - similarity),
    )
