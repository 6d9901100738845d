"""From images to a survey: moments, then top images, then the images kept aside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr

from ..data import ImageSource
from ..data.adapters import open_images
from ..errors import SummandError
from ..models import Model
from ..statistics.principal_direction import top_count
from . import store
from .checkpoint import Checkpoint
from .consumers import Aside, Embeddings, Kept, MomentsOf, Projections, Terms, TopImagesOf
from .engine import Consumer, Position, Stage, passes
from .folder import check_folder
from .manifest import FILE, Manifest, skipped_rows, versions, weights_hash
from .shelf import EMBEDDINGS, IMAGES, KEPT, TERMS, Folder, InMemory, Shelf, forget
from .survey import Survey
from .units import Group, Wanted, default_units, groups_of, parse_units

MOST_HELD_OUT = 1000
"""Images kept aside at most: x_n of every unit on each is stored, 0.3 GB for the 147,456 pairs of RN50x16."""

Units = str | Sequence["str | Group | Wanted"] | None


def survey(
    model: Model,
    images: Any,
    *,
    units: Units = None,
    out: str | Path | None = None,
    top: int | None = None,
    held_out: float = 0.2,
    keep: int | Sequence[int] | None = None,
    batch_size: int = 64,
    count: int | None = None,
    progress: bool | None = None,
    restart: bool = False,
) -> Survey:
    """What is usual for the units of a model: statistics of their effects over images.

    images: a source string, a path, a list of pictures or paths, a uint8 array [image, row, column, 3], a Dataset or a
    DataLoader. units: "heads", "neurons:8-10", "pairs", commas between [default: fits the model]. out: a folder, where
    an unfinished survey is gone on with and a finished one is opened; None keeps all in memory. top: images kept for a
    unit, from which r_n is made [default: `top_count`]; 0 saves a pass. held_out: the share of images kept aside, which
    labels are scored on. keep: of how many last layers (or which layers) the heads' coefficients are kept for every
    image. count: use at most so many images.

    >>> import summand
    >>> model = summand.load("scenes-vit")
    >>> found = summand.survey(model, summand.scenes.sample(40, seed=1).images, units="neurons:3")
    >>> found
    <Survey in memory: scenes-vit on 40 images in memory, neurons.3>
    >>> tuple(found.rank_one("neurons.3").directions.shape)
    (512, 128)
    """
    source = open_images(images, count)
    layers = _kept(model, keep)
    groups = chosen_groups(model, units)
    if layers and Group("heads") not in groups:
        groups = (Group("heads"), *groups)
    given = str(images) if isinstance(images, (str, Path)) else None
    asked = Manifest.of(
        model.origin or model.name, source, given, count, top=top, held_out=held_out, kept=layers
    )  # fmt: skip
    return make(model, source, asked, groups, out, batch_size=batch_size, restart=restart, progress=progress)


def make(
    model: Model,
    source: ImageSource,
    asked: Manifest,
    groups: Sequence[Group],
    out: str | Path | None = None,
    *,
    batch_size: int = 64,
    restart: bool = False,
    progress: bool | None = None,
    every: float = 60.0,
) -> Survey:
    """`survey`, once it is clear what is asked for.

    An unfinished survey of the same is gone on with from its last checkpoint, written every `every` seconds (0: after
    every batch) and when the process is asked to stop; a finished one is returned as it is. restart: forget what is
    there. Raises `SummandError` before any pass for a folder that is something else, and where fewer than two images
    can be read.
    """
    asked = replace(asked, groups=tuple(group.name for group in groups), weights=weights_hash(model))
    if out is None:
        return _Making(model, source, InMemory(), asked, groups).run(batch_size, progress, every, None)
    path = Path(out).expanduser()
    check_folder(path, asked, restart)
    if restart:
        forget(path)
    if (path / FILE).is_file() and (there := Manifest.read(path)).complete:
        return Survey(Folder(path), there, model, source)
    try:
        path.mkdir(parents=True, exist_ok=True)
        return _Making(model, source, Folder(path), asked, groups).run(batch_size, progress, every, path)
    except OSError as error:
        raise SummandError(
            f"cannot write to {path}: {error.strerror or error}; make room, and the same command goes on from there"
        ) from error


def chosen_groups(model: Model, units: Units) -> tuple[Group, ...]:
    """The groups that were asked for, in any of the ways in which one asks."""
    if units is None:
        return groups_of(model, default_units(model))
    if isinstance(units, str):
        return groups_of(model, parse_units(units))
    found: list[Group] = []
    for item in units:
        if isinstance(item, str):
            found += groups_of(model, parse_units(item))
        else:
            found += groups_of(model, [item]) if isinstance(item, Wanted) else [item]
    return tuple(dict.fromkeys(found))


def held_out_images(count: int, share: float) -> np.ndarray:
    """Which of `count` images are kept aside: that share of them, at most 1,000, evenly spread, always the same.

    >>> held_out_images(10, 0.2)
    array([2, 7])
    """
    some = min(round(share * count), MOST_HELD_OUT)
    return (np.arange(some) * 2 + 1) * count // (2 * max(some, 1))


def _kept(model: Model, keep: int | Sequence[int] | None) -> tuple[int, ...]:
    last = model.tower.layers
    if keep is None or isinstance(keep, int):
        return tuple(range(max(0, last - (keep or 0)), last))
    if wrong := [layer for layer in keep if not 0 <= layer < last]:
        raise SummandError(f"{model.name} has layers 0 to {last - 1}, got keep={wrong}")
    return tuple(sorted(set(keep)))


@dataclass
class _OfGroup:
    moments: MomentsOf
    top: TopImagesOf | None
    aside: Projections
    whole: Aside | None


class _Making:
    def __init__(
        self, model: Model, source: ImageSource, shelf: Shelf, asked: Manifest, groups: Sequence[Group]
    ) -> None:
        self.model, self.source, self.shelf = model, source, shelf
        self.aside = held_out_images(len(source), asked.held_out)
        used = np.setdiff1d(np.arange(len(source)), self.aside)
        again = used if asked.top != 0 else used[:0]
        self.stages = [Stage("moments", used), Stage("top images", again, again=True), Stage("held-out", self.aside)]
        planned = sum(len(stage.indices) for stage in self.stages)
        self.asked = replace(asked, images=len(source), planned=planned, versions=versions())
        self.embeddings, self.terms = Embeddings(), Terms()
        self.kept = Kept(asked.kept) if asked.kept else None
        self.of = {group: self._consumers(group, len(used)) for group in groups}

    def _consumers(self, group: Group, used: int) -> _OfGroup:
        moments = MomentsOf(group, str(self.model.device))
        k = top_count(used, group.kind) if self.asked.top is None else self.asked.top
        top = TopImagesOf(moments, k) if k else None
        whole = Aside(moments) if group.kind == "heads" else None
        return _OfGroup(moments, top, Projections(moments, top), whole)

    def consumers(self) -> dict[str, Consumer]:
        named: dict[str, Consumer] = {"images": self.embeddings, "terms": self.terms}
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
        keeper = None if out is None else Checkpoint(out, lambda at: self._manifest(at, False).write(out))
        if out is not None and keeper is not None and not keeper.begun:
            self.asked.write(out)
        try:
            at = passes(
                self.model,
                self.source,
                self.consumers(),
                self.stages,
                **{"batch_size": batch_size, "progress": progress, "keeper": keeper, "every": every},
                **{"least": 2, "among": "of the images that are not held out "},
            )
        except SummandError:
            if out is not None and not self.embeddings.state():
                forget(out)
            raise
        self._finish()
        made = self._manifest(at, True)
        if out is not None and keeper is not None:
            made.write(out)
            keeper.clear()
        return Survey(self.shelf, made, self.model, self.source)

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
        self.shelf.put_table(IMAGES, pd.DataFrame(table, index=pd.Index(indices, name="image")))
        self.shelf.put(EMBEDDINGS, _per_image({"embedding": (rows["embedding"], ("embed",))}, indices))
        if aside := self.terms.ordered():
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
