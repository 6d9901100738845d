"""A survey in a folder, as a command asks for it: everything checked before the model is loaded."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ...data import open_source
from ...errors import SummandError
from ...models.ablations.steer_words import steer_text
from ...survey import Manifest
from ...survey.devices import devices_of
from ...survey.folder import check_folder
from ...survey.make import keeping_whole, make
from ...survey.manifest import FILE
from ...survey.survey import Survey
from ...survey.terms import TermShares, term_shares
from ...survey.units import default_units, groups_of
from ...unit import parse_units, split
from .options import SurveyOptions
from .result import Surveyed

FOLDER = Path("survey")
"""Where a survey goes that is given no folder."""


def surveyed(images: str, out: Path | None, options: SurveyOptions, model: Any, compute: Any) -> Surveyed:
    """`summand.survey`, of a model that is still to be loaded (`model.load(source)`). compute: batch_size and count.

    Raises `SummandError` for units, images and folders that do not fit, before the model is loaded.
    """
    out = FOLDER if out is None else out
    wanted = parse_units(options.units) if options.units is not None else None
    kept = parse_units(options.keep) if options.keep is not None else ()
    images = images if options.column is None else f"{images}#{options.column}"
    source = open_source(images, compute.count)
    more = {"checkpoint": model.checkpoint, "activation": model.activation, "random_init": model.random_init}
    more |= {"precision": model.precision, "image_size": model.image_size, "ablation": model.ablation}
    more |= {"sae": () if model.sae is None else split(model.sae)}
    more |= {"steer": None if model.steer is None else steer_text(model.steer)}
    asked = Manifest.draft(
        model.model, model.pretrained, source, images, compute.count, top=options.top, held_out=options.held_out, **more
    )
    devices = devices_of(model.device)
    model = replace(model, device=devices[0])
    check_folder(out, asked, options.restart, kept=options.keep is None)
    done = not options.restart and (out / FILE).is_file() and Manifest.read(out).complete
    written = (out / FILE).stat().st_mtime_ns if done else 0
    loaded = model.load(source)
    whole = groups_of(loaded, kept)
    groups = tuple(dict.fromkeys([*groups_of(loaded, wanted or default_units(loaded)), *whole]))
    asked = keeping_whole(asked, whole, options.dtype)
    more = {"batch_size": compute.batch_size, "restart": options.restart, "max_skipped": options.max_skipped}
    more |= {"devices": devices, "engine": options.engine}
    found = make(loaded, source, asked, groups, out, **more)
    mended = done and (out / FILE).stat().st_mtime_ns != written
    there = "what was damaged of it was made again" if mended else "nothing to do (--restart makes it again)"
    notes = [f"{out} is complete; {there}"] if done else []
    return result_of(found, options, loaded.name, notes)


def going_on(out: Path | None, options: SurveyOptions) -> str | None:
    """What is there already of a survey that was stopped, in words; None where nothing is."""
    out = FOLDER if out is None else out
    if options.restart or not (out / FILE).is_file():
        return None
    there = Manifest.read(out)
    return (
        None if there.complete else f"going on with {out}: {there.passed:,} of {there.planned:,} image passes are done"
    )


def result_of(survey: Survey, options: SurveyOptions, model: str, notes: list[str]) -> Surveyed:
    """A row for every group of units of a survey in a folder."""
    made = survey.manifest
    notes = [*notes, *(f"skipped {item['name']}: {item['reason']}" for item in made.skipped)]
    if made.random_init:
        notes.append("the weights are RANDOM: these statistics mean nothing")
    terms = _along_texts(survey)
    return Surveyed(
        [_row(survey, group) for group in survey.groups], options, model=model, data=made.source, notes=notes,
        run=str(survey.path), images=len(survey.images), held_out_images=len(survey.held_out_images),
        residual=made.residual, skipped=list(made.skipped), seconds=made.seconds,
        along_texts=None if terms is None else {**asdict(terms), "said": str(terms)},
    )  # fmt: skip


def _along_texts(survey: Survey) -> TermShares | None:
    """Along a spread of the texts of the model's world; None where it reads none, or no images were held out."""
    try:
        return term_shares(survey, survey.model.encode_text(survey.model.world.contrast()))
    except SummandError:  # a model without texts
        return None


def _row(survey: Survey, group: Any) -> dict[str, Any]:
    data, path = survey.dataset(group), survey.path
    explained = data["direction_explained"].isel(component=0)
    size = 0 if path is None else sum(f.stat().st_size for f in (path / f"{group.name}.zarr").rglob("*") if f.is_file())
    return {
        "units": group.name,
        "count": int(explained.size),
        "paths": int(data.sizes["path"]),
        "images": int(data.attrs["count"]),
        "first_direction": round(float(explained.median()), 4),
        "megabytes": round(size / 1e6, 1),
    }
