"""How a site is made again, and how one of its numbers is computed: as text to copy, with all that must be filled in
said."""

from __future__ import annotations

import shlex
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from ...studies.atlas_options import AtlasOptions
from ...survey import Survey

_NAMES = ("checkpoint", "ablation", "steer", "sae")  # which may be files of the one who made the survey


def place_of(survey: Survey) -> str:
    """The name of the survey's folder, without where it lies; that of the examples, for one in memory."""
    return "run" if survey.path is None else survey.path.name


def opening(survey: Survey) -> str:
    """Python that opens the survey."""
    place = place_of(survey)
    if not survey.manifest.wrapped:
        return f'survey = summand.open("{place}")'
    return (
        "# fill in: clip, preprocess and tokenizer are your own model’s\n"
        f'model = summand.wrap(clip, preprocess=preprocess, tokenizer=tokenizer, name="{survey.manifest.model}")\n'
        f'survey = summand.open("{place}", model=model)'
    )


def making(survey: Survey, pool: str, asked: dict[str, Any]) -> str:
    """What makes the site: commands, or Python for a model that was wrapped, or images that were in memory, which no
    command knows. asked: options of `summand atlas` that are not as usual."""
    made = survey.manifest
    if made.wrapped or made.location is None:
        return _python(survey, pool, asked)
    named = {name: Path(given).name for name in _NAMES if (given := getattr(made, name)) and Path(given).is_absolute()}
    place = place_of(survey)
    lines = [
        replace(made, location=None, **named).command(Path(place)),
        shlex.join(["summand", "label", place, "--pool", pool]),
        shlex.join(["summand", "atlas", place, *_flags(asked), "--out", "atlas", "--open"]),
    ]
    return "\n".join(lines)


def unusual(given: dict[str, Any]) -> dict[str, Any]:
    """The options of `summand atlas` that are not as usual."""
    usual = {field.name: field.default for field in fields(AtlasOptions)}
    return {name: value for name, value in given.items() if name in usual and value != usual[name]}


def _flags(asked: dict[str, Any]) -> list[str]:
    found: list[str] = []
    for name, value in asked.items():
        flag = f"--{name.replace('_', '-')}"
        found += [flag] if value is True else [flag, str(value)]
    return found


def _python(survey: Survey, pool: str, asked: dict[str, Any]) -> str:
    made = survey.manifest
    units = ",".join(made.groups).replace(".", ":")
    images = f'"{made.source}"' if made.location is not None else "images"
    lines = ["import summand", ""]
    if made.wrapped:
        lines += [
            "# fill in: clip, preprocess and tokenizer are your own model’s"
            + ("" if made.location else ", images its images"),
            f'model = summand.wrap(clip, preprocess=preprocess, tokenizer=tokenizer, name="{made.model}")',
        ]
    else:
        pretrained = f', "{made.pretrained}"' if made.pretrained else ""
        lines += ["# fill in: images, which were in memory", f'model = summand.load("{made.model}"{pretrained})']
    top = "" if made.top is None else f", top={made.top}"
    more = "".join(f", {name}={value!r}" for name, value in asked.items())
    return "\n".join(
        [
            *lines,
            f'survey = summand.survey(model, {images}, units="{units}", held_out={made.held_out}{top}, '
            f'out="{place_of(survey)}")',
            f'survey.label("{pool}")',
            f'summand.atlas(survey, "atlas", model=model{more})',
        ]
    )
