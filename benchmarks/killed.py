"""SIGKILL at random moments of a survey, then the same call again, against one that nobody stopped.

    python benchmarks/killed.py --trials 20 --images 400 [--latents 256]

What is lost is what was read since the last commit: the shard that the process was in. Prints a line a trial: when it
was killed, how many image passes were read, committed and lost, the largest difference of any moment (relative), and
whether all top images are the same. A process is forked from this one, which has loaded the model, so that the moments
lie in the survey and not in the imports.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import multiprocessing
import random
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

import summand
from summand.scenes.as_data import SceneImages
from summand.survey.make import chosen_groups, make
from summand.survey.manifest import Manifest

UNITS = "heads,neurons:4"
WITH_LATENTS = "heads,latents:3"


def with_latents(folder: Path, count: int) -> summand.Model:
    """scenes-vit with a sparse autoencoder from a file, as `--sae` has it."""
    model = summand.load("scenes-vit")
    options = {"layer": 3, "latents": count, "top_k": 8, "epochs": 1, "progress": False}
    summand.train_autoencoder(model, "scenes:count=100,seed=8", **options).save(folder)
    return summand.load("scenes-vit", sae=folder)


class Counted(SceneImages):
    """Scenes that count, for whoever watches, how many of them were read."""

    def __init__(self, source: str, counter) -> None:  # type: ignore[no-untyped-def]
        super().__init__(source, None)
        self._counter = counter

    def pick(self, indices: np.ndarray) -> np.ndarray:
        found = super().pick(indices)
        with self._counter.get_lock():
            self._counter.value += len(indices)
        return found


def surveyed(model: summand.Model, source: str, out: Path | None, counter, every: float) -> summand.Survey:  # type: ignore[no-untyped-def]
    images = Counted(source, counter)
    asked = Manifest.of(model.origin or model.name, images, source, top=10)
    with contextlib.redirect_stderr(io.StringIO()):
        groups = chosen_groups(model, WITH_LATENTS if model.autoencoders else UNITS)
        return make(model, images, asked, groups, out, batch_size=8, every=every, progress=False)


def differences(one: summand.Survey, other: summand.Survey) -> tuple[float, bool]:
    """The largest relative difference of the moments, and whether the top images are the same."""
    worst, same = 0.0, True
    for group in one.groups:
        a, b = one.dataset(group), other.dataset(group)
        for name in ("mean", "covariance"):
            worst = max(worst, float(np.abs(a[name].values - b[name].values).max() / np.abs(a[name].values).max()))
        same &= bool((a["top_image"].values == b["top_image"].values).all())
    return worst, same and bool(one.images.equals(other.images))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--every", type=float, default=0.5, help="seconds between two commits")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--latents", type=int, help="of a sparse autoencoder, in the place of neurons")
    given = parser.parse_args()
    torch.set_num_threads(1)
    source = f"scenes:count={given.images},seed=9"
    home = Path(tempfile.mkdtemp())
    model = summand.load("scenes-vit") if given.latents is None else with_latents(home / "sae", given.latents)
    rng, counter = random.Random(given.seed), multiprocessing.Value("q", 0)
    began = time.monotonic()
    expected = surveyed(model, source, None, counter, given.every)
    whole = time.monotonic() - began
    groups = ", ".join(expected.manifest.groups)
    print(f"{given.images} scenes, {groups}; uninterrupted {whole:.1f} s, {counter.value} image passes; a commit every "
          f"{given.every:g} s, at most a twentieth of the time")  # fmt: skip
    print(f"{'killed at':>10} {'passed':>7} {'committed':>9} {'lost':>5} {'off by':>8}  top images")
    good = 0
    for _ in range(given.trials):
        folder = Path(tempfile.mkdtemp()) / "run"
        counter.value = 0
        process = multiprocessing.get_context("fork").Process(
            target=surveyed, args=(model, source, folder, counter, given.every)
        )
        began, at = time.monotonic(), rng.uniform(0.05, whole)
        process.start()
        process.join(at)
        process.kill()
        process.join()
        at, passed = time.monotonic() - began, counter.value
        finished = (folder / "manifest.json").is_file() and Manifest.read(folder).complete
        shards = [path.name.split("-") for path in folder.glob("shards/[0-9]*[0-9]")]
        committed = sum(int(stop) - int(start) for _, start, stop in shards)
        counter.value = 0
        found = surveyed(model, source, folder, counter, given.every)
        off, same = differences(expected, found)
        lost = 0 if finished else passed - committed
        good += off < 1e-9 and same
        print(f"{at:8.2f} s {passed:7,} {committed:9,} {lost:5,} {off:8.0e}  "
              f"{'the same' if same else 'OTHERS'}", flush=True)  # fmt: skip
        shutil.rmtree(folder.parent)
    shutil.rmtree(home)
    print(f"equal to 1e-9 with the same top images: {good} of {given.trials}")


if __name__ == "__main__":
    main()
