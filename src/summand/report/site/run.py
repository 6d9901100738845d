"""The site as a result."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from ...studies.atlas_options import AtlasOptions
from ...studies.columns import Column, Table
from ...studies.given import Given, images_of, layers_of, readable_pool
from ...studies.result import Result
from ...studies.verb import verb
from ...text.pools import pool
from .build import build
from .folder import check_folder

FOLDER = Path("atlas")


class Built(Result):
    """rows: layer, head, importance, attribute (where the model's world knows it), label, verdict, words (of every
    proven end), texts that span it, explained. index: the front page of the site."""

    command: ClassVar[str] = "atlas"

    @property
    def index(self) -> Path:
        return Path(self.more["page"])

    def tables(self) -> list[Table]:
        rows = self.rows.assign(
            name=[f"{layer}.{head}" for layer, head in zip(self.rows["layer"], self.rows["head"], strict=True)],
            whole=[explained[-1] for explained in self.rows["explained"]],
        ).sort_values("importance", ascending=False, kind="stable")
        known = bool(rows["attribute"].notna().any())
        columns = [
            Column("name", "head", kind="id"),
            Column("importance", form=lambda share: f"{100 * share:.1f} %"),
            *([Column("attribute", "sees", kind="id")] if known else []),
            Column("label", "words", kind="words"),
            Column("whole", "explained", form=lambda share: f"{100 * share:.0f} %"),
        ]
        more = self.more
        left_out = f", {len(more['skipped'])} skipped" if more["skipped"] else ""
        caption = (
            f"{more['images']} images{left_out} in {more['seconds']:.0f} s; the parts add up to the whole to "
            f"{more['residual']:.0e}\n{self.index.resolve()}"
        )
        return [Table(rows, columns, "What each head of the last layers writes", caption)]

    def save(self, place: str | Path) -> dict[str, Path]:
        """It stands in its folder already."""
        return {"page": self.index}


def checked(images: Any, out: Path | None, options: AtlasOptions, count: int | None) -> tuple[Given, Path]:
    """What is given, opened, and the folder, before a model is loaded. Raises `SummandError` for what does not fit."""
    given = images_of(images, count)
    if options.pool is not None:
        pool(options.pool)
    folder = FOLDER if out is None else out
    check_folder(folder)
    return given, folder


@verb(AtlasOptions)
def atlas(
    images: Any,
    out: str | Path = FOLDER,
    *,
    model: Any = None,
    batch_size: int = 64,
    progress: bool | None = None,
    options: AtlasOptions,
) -> Built:
    """A site of plain files: what every head of some layers writes, in words, with the images and maps that show it.

    images: a survey, or images in any form, with a model. Raises `SummandError` before any expensive work for a folder
    that is not empty and not ours.
    """
    given, folder = checked(images, Path(out).expanduser(), options, None)
    if model is None:
        model = _of(given)
    chosen, notes = readable_pool(model, options.pool or model.world.pool)
    layers = layers_of(model, options.layers, last=4)
    held = given.run is not None and set(layers) <= set(given.run.manifest.kept)
    made = build(
        model, given.source, folder, pool=chosen, layers=layers, size=options.size, survey=given.run if held else None,
        batch_size=batch_size, progress=progress,
    )  # fmt: skip
    rows = [
        {
            "layer": label.layer,
            "head": label.head,
            "importance": round(label.importance, 5),
            "attribute": made.words[label.name].kind if model.world.attributes else None,
            "label": made.words[label.name].text,
            "verdict": made.words[label.name].verdict,
            "words": made.words[label.name].proven,
            "texts": list(label.texts),
            "explained": [round(float(share), 4) for share in label.explained],
        }
        for label in made.labels
    ]
    skipped = [{"name": item.name, "reason": item.reason} for item in made.skipped]
    notes += [f"skipped {item.name}: {item.reason}" for item in made.skipped]
    if model.random_weights:
        notes.append("the weights are RANDOM: these labels mean nothing")
    return Built(
        rows, options, model=model.name, data=given.source.label, notes=notes, page=str(made.page), images=made.images,
        residual=made.residual, skipped=skipped, seconds=made.seconds,
    )  # fmt: skip


def _of(given: Given) -> Any:
    from ...errors import SummandError

    if given.run is None:
        raise SummandError("model=MODEL is missing: a survey knows its model, images do not")
    return given.run.model
