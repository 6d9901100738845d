"""From a survey to a site: words, examples, one pass for maps and pictures, pages."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from ...data import ImageSource, Skipped
from ...models import Model
from ...studies.world import strange_pictures
from ...survey import Survey
from ...text.labels import HeadLabel, importance, label_heads
from ...text.pools import Pool
from .ablation import changes_of, problems_of
from .beside import ByName, Gone, labelled, layers_shown, surveyed
from .entries import Entry, entries_of
from .examples import Examples, Tab, centred_texts
from .folder import built_in, check_folder
from .maps import Look, Maps
from .pages import Made, Pages
from .pictures import Thumbnails
from .recipe import unusual
from .relations import carried_by, nearest, paths_of
from .sentences import Sentences
from .terms import WhatMlpsWrite
from .waterfall import Images

HELD_OUT = 0.2
"""Of the images of a survey that the atlas makes: words are chosen on a half of these and proven on the other."""
_NEAREST, _PATHS, _CARRIED = 6, 5, 8


@dataclass(frozen=True)
class Choice:
    """What the pages are to show; as in `build`. of_all: layers of the tower."""

    layers: tuple[int, ...]
    size: int
    examples: int
    most: int
    pictures: int
    classes: str | None
    no_images: bool
    of_all: int

    @property
    def asked(self) -> dict[str, Any]:
        """As the options of `summand atlas`."""
        layers = None if len(self.layers) == self.of_all else ",".join(map(str, self.layers))
        return {**{name: value for name, value in asdict(self).items() if name != "of_all"}, "layers": layers}


@dataclass(frozen=True)
class Atlas:
    """What was built: the front page, the texts that span each head, the units with pages, and what was left out."""

    page: Path
    labels: list[HeadLabel]
    entries: list[Entry]
    images: int
    skipped: tuple[Skipped, ...]
    residual: float
    seconds: float
    notes: tuple[str, ...] = ()

    @cached_property
    def words(self) -> dict[str, Any]:
        """What each unit is called."""
        return {entry.name: entry.words for entry in self.entries}

    @property
    def pages(self) -> dict[str, int]:
        """Kind → how many units of it have a page."""
        return dict(Counter(entry.kind for entry in self.entries))


def build(
    model: Model,
    source: ImageSource,
    out: Path,
    *,
    pool: Pool,
    layers: int | Sequence[int] | None = None,
    units: str | None = None,
    size: int = 10,
    examples: int = 8,
    most: int = 4096,
    pictures: int = 48,
    classes: str | None = None,
    no_images: bool = False,
    survey: Survey | None = None,
    again: bool = False,
    batch_size: int = 64,
    progress: bool | None = True,
) -> Atlas:
    """Write the site to `out`.

    layers: which, or how many of the last ones, have a page a head [default: all]. units: of a survey that is made now.
    size: texts that span a head. examples: images a tab of a unit's page. most: of a group of neurons or pairs only so
    many have pages, the most important ones. pictures: so many images have pages. classes: as in `ablate`, for what
    ablation does. no_images: copy no pictures. survey: of these images, in which nothing is changed; again: label it
    with this pool though it has labels. Raises `SummandError` before any expensive work for an output folder that is
    not empty and not ours.
    """
    started = time.time()
    check_folder(out)
    own, every = layers_shown(model, layers), model.tower.layers
    choice = Choice(own, size, examples, most, pictures, classes, no_images, every)
    with built_in(out) as folder:
        embeddings = model.encode_text(pool.texts, progress=progress)
        if survey is None:
            survey = surveyed(model, source, units, HELD_OUT, batch_size, progress)
        found = labelled(survey, model, pool, embeddings, again, most, progress)
        entries, left = entries_of(found, choice.layers, most)
        notes = [
            f"{count:,} of {name} have no page of their own (most={most})" for name, count in left.items() if count
        ]
        notes += [source.said] if isinstance(source, (ByName, Gone)) else []
        shown = None if isinstance(source, Gone) else source
        made, labels = _made(model, shown, folder, found, pool, embeddings, entries, choice, batch_size, progress)
        Pages(made, folder).write()
    gone = tuple(Skipped(item["name"], item["reason"]) for item in found.manifest.skipped)
    return Atlas(
        out / "index.html", labels, entries, len(found.images), (*gone, *made.skipped), found.manifest.residual or 0.0,
        time.time() - started, tuple(notes),
    )  # fmt: skip


def _made(
    model: Model,
    source: ImageSource | None,
    folder: Path,
    survey: Survey,
    pool: Pool,
    embeddings: Tensor,
    entries: list[Entry],
    choice: Choice,
    batch_size: int,
    progress: bool | None,
) -> tuple[Made, list[HeadLabel]]:
    """All that the pages say."""
    texts = centred_texts(pool.texts, embeddings)
    shares, labels = None, []
    if survey.holds("heads"):
        moments = survey.moments("heads")
        shares = importance(moments, embeddings)
        labels = label_heads(moments, choice.layers, pool.texts, embeddings, shares, choice.size)
    problems = problems_of(model, survey, source, choice.classes)
    chosen = Examples(survey, texts, choice.examples, max(1, choice.examples // 2))
    tabs = {entry.name: chosen.tabs(entry) for entry in entries}
    maps = Maps(tabs, model.tower.grid, folder)
    look = Look(model, entries, tabs, maps)
    pages = [] if source is None else _with_pages(survey, tabs, choice.pictures)
    sentences = Sentences(model, source)
    images, mlps = Images(model, survey, pages, problems, texts, sentences), WhatMlpsWrite(survey, embeddings)
    thumbs = None if source is None or choice.no_images else Thumbnails(model, source, folder / "thumbs")
    if source is not None:

        def seen(numbers: list[int], pixels: Tensor, parts: Any) -> None:
            if thumbs is not None:
                thumbs.write(numbers, list(model.picture(pixels)))
            images.see(numbers, pixels)
            mlps.see(numbers, parts)

        look.run(source, look.images([*images.pages, *mlps.wanted]), seen, batch_size, progress)
    tabs = {name: [tab.only(look.read) for tab in some] for name, some in tabs.items()}
    images.only(look.read)
    images.moved(survey, entries)
    paths = paths_of(survey, entries, texts, _PATHS)
    made = Made(
        model=model, survey=survey, pool=pool, embeddings=embeddings, entries=entries, tabs=tabs, maps=maps,
        thumbs=thumbs, source=survey.manifest.source,
        strange=None if source is None else strange_pictures(model, source),
        spans={label.name: label for label in labels}, shares=shares, mlps=mlps.shares(),
        changes=changes_of(survey, problems, entries), problems=problems, near=nearest(survey, entries, _NEAREST),
        paths=paths, carried=carried_by(paths, entries, _CARRIED), images=list(images.pages.values()),
        unspoken=sentences.why, asked=unusual(choice.asked), skipped=look.skipped,
    )  # fmt: skip
    return made, labels


def _with_pages(survey: Survey, tabs: dict[str, list[Tab]], count: int) -> list[int]:
    """Of the images kept aside, whose effects on all units are known, those that most pages show."""
    shown: dict[int, int] = {int(image): 0 for image in survey.held_out_images}
    for some in tabs.values():
        for tab in some:
            for image in tab.strongest:
                if image in shown:
                    shown[image] += 1
    return sorted(sorted(shown, key=lambda image: (-shown[image], image))[:count])
