"""A disk that is full in the middle of a survey, as often as asked; then room is made, and the same command goes on.

    sudo mount -t tmpfs -o size=8m tmpfs /mnt/small
    python benchmarks/full_disk.py /mnt/small --trials 10
    python benchmarks/full_disk.py /mnt/small --trials 10 --every 0    # a shard a batch, so that some stand already

Fills the disk but for some part of what the survey needs, runs the command, makes room, and runs it again. Prints the
room there was, how many image passes were kept in how many shards, how many the second command had still to read, what
was said, and how far the finished survey is from one that never lacked room. Exit code 1 where a trial did not end in
one line, or not in the same survey, or where images that were kept were read again.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import torch
from killed import differences

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.commands import command

import summand
import summand.studies.surveys.run
from summand.scenes.as_data import SceneImages

GIVEN = ("survey", "scenes:count=120,seed=9", "--units", "heads,neurons:4", "--top", "5", "--batch-size", "8")


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


class Reads:
    """How many scenes were read, in all."""

    def __init__(self) -> None:
        self.count, pick = 0, SceneImages.pick

        def counted(scenes: SceneImages, indices: np.ndarray) -> np.ndarray:
            self.count += len(indices)
            return pick(scenes, indices)

        SceneImages.pick = counted  # type: ignore[method-assign]


def kept_in(out: Path) -> list[int]:
    """Image passes of every shard that stands in a folder."""
    names = [path.name.split("-") for path in out.glob("shards/[0-9]*[0-9]")]
    return [int(stop) - int(start) for _, start, stop in names]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("disk", type=Path)
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--every", type=float, default=60.0, help="seconds between two commits; 0: after every batch")
    parser.add_argument("--most", type=float, default=3.0, help="the most room, in sizes of the survey")
    given = parser.parse_args()
    torch.set_num_threads(1)
    whole, reads = Path(tempfile.mkdtemp()) / "run", Reads()
    commanded = summand.studies.surveys.run
    commanded.make = partial(commanded.make, every=given.every)
    assert command(*GIVEN, "--out", whole).code == 0
    expected, needed, passes, bad = summand.open(whole), size_of(whole), reads.count, 0
    print(f"the survey takes {needed / 1e3:,.0f} kB and reads {passes} images")
    print(f"{'room':>9} {'exit code':>9} {'kept':>5} {'shards':>6} {'left':>5} {'off by':>8}  top images  said")
    for trial in range(given.trials):
        room = int(needed * (0.02 + given.most * trial / given.trials))
        filler, out = given.disk / "filler", given.disk / "run"
        filler.write_bytes(bytes(max(0, shutil.disk_usage(given.disk).free - room)))
        first = command(*GIVEN, "--out", out)
        kept, before = kept_in(out), reads.count
        filler.unlink()
        again = command(*GIVEN, "--out", out)
        left = reads.count - before
        off, same = differences(expected, summand.open(out)) if again.code == 0 else (float("nan"), False)
        said = [line for line in first.error.splitlines() if line.startswith("error: ")]
        fine = first.code == 0 or (first.code == 2 and len(said) == 1 and "Traceback" not in first.error)
        bad += not (
            fine and again.code == 0 and off < 1e-9 and same and (first.code == 0 or left <= passes - sum(kept))
        )
        line = said[0].replace(str(given.disk), "DISK")[:110] if said else ""
        print(f"{room / 1e3:6,.0f} kB {first.code:9} {sum(kept):5} {len(kept):6} {left:5} {off:8.0e}  "
              f"{'the same' if same else 'OTHERS':10}  {line}", flush=True)  # fmt: skip
        if again.code:
            print(again.error[-300:])
        shutil.rmtree(out)
    shutil.rmtree(whole.parent)
    print(f"one line, and the same survey afterwards: {given.trials - bad} of {given.trials}")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
