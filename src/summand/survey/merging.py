"""Surveys of one model over different images as one: what would have been found over all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr

from ..data.joined import Joined
from ..data.naming import joined_name
from ..errors import SummandError
from ..models import Model
from ..models.origin import same_place
from ..statistics.recentred import recentred
from .batch import Consumer
from .consumers import MomentsOf, TopImagesOf
from .engine import Stage, passes
from .fingerprints import names_hash, same_weights
from .keeping import Keeping
from .lock import locked
from .making import MOST_HELD_OUT, of, put_group
from .manifest import Manifest, versions
from .means import merged_means, put_terms
from .shelf import EMBEDDINGS, IMAGES, KEPT, SKIPPED, Folder
from .survey import Survey

_BLOCK = 16 << 20  # bytes of rows that are held at a time


@dataclass(frozen=True)
class Merged:
    """certain: the share of the units whose top images are those of all images, surely."""

    survey: Survey
    certain: float


def merge(surveys: Sequence[Survey], out: str | Path, *, exact: bool = False, batch_size: int = 64,
          progress: bool | None = None) -> Merged:  # fmt: skip
    """Join surveys of the same model and units in a new folder.

    Moments merge exactly. Of top images, which each part kept by distance from its own mean, the distances from the
    common one are computed anew; an image that no part kept may be missing (`recentred`). exact: pass all images once
    more, so that none is. Held-out images go through the model once more in any case, for x_n along the common r_n; of
    more than 1,000 these are spread over all. Labels are not joined: they are made anew.

    Raises `SummandError` for surveys that are not of one model and the same units, and where images are gone.
    """
    path = Path(out).expanduser()
    _check(surveys, path)
    model = surveys[0].model
    source = Joined([each.source() for each in surveys])
    path.mkdir(parents=True, exist_ok=True)
    with locked(path):
        return _Merging(surveys, source, model, Folder(path)).run(path, exact, batch_size, progress)


def _check(surveys: Sequence[Survey], out: Path) -> None:
    if len(surveys) < 2:
        raise SummandError(f"at least two surveys are merged, got {len(surveys)}")
    first = surveys[0]
    places = [each.path.resolve() for each in surveys if each.path is not None]
    if len(set(places)) < len(places):
        raise SummandError("the same survey is given twice; its images would count twice")
    for number, each in enumerate(surveys):
        if (before := next((i for i in surveys[:number] if _of_the_same(i.manifest, each.manifest)), None)) is not None:
            raise SummandError(
                f"{before.shelf.label} and {each.shelf.label} are both of {each.manifest.location}; its images would "
                f"count twice"
            )
    for each in surveys[1:]:
        one, other = first.manifest, each.manifest
        if not same_weights(one.weights, other.weights):
            raise SummandError(
                f"{first.shelf.label} is of {one.model} and {each.shelf.label} of {other.model}, or of other weights "
                f"or settings; only surveys of one model can be merged"
            )
        if one.groups != other.groups:
            raise SummandError(
                f"{first.shelf.label} holds {', '.join(one.groups)} and {each.shelf.label} {', '.join(other.groups)}; "
                f"only surveys of the same units can be merged"
            )
        if (one.top == 0) != (other.top == 0):
            raise SummandError("some of these surveys keep top images and some do not (--top 0); make them alike")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SummandError(f"{out} is not empty; give a new folder with --out")


def _of_the_same(one: Manifest, other: Manifest) -> bool:
    """Whether two surveys are of the same images of one place."""
    here = one.location is not None and same_place(one.location, other.location)
    return here and (one.files, one.images) == (other.files, other.images)


class _Merging:
    def __init__(self, surveys: Sequence[Survey], source: Joined, model: Model, shelf: Folder) -> None:
        self.surveys, self.source, self.model, self.shelf = surveys, source, model, shelf
        self.starts = source.starts[:-1].tolist()
        held = np.concatenate([each.held_out_images + at for each, at in self._parts()])
        some = np.linspace(0, len(held) - 1, min(len(held), MOST_HELD_OUT)).round().astype(int)
        self.aside = held[some]
        groups = surveys[0].groups
        tops = [0 if surveys[0].manifest.top == 0 else self._most(group.name) for group in groups]
        self.keeping = Keeping(groups, tuple(tops))
        self.consumers = {**self.keeping.consumers(str(model.device)), "means": merged_means(list(surveys))}
        self.certain: list[torch.Tensor] = []

    def _parts(self) -> Iterator[tuple[Survey, int]]:
        return zip(self.surveys, self.starts, strict=True)

    def _most(self, group: str) -> int:
        """Images a unit: as many as the part keeps that keeps most."""
        return max(each.top_images(group).k for each in self.surveys)

    def run(self, path: Path, exact: bool, batch_size: int, progress: bool | None) -> Merged:
        for group, k in zip(self.keeping.groups, self.keeping.top, strict=True):
            self._statistics(group.name, k, exact)
        named: dict[str, Consumer] = {name: each for name, each in self.consumers.items() if name != "images"}
        again = self._used() if exact else np.zeros(0, dtype=int)
        stages = [
            Stage("moments", np.zeros(0, dtype=int)),
            Stage("top images", again, again=True),
            Stage("held-out", self.aside, again=True),
        ]
        more: dict[str, Any] = {"batch_size": batch_size, "progress": progress, "what": "merge", "least": 0}
        at = passes(self.model, self.source, named, stages, **more)
        if at.skipped:
            first = at.skipped[0]
            raise SummandError(
                f"{len(at.skipped):,} images can no longer be read ({first.name}: {first.reason}); bring them back, or "
                f"survey anew what is there"
            )
        for group in self.keeping.groups:
            put_group(self.shelf, self.consumers, group)
        put_terms(self.shelf, self.consumers)
        self._rows()
        made = self._manifest(at.passed)
        made.write(path)
        units = [each.double().mean().item() for each in self.certain]
        return Merged(Survey(self.shelf, made, self.model, self.source), min(units, default=1.0))

    def _used(self) -> np.ndarray:
        """The images that statistics are made of."""
        tables = [(each.images, at) for each, at in self._parts()]
        return np.concatenate([table.index.to_numpy()[~table["held_out"].to_numpy()] + at for table, at in tables])

    def _statistics(self, group: str, k: int, exact: bool) -> None:
        moments = of(self.consumers, f"moments/{group}", MomentsOf)
        for each, _ in self._parts():
            moments.value.merge(each.moments(group).to(moments.device))
        if k and not exact:
            parts = [each.top_images(group) for each in self.surveys]
            found, certain = recentred(parts, self.starts, moments.value.mean.cpu(), k)
            of(self.consumers, f"top/{group}", TopImagesOf).restore_value(found.to(moments.device))
            self.certain.append(certain)

    def _rows(self) -> None:
        self.shelf.put_table_blocks(IMAGES, self._tables())
        self.shelf.put_table(SKIPPED, pd.concat([self._named(each, each.skipped, "id") for each in self.surveys]))
        kept = self._common()
        for name in (EMBEDDINGS, *([KEPT] if kept.kept else []), *(f"{KEPT}.{group}" for group in kept.coefficients)):
            self.shelf.put_blocks(name, self._blocks(name))

    def _named(self, survey: Survey, table: pd.DataFrame, column: str) -> pd.DataFrame:
        """With the names that images have in the joined source."""
        label = survey.source().label
        return table.assign(**{column: [joined_name(label, name) for name in table[column]]})

    def _tables(self) -> Iterator[pd.DataFrame]:
        for each, at in self._parts():
            table = self._named(each, each.images, "name")
            table.index = pd.Index(table.index.to_numpy() + at, name="image")
            yield table.assign(held_out=np.isin(table.index, self.aside))

    def _blocks(self, name: str) -> Iterator[xr.Dataset]:
        for each, at in self._parts():
            data = each.shelf.dataset(name)
            data = data.assign_coords(image=data["image"].values + at).drop_encoding()
            size = max(1, _BLOCK // max(1, data.nbytes // max(1, data.sizes["image"])))
            for start in range(0, data.sizes["image"], size):
                yield data.isel(image=slice(start, start + size)).load()

    def _common(self) -> Manifest:
        """What all of them keep of every image."""
        made = [each.manifest for each in self.surveys]
        same = all(each.kept == made[0].kept for each in made)
        groups = tuple(name for name in made[0].coefficients if all(name in each.coefficients for each in made))
        same_dtype = all(each.dtype == made[0].dtype for each in made)
        return replace(made[0], kept=made[0].kept if same else (), coefficients=groups if same_dtype else ())

    def _manifest(self, passed: int) -> Manifest:
        made = [each.manifest for each in self.surveys]
        parts = [part for each in made for part in (each.parts or (part_of(each),))]
        skipped = self.shelf.table(SKIPPED).rename(columns={"id": "name"}).to_dict("records")
        return replace(
            self._common(),
            source=self.source.label,
            location=None,
            count=None,
            images=len(self.source),
            files=names_hash(self.source),
            top=None if len({each.top for each in made}) > 1 else made[0].top,
            skipped=tuple({str(key): str(value) for key, value in row.items()} for row in skipped),
            residual=max((each.residual for each in made if each.residual is not None), default=None),
            seconds=round(sum(each.seconds for each in made), 1),
            passed=passed,
            planned=passed,
            parts=tuple(parts),
            versions=versions(),
            complete=True,
        )


def part_of(made: Manifest) -> dict[str, Any]:
    """Where the images of a survey are, for one that it is a part of."""
    return {"location": made.location, "count": made.count, "images": made.images, "files": made.files}
