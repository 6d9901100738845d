"""The pages themselves: what each template is given, and where it is written."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from torch import Tensor

from ...data import Skipped
from ...maps.placing import share_of
from ...models import Model
from ...survey import Group, Survey
from ...survey.terms import shares_said, term_shares
from ...text.labels import HeadLabel
from ...text.pools import Pool
from ..html import pages, stylesheet
from ..words import block, script
from .ablation import Change, Problem
from .entries import Entry
from .examples import Tab
from .front import front_page
from .histogram import Bars, bars_of
from .index import thumbs_of, write_index, write_labels
from .maps import Maps
from .numbers import maps_of_image, maps_of_unit
from .pictures import Thumbnails, file_of
from .recipe import making, opening
from .relations import Near
from .relations import Path as Through
from .terms import Shares
from .waterfall import ImagePage, rows_of, strongest_heads


@dataclass
class Made:
    """All that the pages say, by the name of the unit where it is of one."""

    model: Model
    survey: Survey
    pool: Pool
    embeddings: Tensor
    entries: list[Entry]
    tabs: Mapping[str, list[Tab]]
    maps: Maps
    thumbs: Thumbnails | None
    source: str
    strange: str | None
    spans: Mapping[str, HeadLabel]
    shares: Tensor | None
    mlps: Shares | None
    changes: Mapping[str, tuple[Change, ...]]
    problems: Sequence[Problem]
    near: Mapping[str, Mapping[str, list[Near]]]
    paths: Mapping[str, list[Through]]
    carried: Mapping[str, list[tuple[Entry, float]]]
    images: list[ImagePage]
    unspoken: str
    asked: dict[str, Any]
    skipped: Sequence[Skipped]

    def fall(self, name: str) -> Change | None:
        """What ablating a unit does most: the problem whose accuracy falls furthest."""
        found = self.changes.get(name, ())
        return found[0] if found else None


class Pages:
    """Writes a site to a folder."""

    def __init__(self, made: Made, folder: Path) -> None:
        self.made, self.folder = made, folder
        self.templates = pages("summand.report.site")
        self.image_pages = {page.image: page for page in made.images}
        known = {entry.name: entry for entry in made.entries}
        self.known: Mapping[str, Entry] = known
        self.names = made.survey.images["name"].to_dict()
        with made.model.as_it_is():
            self.share, self.grid = share_of(made.model), made.model.tower.grid

    def write(self) -> None:
        with self.made.model.as_it_is():  # every page asks for the form of the tower
            self._write()

    def _write(self) -> None:
        made = self.made
        (self.folder / "style.css").write_text(stylesheet(), encoding="utf-8")
        for name in ("atlas.js", "unit.js"):
            text = (files("summand.report.site") / "templates" / name).read_text(encoding="utf-8")
            (self.folder / name).write_text(text, encoding="utf-8")
        (self.folder / "words.js").write_text(f"{script()}\nsummandWords(document);\n", encoding="utf-8")
        write_labels(made.survey.labels, self.folder / "labels.csv")
        thumbs = {name: self._there(thumbs_of(tabs)) for name, tabs in made.tabs.items()}
        falls = {name: some[0].fall for name, some in made.changes.items() if some}
        pieces = write_index(made.entries, thumbs, falls, self.folder / "data")
        sheet = {}
        if made.thumbs is not None:
            heads = [i for e in made.entries if e.group.kind == "heads" for i in thumbs.get(e.name, ())]
            sheet = made.thumbs.sheet(heads, self.folder / "sheet.webp") if heads else {}
        context = self._context()
        for entry, page in self._unit_pages(context):
            self._put(entry.page, page)
        for image in made.images:
            self._put(image.page, self._image_page(image, context))
        front = front_page(made, sheet, thumbs, pieces)
        self._put("index.html", self.templates.get_template("index.html.j2").render(**context, **front, root=""))

    def _put(self, address: str, text: str) -> None:
        path = self.folder / address
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def _image(self, image: int) -> dict[str, Any]:
        """An image as the script of a page knows it: its file, its name, whether it has a page, its number."""
        file = file_of(image) if self._there([image]) else None
        return {"f": file, "n": str(self.names.get(image, "")), "p": image in self.image_pages, "i": image}

    def _there(self, images: Sequence[int]) -> list[int]:
        return [] if self.made.thumbs is None else [i for i in images if i in self.made.thumbs.written]

    def _context(self) -> dict[str, Any]:
        made, manifest = self.made, self.made.survey.manifest
        return {
            "model": made.model,
            "manifest": manifest,
            "source": made.source,
            "images": len(made.survey.images),
            "held": len(made.survey.held_out_images),
            "skipped": [*manifest.skipped, *({"name": s.name, "reason": s.reason} for s in made.skipped)],
            "residual": manifest.residual or 0.0,
            "pool": made.pool,
            "strange": made.strange,
            "scenes": bool(made.model.world.attributes),
            "opening": opening(made.survey),
            "making": making(made.survey, made.pool.name, made.asked),
            "no_images": made.thumbs is None,
            "file_of": file_of,
            "said": re.sub(r"-(?=\d)", "−", shares_said(made.survey, made.embeddings)),
            "terms": term_shares(made.survey, made.embeddings),
            "problems": made.problems,
        }

    def _unit_pages(self, context: dict[str, Any]) -> Iterator[tuple[Entry, str]]:
        made, template = self.made, self.templates.get_template("unit.html.j2")
        bars: dict[Group, dict[tuple[int, ...], Bars]] = {}
        for place, entry in enumerate(made.entries):
            if entry.group not in bars:
                bars = {entry.group: bars_of(made.survey, entry.group)}  # of one group at a time
            tabs, span = made.tabs[entry.name], made.spans.get(entry.name)
            yield (
                entry,
                template.render(
                    **context,
                    root="../",
                    entry=entry,
                    tabs=tabs,
                    data={
                        **maps_of_unit(made.maps, entry.name, tabs, self._image),
                        "grid": self.grid,
                        "share": self.share,
                    },
                    steps=_steps(span),
                    changes=made.changes.get(entry.name, ()),
                    near=made.near.get(entry.name, {}),
                    paths=made.paths.get(entry.name, []),
                    known=self.known,
                    carried=made.carried.get(entry.name, []),
                    siblings=self._siblings(entry),
                    bars=bars[entry.group].get(entry.unit.index),
                    previous=made.entries[place - 1] if place else None,
                    following=made.entries[place + 1] if place + 1 < len(made.entries) else None,
                    image_pages=self.image_pages,
                ),
            )

    def _siblings(self, entry: Entry) -> list[Entry]:
        """Of a pair, the same neuron through other heads: its sub-concepts."""
        if entry.kind != "pair":
            return []
        if not hasattr(self, "_of_neuron"):
            self._of_neuron: dict[int, list[Entry]] = {}
            for other in self.made.entries:
                if other.kind == "pair":
                    self._of_neuron.setdefault(other.unit.index[0], []).append(other)
        return [other for other in self._of_neuron[entry.unit.index[0]] if other.name != entry.name]

    def _image_page(self, page: ImagePage, context: dict[str, Any]) -> str:
        there = self.made.images
        place = there.index(page)
        picture = f"../thumbs/{file_of(page.image)}" if self._there([page.image]) else None
        return self.templates.get_template("image.html.j2").render(
            **context,
            root="../",
            page=page,
            falls=[rows_of(score) for score in page.scores],
            most=[strongest_heads(score) for score in page.scores],
            picture=picture,
            shown_by=self._shown_by(page.image),
            previous=there[place - 1] if place else None,
            following=there[place + 1] if place + 1 < len(there) else None,
            known=self.known,
            unspoken=self.made.unspoken,
            texts=json.dumps([score.phrase for score in page.scores], ensure_ascii=False),
            sentence=json.dumps(page.sentences[0].text, ensure_ascii=False) if page.sentences else "",
            data={**maps_of_image(page), "grid": self.grid, "share": self.share},
            words=block(page.sentences, picture, page.name, (0, 0, self.share[1], self.share[0])),
        )

    def _shown_by(self, image: int) -> list[tuple[Entry, Tab]]:
        """The heads whose page shows the image first or second."""
        if not hasattr(self, "_showing"):
            self._showing: dict[int, list[tuple[Entry, Tab]]] = {}
            for entry in self.made.entries:
                for tab in self.made.tabs[entry.name]:
                    for shown in tab.strongest[:3]:
                        if tab.proven:
                            self._showing.setdefault(shown, []).append((entry, tab))
        return self._showing.get(image, [])[:16]


def _steps(span: HeadLabel | None) -> list[dict[str, Any]]:
    """Each text with the variance explained before it and with it, in percent."""
    if span is None:
        return []
    before = [0.0, *span.explained]
    return [
        {"text": text, "from": 100 * low, "to": 100 * high, "adds": 100 * (high - low)}
        for text, low, high in zip(span.texts, before, span.explained, strict=False)
    ]
