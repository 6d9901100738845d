"""From images to a run folder: moments, then top images, then the images kept aside; goes on where it was stopped."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from ..data import ImageSource
from ..data.sources import read_batch
from ..effects.direct import Parts
from ..effects.effects import Effects
from ..errors import SummandError
from ..models import Model, pixels_of
from ..statistics.moments import Moments
from ..statistics.principal_direction import RankOne, rank_one
from ..statistics.top_images import TopImages
from . import checkpoint, store
from .checkpoint import STAGES, State
from .folder import check_folder, forget
from .manifest import FILE, Manifest, skipped_rows, versions, weights_hash
from .run import EMBEDDINGS, IMAGES, Run
from .stopping import asked_to_stop
from .units import Group, effects_of

MOST_HELD_OUT = 1000
"""Images kept aside at most: x_n of every unit on each is stored, 0.3 GB for the 147,456 pairs of RN50x16."""

_TOP = {"heads": 100, "neurons": 100, "pairs": 50}  # papers A and B, of 5,124 and 1,000 images
_TOP_SHARE, _LEAST_TOP = 0.02, 20  # of fewer images the same share of them, else r_n is made from weak effects
_CHECKPOINT_SHARE = 20  # at most a twentieth of the time goes into checkpoints


def decompose(
    model: Model,
    source: ImageSource,
    out: str | Path,
    asked: Manifest,
    groups: Sequence[Group],
    *,
    batch_size: int = 64,
    restart: bool = False,
    progress: bool = True,
    checkpoint_every: float = 60.0,
) -> Run:
    """Statistics of all units of the groups over all images of the source, in the folder `out`.

    Three stages: moments over the images that are not held out (their embeddings too); their top images by centred
    norm, which needs the mean, so it is a second pass (left out for asked.top == 0); x_n and embeddings of the
    held-out images. Memory grows with the number of images by one embedding in fp16 each.

    asked: what the run is to be (see `draft`). An unfinished run of the same is gone on with from its last
    checkpoint, written every `checkpoint_every` seconds (0: after every batch) and when the process is asked to stop
    (SIGINT, SIGTERM); a finished one is returned as it is. restart: forget what is there. Raises `SummandError` before
    any pass for a folder that is something else, and where fewer than two images can be read.
    """
    out = Path(out).expanduser()
    asked = replace(asked, groups=tuple(group.name for group in groups), weights=weights_hash(model))
    check_folder(out, asked, restart)
    if restart:
        forget(out)
    if (out / FILE).is_file():
        there = Manifest.read(out)
        if there.complete:
            return Run(out, there)
    try:
        out.mkdir(parents=True, exist_ok=True)
        _Passes(model, source, out, asked, groups, batch_size).run(progress, checkpoint_every)
    except OSError as error:
        raise SummandError(
            f"cannot write to {out}: {error.strerror or error}; make room, and the same command goes on from there"
        ) from error
    return Run(out, Manifest.read(out))


def held_out_images(count: int, share: float) -> np.ndarray:
    """Which of `count` images are kept aside: that share of them, at most 1,000, evenly spread, always the same.

    >>> held_out_images(10, 0.2)
    array([2, 7])
    """
    some = min(round(share * count), MOST_HELD_OUT)
    return (np.arange(some) * 2 + 1) * count // (2 * max(some, 1))


class _Passes:
    def __init__(
        self, model: Model, source: ImageSource, out: Path, asked: Manifest, groups: Sequence[Group], batch_size: int
    ) -> None:
        self.model, self.source, self.out, self.groups, self.batch_size = model, source, out, groups, batch_size
        kept_aside = held_out_images(len(source), asked.held_out)
        self.used = np.setdiff1d(np.arange(len(source)), kept_aside)
        self.plans = [self.used, self.used if asked.top != 0 else self.used[:0], kept_aside]
        self.asked = replace(
            asked, images=len(source), planned=sum(len(plan) for plan in self.plans), versions=versions()
        )
        self.folder = out / checkpoint.FOLDER
        self.state = checkpoint.load(self.folder, str(model.device)) or State()
        self.directions: dict[str, RankOne] = {}
        self._began = time.monotonic() - self.state.seconds
        self._saved, self._cost = time.monotonic(), 0.0

    def run(self, progress: bool, every: float) -> None:
        state = self.state
        if not state.files:
            self.asked.write(self.out)
        bar = tqdm(
            total=self.asked.planned,
            initial=state.passed,
            unit="img",
            file=sys.stderr,
            disable=not progress,
            leave=False,
            dynamic_ncols=True,
        )
        with bar, asked_to_stop() as stopping:
            while state.stage < len(STAGES):
                bar.set_description(f"{STAGES[state.stage]} ({state.stage + 1} of {len(STAGES)})")
                self._stage(bar, stopping, every)
                state.stage, state.position = state.stage + 1, 0
        self._finish()

    def _stage(self, bar: tqdm, stopping: threading.Event, every: float) -> None:
        state, plan = self.state, self.plans[self.state.stage]
        if state.stage == 1:
            plan = plan[np.isin(plan, state.indices)]  # what could be read the first time
        while state.position < len(plan):
            some = plan[state.position : state.position + self.batch_size].tolist()
            batch = read_batch(self.source, some, state.skipped)
            if batch.indices:
                self._take(batch.indices, pixels_of(self.model, batch.images))
            state.unsaved.add(state.stage)
            state.position += len(some)
            state.passed += len(some)
            bar.update(len(some))
            wait = max(every, _CHECKPOINT_SHARE * self._cost) if every else 0.0
            if stopping.is_set() or time.monotonic() - self._saved >= wait:
                self._save()
            if stopping.is_set():
                raise KeyboardInterrupt
        if state.stage == 0 and len(state.indices) < 2:
            self._too_few()

    def _take(self, indices: list[int], pixels: Tensor) -> None:
        state = self.state
        found, parts = effects_of(self.groups, self.model, pixels)
        if state.residual is None:
            state.residual = parts.residual()
        for group in self.groups:
            effects, name = found[group], group.name
            if state.stage == 0:
                state.moments.setdefault(name, Moments()).update(effects)
            elif state.stage == 1:
                if name not in state.tops:
                    state.tops[name] = TopImages(self._top(group), state.moments[name].mean)
                state.tops[name].update(effects, indices)
            else:
                state.signals.setdefault(name, []).append(self._signal(name, effects).half().cpu().numpy())
        if state.stage != 1:
            self._embed(indices, parts)

    def _top(self, group: Group) -> int:
        share = max(_LEAST_TOP, round(_TOP_SHARE * len(self.used)))
        return min(_TOP[group.kind], share) if self.asked.top is None else self.asked.top

    def _embed(self, indices: list[int], parts: Parts) -> None:
        outputs = parts.total().double()
        norms = outputs.norm(dim=1)
        unit = outputs / norms[:, None].clamp(min=torch.finfo(norms.dtype).tiny)
        self.state.indices.extend(indices)
        self.state.norms.extend(norms.tolist())
        self.state.embeddings.append(unit.half().cpu().numpy())

    def _signal(self, name: str, effects: Effects) -> Float[Tensor, "image *unit"]:
        """x_n in units of its standard deviation, which fp16 holds to three digits whatever the model's scale."""
        scale = self._scale(name)
        return self._rank_one(name).project(effects) / torch.where(scale > 0, scale, 1)

    def _rank_one(self, name: str) -> RankOne:
        if name not in self.directions:
            self.directions[name] = rank_one(self.state.tops.get(name) or self.state.moments[name])
        return self.directions[name]

    def _scale(self, name: str) -> Float[Tensor, "*unit"]:
        """√Var x_n over the images that were not kept aside, through the covariance."""
        found, moments = self._rank_one(name), self.state.moments[name]
        reading = torch.einsum("...pq,...q->...p", found.basis.double()._gram(), found.weights[..., 0, :])
        variance = torch.einsum("...p,...pq,...q->...", reading, moments.covariance, reading)
        return variance.clamp(min=0).sqrt()

    def _save(self) -> None:
        self.state.seconds = time.monotonic() - self._began
        begun = time.monotonic()
        checkpoint.save(self.folder, self.state)
        self._write_manifest(complete=False)
        self._saved, self._cost = time.monotonic(), time.monotonic() - begun

    def _write_manifest(self, complete: bool) -> None:
        state = self.state
        replace(
            self.asked,
            skipped=skipped_rows(state.skipped),
            residual=state.residual,
            seconds=round(state.seconds, 1),
            passed=state.passed,
            complete=complete,
        ).write(self.out)

    def _too_few(self) -> None:
        reasons = "; ".join(f"{item.name}: {item.reason}" for item in self.state.skipped[:3])
        found = len(self.state.indices)
        forget(self.out)
        raise SummandError(
            f"{self.source.label}: of the images that are not held out only {found} could be read, at least 2 are "
            f"needed{f' ({reasons})' if reasons else ''}"
        )

    def _finish(self) -> None:
        """The data sets, then the manifest that says they are complete; only then the checkpoint goes."""
        state = self.state
        order = np.argsort(state.indices)
        indices = np.array(state.indices)[order]
        held = np.isin(indices, self.plans[2])
        images = pd.DataFrame(
            {
                "name": [self.source.name(int(index)) for index in indices],
                "held_out": held,
                "norm": np.array(state.norms)[order],
            },
            index=pd.Index(indices, name="image"),
        )
        images.to_parquet(self.out / IMAGES)
        embeddings = np.concatenate(state.embeddings)[order]
        store.write(
            xr.Dataset({"embedding": (("image", "embed"), embeddings)}, {"image": indices}), self.out / EMBEDDINGS
        )
        for group in self.groups:
            moments, top = state.moments[group.name].to("cpu"), state.tops.get(group.name)
            none = torch.zeros(0, *moments.basis.shape[:-2], dtype=torch.float16)
            signals = state.signals.get(group.name)
            found = store.Statistics(
                moments=moments,
                top=None if top is None else top.to("cpu"),
                rank_one=self._rank_one(group.name),
                scale=self._scale(group.name),
                held_out=none if signals is None else torch.from_numpy(np.concatenate(signals)),
            )
            store.write(store.to_dataset(found, indices[held]), self.out / f"{group.name}.zarr")
        state.seconds = time.monotonic() - self._began
        self._write_manifest(complete=True)
        checkpoint.clear(self.folder)
