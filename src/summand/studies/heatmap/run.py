"""Where in the picture: what speaks for a text, and what against it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...data import Skipped, open_source
from ...errors import SummandError
from ...maps.drawing import Picture, drawing, parse_head
from ...maps.heatmap import Heatmap
from ...maps.joint import head_texts, most_and_least
from ...maps.options import HeatmapOptions
from ...models import Model
from ...models.readable import readable
from ...progress import Progress
from ...text.pools import pool
from ..verb import verb
from .pictures import Pictures, opened
from .result import Heatmaps, check_arrays


@verb(HeatmapOptions)
def heatmap(
    model: Model, images: Any, texts: str | Sequence[str] = (), *, options: HeatmapOptions
) -> Heatmap | Heatmaps:
    r"""map[text, patch] = ⟨Σ_{l,h} c_{patch}^{l,h}, t − t̄⟩, the patches' direct effects along a text (paper C, §5).

    images: one picture (a path, a PIL image, a uint8 array), which gives a `Heatmap`; or many (a list, a folder, a
    source string, an array of several), which give `Heatmaps`. texts: one or several. t̄: the mean of the contrast, by
    default a spread of the model's own description pool (120 texts, where 1,000 classes would cost ten times the
    image); with versus the other text in its place: red where the image speaks for the text, blue where for the other.
    At most one of these draws something else than the whole:

    head: the contributions through that head alone (joint decomposition, paper C, Fig. 7); without texts its most and
    least similar ones. neuron: its activations; texts are not needed. pair: of an attention pool, the neuron's
    activation times the head's similarity to each text less the contrast (paper B). method: any other that
    `summand.segment` compares, signed.

    windows: read the whole picture at so many windows of the model's size along its short side, half a window apart,
    each map averaged where they overlap: 1 for what a square crop would lose, 2 or more for a finer map.

    notes say how much of what the pictures say of the texts heads write, Σ_t ⟨heads, t⟩⟨M, t⟩ / Σ_t ⟨M, t⟩² over the
    centred texts, and how much MLPs, the input and constants, of which a map holds nothing.

    Raises `SummandError` for empty texts, a part or method that the model does not have, and what is no picture.
    """
    pictures = images if isinstance(images, Pictures) else opened(images, options.count)
    maps, about = _drawn(model, pictures, texts, options)
    return maps[0] if pictures.single else Heatmaps(maps, options, **about)


def checked(images: Any, texts: Sequence[str], options: HeatmapOptions, array: Path | None) -> Pictures:
    """The pictures, opened before a model is loaded. Raises `SummandError` for texts that do not fit the options, and
    where the maps cannot be written to `array`."""
    options.check_texts(list(texts))
    pictures = opened(images, options.count)
    if array is not None:
        check_arrays(array, pictures.single)
    return pictures


def drawn(model: Model, pictures: Pictures, texts: str | Sequence[str], options: HeatmapOptions) -> Heatmaps:
    """The maps of one picture or many."""
    maps, about = _drawn(model, pictures, texts, options)
    return Heatmaps(maps, options, **about)


def _drawn(
    model: Model, pictures: Pictures, texts: str | Sequence[str], options: HeatmapOptions
) -> tuple[list[Heatmap], dict[str, Any]]:
    """A map of each picture that can be read, and what is said of all of them."""
    given = [texts] if isinstance(texts, str) else list(texts)
    options.check_texts(given)
    notes: list[str] = []
    own = _labelled(model, options, notes) if options.head is not None and not given else None
    plan = None if own is not None else drawing(model, given, options)
    skipped: list[Skipped] = []
    maps: list[Heatmap] = []
    with Progress("heatmap", len(pictures), "pictures") as bar:
        for batch in pictures.batches(options.batch_size, skipped):
            if plan is not None and batch:
                maps += plan.of(batch)
            elif own is not None:
                maps += [heatmap_of for one in batch for heatmap_of in _of_head(model, one, own, options)]
            bar.update(len(batch))
    if not maps:
        reasons = "; ".join(f"{item.name}: {item.reason}" for item in skipped[:3])
        raise SummandError(f"{pictures.label}: not one picture could be read ({reasons})")
    if skipped:
        named = "; ".join(f"{item.name}: {item.reason}" for item in skipped[:5])
        notes.append(f"{len(skipped)} pictures were skipped ({named})")
    return maps, {"model": model.name, "data": pictures.label, "notes": notes, "skipped": skipped}


def _labelled(model: Model, options: HeatmapOptions, notes: list[str]) -> list[str]:
    """The texts that span what the head writes over a set of images (paper C, Fig. 7)."""
    reference = options.reference if options.reference is not None else model.world.images
    if reference is None:
        raise SummandError(
            "without texts a head's own texts are drawn; give reference=IMAGES, a set to label the head on"
        )
    chosen, left = readable(pool(options.pool or model.world.pool), model._tokenizer)
    if left:
        named = "; ".join(f"line {one.line}: {one.reason}" for one in left[:5])
        notes.append(f"{len(left)} descriptions of {chosen.name} were skipped ({named})")
    return head_texts(model, open_source(reference), chosen.texts, *parse_head(str(options.head)))


def _of_head(model: Model, one: Picture, texts: list[str], options: HeatmapOptions) -> list[Heatmap]:
    """Of the head's texts, the two that point most and least along what it writes here."""
    chosen = most_and_least(model, one.image, *parse_head(str(options.head)), texts)
    return drawing(model, chosen, options).of([one])
