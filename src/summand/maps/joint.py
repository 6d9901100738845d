"""Joint decomposition: for one picture, what a head writes most and least along its own texts (paper C, Fig. 7)."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from ..data import ImageSource
from ..errors import SummandError
from ..models import Model
from ..survey import collect
from ..text.textspan import textspan
from .token_maps import check_head


def head_texts(
    model: Model, source: ImageSource, texts: Sequence[str], layer: int, head: int, size: int = 20
) -> list[str]:
    """The texts that span what a head writes over a set of images, in TextSpan's order."""
    check_head(model, layer, head)
    found = collect(model, source, keep_layers=1, progress=False)
    spans = textspan(found.moments.select([int(layer)]), model.encode_text(list(texts)), size)
    return [texts[int(i)] for i in spans.indices[0, head]]


def most_and_least(model: Model, image: Image.Image, layer: int, head: int, texts: Sequence[str]) -> list[str]:
    """Of the texts, those of largest and smallest ⟨head(x), t⟩ for this picture."""
    if len(texts) < 2:
        raise SummandError(f"expected at least two texts of the head, got {list(texts)}")
    check_head(model, layer, head)
    pixels = model.preprocess(image)[None].to(model.device, model.dtype)
    written = model.decompose(pixels).head_effects().vectors()[0, layer, head]
    along = model.encode_text(list(texts)).to(written) @ written
    return [texts[int(along.argmax())], texts[int(along.argmin())]]
