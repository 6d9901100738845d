"""The words of the texts that are compared, with the patches of the picture."""

from __future__ import annotations

from PIL import Image

from ...errors import SummandError
from ...maps.match import text_side
from ...maps.token_terms import terms_of
from ..words import WordMap, block, word_map
from .known import Known
from .pictures import data_uri, heatmap_of_grids
from .places import box_of_patch
from .question import Along, Reading, token_map
from .views import note

_SIDE = 480
_ABOUT = (
    "The cosine of picture and text is an exact sum over pairs of one patch and one word, and a rest. Each word is "
    "held against what stands in its place in other descriptions."
)


def word_maps(known: Known, reading: Reading, along: Along) -> list[WordMap]:
    """Of the text that is explained, and of the one it is held against. Raises `SummandError` of a text tower that
    cannot be taken apart."""
    asked = [along.text] if along.versus is None else [along.text, along.versus]
    return [_of_text(known, reading, reading.texts[place]) for place in asked]


def _of_text(known: Known, reading: Reading, text: str) -> WordMap:
    model, kept = known.model, reading.kept
    if text not in kept:
        if "" not in kept:  # no text is empty: the terms of the picture
            kept[""] = model.at_once(lambda: terms_of(model.decompose(reading.pixels))[0])
        side = model.at_once(lambda: text_side(model, text, contrast=known.contrast))
        kept[text] = word_map(kept[""], side, model.tower.grid, model.tower.prefix)
    return kept[text]


def joined(known: Known, reading: Reading, along: Along) -> str:
    """Both texts beside the picture; why there is nothing, where the words cannot be taken apart."""
    try:
        maps = word_maps(known, reading, along)
    except SummandError as error:
        return note(f"words cannot be held against patches: {error}")
    picture, box = _below(reading)
    html = block(maps, data_uri(picture, _SIDE), "the picture", box)
    return f'<section class="sx" aria-label="words and patches">{note(_ABOUT)}{html}</section>'


def _below(reading: Reading) -> tuple[Image.Image, tuple[float, float, float, float]]:
    """The picture that maps are laid over, and what the patches cover of it, each from 0 to 1."""
    found = heatmap_of_grids(reading, [token_map(reading, Along())], ["-"]).place()["grid_box"]
    picture = Image.fromarray(reading.seen) if found is None else reading.picture
    rows, columns = reading.model.tower.grid
    left, top, _, _ = box_of_patch(reading, 0, 0)
    _, _, right, bottom = box_of_patch(reading, rows - 1, columns - 1)
    return picture, (left / picture.width, top / picture.height, right / picture.width, bottom / picture.height)
