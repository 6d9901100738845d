"""1,000 pictures of which 100 cannot be read, in the ways of tests/hostile.py, to every command that reads many.

    python benchmarks/hostile.py

Prints for each command its exit code, its time, and how many of those that cannot be read it named; and any line that
is an exception's. Exit code 1 where a command fell, or named fewer than all.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests import hostile
from tests.commands import command

COMMANDS = {
    "survey": ("survey", "BAD", "--units", "heads", "--max-skipped", "0.2"),
    "retrieve": ("retrieve", "GOOD/good 001.png", "BAD"),
    "concepts": ("concepts", "GOOD/good 001.png", "--reference", "BAD"),
    "shift, before": ("shift", "BAD", "GOOD"),
    "shift, after": ("shift", "GOOD", "BAD"),
    "registers": ("registers", "BAD"),
    "match": ("match", "GOOD/good 001.png", "a red star", "--reference", "BAD", "--count", "1000"),
    "attack": ("attack", "star", "cross", "--reference", "BAD", "--repeats", "0", "--indirect", "4"),
    "inject": ("inject", "BAD", "--classes", "shape", "--attribute", "place"),
    "sae": ("sae", "train", "BAD", "--layer", "3", "--latents", "16", "--top-k", "2"),
    "compare": ("compare", "scenes-vit-tied", "BAD", "--model", "scenes-vit"),
    "atlas": ("atlas", "BAD", "--layers", "5"),
    "heatmap": ("heatmap", "BAD", "a red star"),
}


def spoilt(folder: Path, whole: int, bad: int) -> dict[str, str]:
    """So many pictures, of which so many cannot be read; their names, as a source has them, and why."""
    known: dict[str, str] = {}
    hostile.pictures(folder, 8)
    good = (folder / "good 000.png").read_bytes()
    turn = 0
    while len(known) < bad:
        inside = folder / f"{turn:02}"
        inside.mkdir()
        for name, why in hostile.spoil(inside, good).items():
            if why is not None and len(known) < bad:
                known[f"{turn:02}/{hostile.as_named(name)}"] = why
            elif why is not None:
                (inside / name).unlink()
        turn += 1
    listed = sum(path.suffix.lower() in {".png", ".jpg", ".tif", ".gif"} and not path.is_dir()
                 for path in folder.rglob("*"))  # fmt: skip
    for number in range(whole - listed):
        shutil.copyfile(folder / f"good {number % 8:03}.png", folder / f"more {number:04}.png")
    return known


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--bad", type=int, default=100)
    parser.add_argument("--only", nargs="*", default=list(COMMANDS))
    given = parser.parse_args()
    torch.set_num_threads(1)
    home, worst = Path(tempfile.mkdtemp()), 0
    known = spoilt(home / "bad", given.pictures, given.bad)
    hostile.pictures(home / "good", 60, seed=3)
    print(f"{given.pictures:,} pictures, {len(known)} of which cannot be read")
    print(f"{'command':14} {'exit code':>9} {'seconds':>8} {'named':>6}")
    for name in given.only:
        words = [word.replace("BAD", str(home / "bad")).replace("GOOD", str(home / "good")) for word in COMMANDS[name]]
        began = time.monotonic()
        found = command(*words, "--out", home / f"out {name}")
        named = sum(each in found.error for each in known)
        fell = found.code not in (0, 1) or "Traceback" in found.error
        print(f"{name:14} {found.code:9} {time.monotonic() - began:8.0f} {named:6}", flush=True)
        if fell:
            print(found.error[-500:], flush=True)
        worst = max(worst, int(fell or named < len(known)))
    shutil.rmtree(home)
    sys.exit(worst)


if __name__ == "__main__":
    main()
