"""Maps against masks as the papers score them: what the rows of segmentation share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..segmentation.result import Segmentation
from ..segmentation.run import segment
from .job import Job
from .row import Claim, Found
from .sets import scenes

_SEED = 1821
MEASURES = {"pixel_accuracy": "pixel accuracy", "mIoU": "mIoU", "mAP": "mAP"}


def segmented(job: Job, need: str, methods: Iterable[str], **more: Any) -> Segmentation:
    """Every method as published (protocol="paper"). On scenes of two groups, whose texts name the one that the mask
    shows; so they ask for the true class."""
    asked: dict[str, Any] = {
        "methods": list(methods),
        "protocol": "paper",
        "batch_size": min(32, job.options.batch_size),
    }
    if job.scenes:
        data = scenes(job.count(300), _SEED, "groups=2")
        by = {"by": "shape"} if more.get("fit") == "windows" else {"asked": "true"}
        own = {name: value for name, value in more.items() if name != "fit"}
        return segment(job.model(), data, **asked, **by, **own, examples=0)
    reference = job.options.places().get("reference")
    more |= {} if reference is None else {"reference": str(reference)}
    return segment(
        job.model(), f"{_FORMATS[need]}:{job.path(need)}", count=job.options.count, examples=0, **asked, **more
    )


_FORMATS = {"imagenet-seg": "imagenet-segmentation", "context59": "context59"}


def scored(made: Segmentation, names: Mapping[str, str], measures: Mapping[str, str] = MEASURES) -> Found:
    """Per cent of every method and measure, as the papers name them."""
    table = made.rows.set_index("method")
    found = Found()
    for method, name in names.items():
        for column, measure in measures.items():
            found.numbers[f"{name}, {measure}"] = 100 * float(table.loc[method, column])  # type: ignore[arg-type]
    return found


def best_of(found: Found, own: str, others: Sequence[str], measures: Sequence[str]) -> list[Claim]:
    """Whether one method is ahead of all others, a claim a measure."""
    claims = []
    for measure in measures:
        mine = found.numbers[f"{own}, {measure}"]
        rival = max(others, key=lambda name: found.numbers[f"{name}, {measure}"])
        best = found.numbers[f"{rival}, {measure}"]
        claims.append(
            Claim(
                f"{own} is best in {measure}" if len(others) > 1 else f"{own} beats {others[0]} in {measure}",
                mine > best,
                f"{mine:.1f} against {best:.1f} of {rival}",
            )
        )
    return claims


def with_reason(claims: list[Claim], why: str) -> list[Claim]:
    """The same claims with the reason that was found where they do not hold."""
    return [replace(claim, why="" if claim.holds else why) for claim in claims]
