"""What a survey costs as it grows: memory, bytes, images a second, and the merging of partial states.

    python benchmarks/scale.py memory --images 2000 20000
    python benchmarks/scale.py merging --states 10000
    python benchmarks/scale.py cost --images 500

memory: peak RSS of a fresh process that surveys so many scenes, and the ratio of the last to the first. merging: so
many partial states of a few images each, as a cluster's workers send them, merged pairwise (as a binary counter counts)
and one by one, against one pass over all images: time, how many states are held, the largest relative difference.
cost: images in a second of a core's time by the units that are kept, bytes on the disk for each unit and each image.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import summand
from summand.effects.effects import Effects
from summand.statistics.moments import Moments
from summand.statistics.top_images import TopImages


def surveyed(images: int, units: str, out: Path) -> float:
    """Seconds of one core's time, whatever else the machine does."""
    model = summand.load("scenes-vit")
    summand.survey(model, "scenes:count=24,seed=1", units=units, progress=False)  # what is made once is not counted
    began = time.process_time()
    with contextlib.redirect_stderr(io.StringIO()):
        summand.survey(model, f"scenes:count={images},seed=5", units=units, out=out, progress=False)
    return time.process_time() - began


def memory(counts: list[int]) -> None:
    peaks = []
    for count in counts:
        command = [sys.executable, __file__, "one", "--images", str(count)]
        run = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 (this file itself)
        peaks.append(float(run.stdout.split()[-1]))
        print(f"{count:9,} scenes: peak RSS {peaks[-1]:7,.0f} MB", flush=True)
    print(f"ratio {peaks[-1] / peaks[0]:.3f}")


def one(images: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        surveyed(images, "heads", Path(folder, "run"))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def merging(count: int, each: int = 4, units: int = 48, paths: int = 16) -> None:
    """Of heads' size: `units` units of `paths` paths; images whose mean wanders, so that parts lie apart."""
    rng = np.random.default_rng(0)
    directions = torch.from_numpy(rng.normal(size=(units, paths, 64))).float()
    drift = np.linspace(-1, 1, count)[:, None, None, None]
    images = torch.from_numpy(rng.normal(size=(count, each, units, paths)) + drift).float()
    everything = images.flatten(0, 1)
    began = time.monotonic()
    whole = Moments()
    for some in everything.split(64):
        whole.update(Effects(some, directions))
    top = TopImages(20, whole.mean)
    for start in range(0, len(everything), 64):
        some = everything[start : start + 64]
        top.update(Effects(some, directions), range(start, start + len(some)))
    print(
        f"{count:,} states of {each} images, {units} units of {paths} paths; one pass: {time.monotonic() - began:.1f} s"
    )
    states = [Moments().update(Effects(some, directions)) for some in images]
    tops = [
        TopImages(20, whole.mean).update(Effects(some, directions), range(i * each, (i + 1) * each))
        for i, some in enumerate(images)
    ]
    nbytes = sum(np.asarray(value).nbytes for value in states[0].arrays().values() if isinstance(value, torch.Tensor))
    print(f"one state of moments: {nbytes / 1e6:.2f} MB")
    for name, how in (("pairwise", _pairwise), ("one by one", _one_by_one)):
        began = time.monotonic()
        moments, held = how(states, Moments)
        took = time.monotonic() - began
        began = time.monotonic()
        found, _ = how(tops, lambda: TopImages(20, whole.mean))
        of_tops = time.monotonic() - began
        off = max(
            float((a - b).abs().max() / b.abs().max())
            for a, b in ((moments.mean, whole.mean), (moments.covariance, whole.covariance))
        )
        same = torch.equal(found.ids, top.ids)
        print(f"{name:10}: moments {took:5.1f} s, top images {of_tops:5.1f} s; at most {held} states held; off by "
              f"{off:.0e}; top images {'the same' if same else 'OTHERS'}")  # fmt: skip


def _one_by_one(states: list[Any], make: Any) -> tuple[Any, int]:
    whole = make()
    for state in states:
        whole.merge(state)
    return whole, 1


def _pairwise(states: list[Any], make: Any) -> tuple[Any, int]:
    """As a binary counter counts: a state of 2ⁿ parts is merged with the next of as many."""
    held: list[tuple[int, Any]] = []
    most = 0
    for state in states:
        held.append((1, make().merge(state)))
        while len(held) > 1 and held[-2][0] == held[-1][0]:
            (size, first), (_, second) = held[-2:]
            held[-2:] = [(2 * size, first.merge(second))]
        most = max(most, len(held))
    whole = held[-1][1]
    for _, state in reversed(held[:-1]):
        whole = state.merge(whole)
    return whole, most


def cost(images: int) -> None:
    print(f"{'units':22} {'images a second':>15} {'bytes a unit':>13} {'bytes an image':>15}")
    for units in ("heads", "heads,neurons:4", "heads,neurons"):
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder, "run")
            seconds = surveyed(images, units, out)
            found = summand.open(out)
            size = sum(path.stat().st_size for group in found.groups for path in (out / f"{group.name}.zarr").rglob("*")
                       if path.is_file())  # fmt: skip
            rows = [out / "images.parquet", *(out / "images.zarr").rglob("*")]
            each = sum(path.stat().st_size for path in rows if path.is_file()) / images
            print(f"{units:22} {images / seconds:15,.0f} {size / len(found.units):13,.0f} {each:15,.0f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("memory", "merging", "cost", "one"))
    parser.add_argument("--images", type=int, nargs="+", default=[2000, 20000])
    parser.add_argument("--states", type=int, default=10_000)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.what == "memory":
        memory(given.images)
    elif given.what == "one":
        one(given.images[0])
    elif given.what == "merging":
        merging(given.states)
    else:
        cost(given.images[0])


if __name__ == "__main__":
    main()
