"""A disk that is full in the middle of a survey, as often as asked; then room is made, and the same command goes on.

    sudo mount -t tmpfs -o size=8m tmpfs /mnt/small
    python benchmarks/full_disk.py /mnt/small --trials 10

Fills the disk but for some part of what the survey needs, runs the command, makes room, and runs it again. Prints the
room there was, what was said, how many image passes were kept, and how far the finished survey is from one that never
lacked room. Exit code 1 where a trial did not end in one line, or not in the same survey.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import torch
from killed import differences

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.commands import command

import summand

GIVEN = ("survey", "scenes:count=120,seed=9", "--units", "heads,neurons:4", "--top", "5", "--batch-size", "8")


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("disk", type=Path)
    parser.add_argument("--trials", type=int, default=10)
    given = parser.parse_args()
    torch.set_num_threads(1)
    whole = Path(tempfile.mkdtemp()) / "run"
    assert command(*GIVEN, "--out", whole).code == 0
    expected, needed, bad = summand.open(whole), size_of(whole), 0
    print(f"the survey takes {needed / 1e3:,.0f} kB")
    print(f"{'room':>9} {'exit code':>9} {'kept':>5} {'off by':>8}  top images  said")
    for trial in range(given.trials):
        room = int(needed * (0.02 + 3 * trial / given.trials))
        filler, out = given.disk / "filler", given.disk / "run"
        filler.write_bytes(bytes(max(0, shutil.disk_usage(given.disk).free - room)))
        first = command(*GIVEN, "--out", out)
        kept = sum(int(path.name.split("-")[2]) - int(path.name.split("-")[1]) for path in out.glob("shards/*-*-[0-9]*")
                   if path.suffix == "")  # fmt: skip
        filler.unlink()
        again = command(*GIVEN, "--out", out)
        off, same = differences(expected, summand.open(out)) if again.code == 0 else (float("nan"), False)
        said = [line for line in first.error.splitlines() if line.startswith("error: ")]
        fine = first.code == 0 or (first.code == 2 and len(said) == 1 and "Traceback" not in first.error)
        bad += not (fine and again.code == 0 and off < 1e-9 and same)
        line = said[0].replace(str(given.disk), "DISK")[:110] if said else ""
        print(
            f"{room / 1e3:6,.0f} kB {first.code:9} {kept:5} {off:8.0e}  {'the same' if same else 'OTHERS':10}  {line}"
        )
        if again.code:
            print(again.error[-300:])
        shutil.rmtree(out)
    shutil.rmtree(whole.parent)
    print(f"one line, and the same survey afterwards: {given.trials - bad} of {given.trials}")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
