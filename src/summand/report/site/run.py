"""The site as a result."""

from __future__ import annotations

import os
import webbrowser
from pathlib import Path
from typing import Any, ClassVar

from ...errors import SummandError
from ...models import Model
from ...studies.atlas_options import AtlasOptions
from ...studies.columns import Column, Table
from ...studies.given import Given, images_of, is_survey, layers_of, readable_pool
from ...studies.result import Result
from ...studies.verb import OptionError, verb
from ...survey import Survey, open_survey
from ...text.pools import pool
from ...unit import parse_units
from .beside import pictures_of
from .build import Atlas, build
from .folder import check_folder

FOLDER = Path("atlas")


class Built(Result):
    """rows: layer, head, importance, attribute (where the model's world knows it), label, verdict, words (of every
    proven end), texts that span it, explained, of every head with a page. index: the front page of the site; pages: how
    many units of each kind have one."""

    command: ClassVar[str] = "atlas"

    @property
    def index(self) -> Path:
        return Path(self.more["page"])

    def tables(self) -> list[Table]:
        more = self.more
        kinds = ", ".join(f"{count:,} {kind}s" for kind, count in more["pages"].items())
        left_out = f", {len(more['skipped'])} skipped" if more["skipped"] else ""
        caption = (
            f"{kinds}; {more['images']} images{left_out} in {more['seconds']:.0f} s; the parts add up to the whole to "
            f"{more['residual']:.0e}\n{self.index.resolve()}"
        )
        if self.rows.empty:
            return [Table(self.rows, [], "", caption)]
        rows = self.rows.assign(
            name=[f"{layer}.{head}" for layer, head in zip(self.rows["layer"], self.rows["head"], strict=True)],
            whole=[explained[-1] if explained else None for explained in self.rows["explained"]],
        ).sort_values("importance", ascending=False, kind="stable")
        known = bool(rows["attribute"].notna().any())
        columns = [
            Column("name", "head", kind="id"),
            Column("importance", form=lambda share: f"{100 * share:.1f} %"),
            *([Column("attribute", "sees", kind="id")] if known else []),
            Column("label", "words", kind="words"),
            Column("whole", "explained", form=lambda share: f"{100 * share:.0f} %"),
        ]
        return [Table(rows, columns, "What each head writes", caption)]

    def save(self, place: str | Path) -> dict[str, Path]:
        """It stands in its folder already."""
        return {"page": self.index}


def checked(images: Any, out: Path | None, options: AtlasOptions, count: int | None) -> tuple[Given, Path]:
    """What is given, opened, and the folder, before a model is loaded. Raises `SummandError` for what does not fit."""
    folder = FOLDER if out is None else out
    check_folder(folder)
    if options.pool is not None:
        pool(options.pool)
    if options.units is not None:
        parse_units(options.units)
    return opened(images, count), folder


def opened(images: Any, count: int | None = None) -> Given:
    """Images in any form; a survey, whose images need not be there any more."""
    if isinstance(images, Given) or not is_survey(images):
        return images_of(images, count)
    if count is not None:
        raise OptionError("count", f"must be left out: {images} is a survey, which has its own images")
    survey = images if isinstance(images, Survey) else open_survey(os.fspath(images))
    return Given(str(images), pictures_of(survey), survey)


@verb(AtlasOptions)
def atlas(
    images: Any,
    out: str | Path = FOLDER,
    *,
    model: Model | None = None,
    batch_size: int = 64,
    options: AtlasOptions,
) -> Built:
    """A site of plain files: what the heads, neurons and pairs of a model write, in words, with the images and maps
    that show it; and a search over all of them.

    images: a survey, or images in any form, with a model. Nothing is changed in a survey; one without labels is
    labelled for the site alone. Raises `SummandError` before any expensive work for a folder that is not empty and
    not ours.
    """
    given, folder = checked(images, Path(out).expanduser(), options, None)
    survey = given.run
    if survey is not None and options.units is not None:
        raise OptionError("units", f"must be left out: the survey holds {', '.join(survey.manifest.groups)}")
    if model is None:
        if survey is None:
            raise SummandError("model=MODEL is missing: a survey knows its model, images do not")
        model = survey.model
    elif survey is not None:
        survey.check_model(model)
    chosen, notes = readable_pool(model, options.pool or model.world.pool)
    made = build(
        model, given.source, folder, pool=chosen,
        layers=None if options.layers is None else layers_of(model, options.layers, last=model.tower.layers),
        units=options.units, size=options.size, examples=options.examples, most=options.most, pictures=options.pictures,
        classes=options.classes, no_images=options.no_images, survey=survey, again=options.pool is not None,
        batch_size=batch_size, progress=None,
    )  # fmt: skip
    notes += [*made.notes, *(f"skipped {item.name}: {item.reason}" for item in made.skipped)]
    if model.random_weights:
        notes.append("the weights are RANDOM: these labels mean nothing")
    if options.open:
        webbrowser.open(made.page.resolve().as_uri())
    return Built(
        _rows(made, bool(model.world.attributes)), options, model=model.name, data=given.source.label, notes=notes,
        page=str(made.page), images=made.images, residual=made.residual, seconds=made.seconds, pages=made.pages,
        skipped=[{"name": item.name, "reason": item.reason} for item in made.skipped],
    )  # fmt: skip


def _rows(made: Atlas, attributes: bool) -> list[dict[str, Any]]:
    return [
        {
            "layer": label.layer,
            "head": label.head,
            "importance": round(label.importance, 5),
            "attribute": made.words[label.name].kind if attributes else None,
            "label": made.words[label.name].text,
            "verdict": made.words[label.name].verdict,
            "words": made.words[label.name].proven,
            "texts": list(label.texts),
            "explained": [round(float(share), 4) for share in label.explained],
        }
        for label in made.labels
    ]
