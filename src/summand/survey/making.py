"""A survey while it is made: what is kept of which images, and what stands in it in the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
import torch
import xarray as xr

from ..data import ImageSource
from ..errors import SummandError
from ..models import Model
from ..statistics.principal_direction import top_count
from . import store
from .aside import Coefficients
from .consumers import ASIDE, USED, MomentsOf, Projections, TopImagesOf
from .devices import Devices
from .engine import Arrays, Consumer, Elsewhere, Position, Stage, passes
from .keeping import Keeping
from .manifest import Manifest, versions
from .mapper import Mapper
from .means import put_terms
from .per_image import PerImage, in_order, joined
from .position import skipped_rows
from .shards import Shards
from .shelf import EMBEDDINGS, IMAGES, KEPT, MEANS, SKIPPED, TERMS, Shelf, forget
from .survey import Survey
from .units import Group

LEAST_SKIPPED = 10
"""So few files that cannot be read never stop a survey."""
_BLOCK, _TABLE = 16 << 20, 1 << 16  # bytes of a chunk of rows, rows of a part of the table
MOST_HELD_OUT = 1000
"""Images kept aside at most: x_n of every unit on each is stored, 0.3 GB for the 147,456 pairs of RN50x16."""


def held_out_images(count: int, share: float) -> np.ndarray:
    """Which of `count` images are kept aside: that share of them, at most 1,000, evenly spread, always the same.

    >>> held_out_images(10, 0.2)
    array([2, 7])
    """
    some = min(round(share * count), MOST_HELD_OUT)
    return (np.arange(some) * 2 + 1) * count // (2 * max(some, 1))


@dataclass(frozen=True)
class How:
    """How a pass is computed. engine: local, or ray. devices: of this machine, all of which are used."""

    batch_size: int = 64
    progress: bool | None = None
    every: float = 60.0
    max_skipped: float = 0.01
    devices: tuple[str, ...] = ()
    engine: str = "local"


class Making:
    """broken: of a finished survey only these data sets and tables are made again."""

    def __init__(
        self,
        model: Model,
        source: ImageSource,
        shelf: Shelf,
        asked: Manifest,
        groups: Sequence[Group],
        how: How,
        broken: set[str] | None = None,
    ) -> None:
        self.model, self.source, self.shelf, self.how, self.broken = model, source, shelf, how, broken
        self.aside = held_out_images(len(source), asked.held_out)
        used = np.setdiff1d(np.arange(len(source)), self.aside)
        again = used if asked.top != 0 else used[:0]
        self.stages = [Stage("moments", used), Stage("top images", again, again=True), Stage("held-out", self.aside)]
        planned = sum(len(stage.indices) for stage in self.stages)
        self.asked = replace(asked, images=len(source), planned=planned, versions=versions())
        self.groups = tuple(group for group in groups if self._wanted(group.name))
        whole = [Group.named(name) for name in asked.coefficients]
        self.keeping = Keeping(
            self.groups,
            tuple(top_count(len(used), group.kind) if asked.top is None else asked.top for group in self.groups),
            self._wanted(TERMS),
            asked.kept if self._wanted(KEPT) else (),
            tuple(group for group in whole if self._wanted(f"{KEPT}.{group.name}")),
            asked.dtype,
            self._wanted(MEANS),
        )
        self.consumers = self.keeping.consumers(str(model.device))
        self.keeper: Shards | None = None

    def _wanted(self, name: str) -> bool:
        return self.broken is None or name in self.broken

    def run(self, out: Path | None) -> Survey:
        self.keeper = keeper = None if out is None else Shards(out, self.consumers)
        if out is not None and keeper is not None and self.broken is None:
            keeper.note = lambda: self._manifest(keeper.position(), False).write(out)
            if not keeper.begun:
                self._manifest(Position(), False).write(out)
        how = self.how
        try:
            at = passes(
                self.model,
                self.source,
                self.consumers,
                self.stages,
                **{"batch_size": how.batch_size, "progress": how.progress, "keeper": keeper, "every": how.every},
                **{"least": 2, "among": "of the images that are not held out ", "check": self._check_skipped},
                where=self._where(),
            )
        except SummandError:
            if out is not None and keeper is not None and self.broken is None and not keeper.position().read:
                forget(out)
            raise
        self._finish(at)
        made = self._manifest(at, True)
        if out is not None and keeper is not None:
            made.write(out)
            keeper.clear()
        return Survey(self.shelf, made, self.model, self.source)

    def _where(self) -> Mapper | Elsewhere | None:
        if self.how.engine == "ray":
            from .on_ray import OnRay

            return OnRay(self.model, self.source, self.keeping, self.how.batch_size, "auto" in self.how.devices)
        if len(self.how.devices) > 1:
            return Devices(self.model, self.source.name, self.how.devices, self.keeping)
        return None

    def _check_skipped(self, at: Position) -> None:
        """Raise `SummandError` where more files could not be read than one puts up with."""
        most = max(LEAST_SKIPPED, self.how.max_skipped * len(self.source))
        files = {item.name for item in at.skipped}
        if len(files) > most:
            first = "; ".join(f"{item['name']}: {item['reason']}" for item in skipped_rows(at.skipped[:3]))
            raise SummandError(
                f"{len(files):,} of {len(self.source):,} images could not be read, which is more than "
                f"{100 * self.how.max_skipped:g} % ({first}). Mend them, or allow more with --max-skipped; what is "
                f"done is kept, and the same command goes on"
            )

    def _manifest(self, at: Position, complete: bool) -> Manifest:
        return replace(
            self.asked,
            skipped=skipped_rows(at.skipped),
            residual=at.residual,
            seconds=round(at.seconds, 1),
            passed=at.passed,
            complete=complete,
        )

    def _finish(self, at: Position) -> None:
        """The data sets, before the manifest that says they are complete."""
        if self._wanted(IMAGES):
            self.shelf.put_table_blocks(IMAGES, self._tables())
            self.shelf.put_blocks(EMBEDDINGS, self._blocks("images", {"embedding": ("embed",)}))
        if self._wanted(SKIPPED):
            rows = pd.DataFrame(skipped_rows(at.skipped), columns=["name", "reason"], dtype=str)
            self.shelf.put_table(SKIPPED, rows.rename(columns={"name": "id"}))
        put_terms(self.shelf, self.consumers)
        if self.keeping.layers:
            axes = {"coefficient": ("layer", "head", "channel"), "mlps": ("embed",), "output": ("embed",)}
            self.shelf.put_blocks(KEPT, self._blocks("kept", axes))
        for group in self.groups:
            put_group(self.shelf, self.consumers, group)
        for group in self.keeping.whole:
            axes = (*self.shelf.dataset(group.name).attrs["units"], "path")
            blocks = self._blocks(f"kept/{group.name}", {"coefficient": axes})
            self.shelf.put_blocks(f"{KEPT}.{group.name}", blocks)

    def _rows(self, name: str, size: int) -> Iterator[Arrays]:
        """What was kept of every image, in the order of their numbers."""
        held = of(self.consumers, name, PerImage).state()
        if self.keeper is None:
            return in_order([], held, size)
        return in_order(self.keeper.rows(name, USED), joined([held, *self.keeper.rows(name, ASIDE)]), size)

    def _tables(self) -> Iterator[pd.DataFrame]:
        for rows in self._rows("images", _TABLE):
            numbers = rows["images"]
            names, held = [self.source.name(int(index)) for index in numbers], np.isin(numbers, self.aside)
            table = {"name": names, "held_out": held, "norm": rows["norm"]}
            yield pd.DataFrame(table, index=pd.Index(numbers, name="image"))

    def _blocks(self, name: str, axes: dict[str, tuple[str, ...]]) -> Iterator[xr.Dataset]:
        """Of about 16 MB each."""
        first = next(iter(self._rows(name, 1)), None)
        nbytes = 1 if first is None else sum(first[each].nbytes for each in axes)
        for rows in self._rows(name, max(1, _BLOCK // nbytes)):
            yield _per_image({each: (rows[each], axes[each]) for each in axes}, rows["images"])


Kind = TypeVar("Kind")


def of(consumers: Mapping[str, Consumer], name: str, kind: type[Kind]) -> Kind:
    """The consumer of a name, which is of this kind."""
    found = consumers[name]
    assert isinstance(found, kind)
    return found


def put_group(shelf: Shelf, consumers: Mapping[str, Consumer], group: Group) -> None:
    """The data set of a group, from what its consumers know."""
    moments = of(consumers, f"moments/{group.name}", MomentsOf)
    aside = of(consumers, f"signal/{group.name}", Projections)
    top, whole = consumers.get(f"top/{group.name}"), consumers.get(f"whole/{group.name}")
    found = store.Statistics(
        moments=moments.value.to("cpu"),
        top=top.value.to("cpu") if isinstance(top, TopImagesOf) else None,
        rank_one=aside.rank,
        scale=aside.scale,
        held_out=torch.from_numpy(aside.values),
        whole=(torch.from_numpy(whole.values), whole.scale) if isinstance(whole, Coefficients) else None,
    )
    shelf.put(group.name, store.to_dataset(found, aside.images))


def _per_image(values: dict[str, tuple[np.ndarray, tuple[str, ...]]], indices: np.ndarray) -> xr.Dataset:
    return xr.Dataset({name: (("image", *axes), array) for name, (array, axes) in values.items()}, {"image": indices})
