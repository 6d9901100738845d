"""A survey while it is made: what is kept of which images, and what stands in it in the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import xarray as xr

from ..data import ImageSource
from ..errors import SummandError
from ..models import Model
from ..statistics.principal_direction import top_count
from . import store
from .aside import Coefficients, Terms
from .consumers import MomentsOf, Projections, TopImagesOf
from .engine import Consumer, Position, Stage, passes
from .manifest import Manifest, skipped_rows, versions
from .per_image import Embeddings, Kept
from .shards import Shards
from .shelf import EMBEDDINGS, IMAGES, KEPT, TERMS, Shelf, forget
from .survey import Survey
from .units import Group

LEAST_SKIPPED = 10
"""So few files that cannot be read never stop a survey."""
MOST_HELD_OUT = 1000
"""Images kept aside at most: x_n of every unit on each is stored, 0.3 GB for the 147,456 pairs of RN50x16."""


def held_out_images(count: int, share: float) -> np.ndarray:
    """Which of `count` images are kept aside: that share of them, at most 1,000, evenly spread, always the same.

    >>> held_out_images(10, 0.2)
    array([2, 7])
    """
    some = min(round(share * count), MOST_HELD_OUT)
    return (np.arange(some) * 2 + 1) * count // (2 * max(some, 1))


@dataclass
class _OfGroup:
    moments: MomentsOf
    top: TopImagesOf | None
    aside: Projections
    whole: Coefficients | None


class Making:
    """broken: of a finished survey only these data sets and tables are made again. max_skipped: the share of the images
    that may be unreadable."""

    def __init__(
        self,
        model: Model,
        source: ImageSource,
        shelf: Shelf,
        asked: Manifest,
        groups: Sequence[Group],
        broken: set[str] | None = None,
        max_skipped: float = 0.01,
    ) -> None:
        self.max_skipped = max_skipped
        self.model, self.source, self.shelf, self.broken = model, source, shelf, broken
        self.aside = held_out_images(len(source), asked.held_out)
        used = np.setdiff1d(np.arange(len(source)), self.aside)
        again = used if asked.top != 0 else used[:0]
        self.stages = [Stage("moments", used), Stage("top images", again, again=True), Stage("held-out", self.aside)]
        planned = sum(len(stage.indices) for stage in self.stages)
        self.asked = replace(asked, images=len(source), planned=planned, versions=versions())
        self.embeddings = Embeddings()
        self.terms = Terms() if self._wanted(TERMS) else None
        self.kept = Kept(asked.kept) if asked.kept and self._wanted(KEPT) else None
        self.of = {group: self._consumers(group, len(used)) for group in groups if self._wanted(group.name)}

    def _wanted(self, name: str) -> bool:
        return self.broken is None or name in self.broken

    def _consumers(self, group: Group, used: int) -> _OfGroup:
        moments = MomentsOf(group, str(self.model.device))
        k = top_count(used, group.kind) if self.asked.top is None else self.asked.top
        top = TopImagesOf(moments, k) if k else None
        whole = Coefficients(moments) if group.kind == "heads" else None
        return _OfGroup(moments, top, Projections(moments, top), whole)

    def consumers(self) -> dict[str, Consumer]:
        named: dict[str, Consumer] = {"images": self.embeddings}
        if self.terms is not None:
            named["terms"] = self.terms
        if self.kept is not None:
            named["kept"] = self.kept
        for group, each in self.of.items():
            named[f"moments/{group.name}"], named[f"signal/{group.name}"] = each.moments, each.aside
            if each.top is not None:
                named[f"top/{group.name}"] = each.top
            if each.whole is not None:
                named[f"whole/{group.name}"] = each.whole
        return named

    def run(self, batch_size: int, progress: bool | None, every: float, out: Path | None) -> Survey:
        keeper = None if out is None else Shards(out, self.consumers())
        if out is not None and keeper is not None and self.broken is None:
            keeper.note = lambda: self._manifest(keeper.position(), False).write(out)
            if not keeper.begun:
                self._manifest(Position(), False).write(out)
        try:
            at = passes(
                self.model,
                self.source,
                self.consumers(),
                self.stages,
                **{"batch_size": batch_size, "progress": progress, "keeper": keeper, "every": every},
                **{"least": 2, "among": "of the images that are not held out ", "check": self._check_skipped},
            )
        except SummandError:
            if out is not None and self.broken is None and not self.embeddings.state():
                forget(out)
            raise
        self._finish()
        made = self._manifest(at, True)
        if out is not None and keeper is not None:
            made.write(out)
            keeper.clear()
        return Survey(self.shelf, made, self.model, self.source)

    def _check_skipped(self, at: Position) -> None:
        """Raise `SummandError` where more files could not be read than one puts up with."""
        most = max(LEAST_SKIPPED, self.max_skipped * len(self.source))
        files = {item.name for item in at.skipped}
        if len(files) > most:
            first = "; ".join(f"{item['name']}: {item['reason']}" for item in skipped_rows(at.skipped[:3]))
            raise SummandError(
                f"{len(files):,} of {len(self.source):,} images could not be read, which is more than "
                f"{100 * self.max_skipped:g} % ({first}). Mend them, or allow more with --max-skipped; what is done is "
                f"kept, and the same command goes on"
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

    def _finish(self) -> None:
        """The data sets, before the manifest that says they are complete."""
        rows = self.embeddings.ordered()
        indices = rows["images"]
        held = np.isin(indices, self.aside)
        names = [self.source.name(int(index)) for index in indices]
        table = {"name": names, "held_out": held, "norm": rows["norm"]}
        if self._wanted(IMAGES):
            self.shelf.put_table(IMAGES, pd.DataFrame(table, index=pd.Index(indices, name="image")))
            self.shelf.put(EMBEDDINGS, _per_image({"embedding": (rows["embedding"], ("embed",))}, indices))
        if self.terms is not None and (aside := self.terms.ordered()):
            terms = {name: (aside[name], ("embed",)) for name in aside if name != "images"}
            self.shelf.put(TERMS, _per_image(terms, aside["images"]))
        if self.kept is not None:
            kept = self.kept.ordered()
            axes = {"coefficient": ("layer", "head", "channel"), "mlps": ("embed",), "output": ("embed",)}
            self.shelf.put(KEPT, _per_image({name: (kept[name], axes[name]) for name in axes}, kept["images"]))
        for group, each in self.of.items():
            found = store.Statistics(
                moments=each.moments.value.to("cpu"),
                top=None if each.top is None else each.top.value.to("cpu"),
                rank_one=each.aside.rank,
                scale=each.aside.scale,
                held_out=torch.from_numpy(each.aside.values),
                whole=None if each.whole is None else (torch.from_numpy(each.whole.values), each.whole.scale),
            )
            self.shelf.put(group.name, store.to_dataset(found, indices[held]))


def _per_image(values: dict[str, tuple[np.ndarray, tuple[str, ...]]], indices: np.ndarray) -> xr.Dataset:
    return xr.Dataset({name: (("image", *axes), array) for name, (array, axes) in values.items()}, {"image": indices})
