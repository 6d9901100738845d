"""Every command that writes, on a disk with little room for what it writes, keeps and sets aside; then with room.

    sudo mount -t tmpfs -o size=64m tmpfs /mnt/small
    python benchmarks/full_disk_commands.py /mnt/small

What is written (--out), the cache (SUMMAND_CACHE) and temporary files (TMPDIR) are all on that disk. Prints for each
command and room the exit code, what was left in --out, what was said, and the exit code after room was made. Exit code
1 where a command did not end in one line, left a part of something, or did not end well afterwards.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests import hostile
from tests.commands import Finished, command

ROOMS = (0, 12_000, 100_000, 400_000)
TINY = "img_size=64,patch_size=16,embed_dim=12,depth=2,num_heads=2"
COMMANDS = {
    "label": ("label", "RUN"),
    "retrieve": ("retrieve", "PICTURES/good 000.png", "PICTURES"),
    "concepts": ("concepts", "PICTURES/good 000.png", "--reference", "PICTURES"),
    "heatmap": ("heatmap", "PICTURES", "a red star"),
    "match": ("match", "PICTURES/good 000.png", "a red star"),
    "unit": ("unit", "RUN", "5.3"),
    "atlas": ("atlas", "PICTURES", "--layers", "5"),
    "atlas of a survey": ("atlas", "RUN", "--layers", "5"),
    "shift": ("shift", "scenes:count=40,seed=1", "scenes:count=40,seed=2"),
    "shift, reference": ("shift", "scenes:count=40,seed=1", "--save-reference", "OUT/reference.npz"),
    "segment": ("segment", "scenes:groups=2,count=3", "--methods", "random"),
    "ablate": ("ablate", "scenes:count=40,seed=3", "--classes", "shape", "--what", "attention"),
    "debias": ("debias", "scenes:count=40,seed=3", "--classes", "shape", "--groups", "place", "--allow-empty",
               "--units", "5.0"),
    "perturb": ("perturb", "PICTURES", "a red star", "a blue ring", "--methods", "random", "--steps", "2"),
    "registers": ("registers", "PICTURES"),
    "attack": ("attack", "star", "cross", "--repeats", "0", "--indirect", "4"),
    "inject": ("inject", "scenes:count=40,seed=3", "--classes", "shape", "--attribute", "place"),
    "sae": ("sae", "train", "PICTURES", "--layer", "3", "--latents", "16", "--top-k", "2"),
    "align": ("align", "vit_tiny_patch16_224", "PICTURES", "--model", "scenes-vit", "--random-vision", "--pixels",
              "clip", "--vision-settings", TINY),
    "compare": ("compare", "scenes-vit-tied", "PICTURES", "--model", "scenes-vit", "--units", "heads"),
    "merge": ("merge", "RUN", "RUN2"),
    "scenes": ("scenes", "--count", "40"),
    "export": ("export", "OUT/model.pt2", "--model", "scenes-vit"),
}  # fmt: skip
PICTURE = ("unit",)
WITHOUT = ("label", "shift, reference", "export")
"""Commands that write where they are told otherwise."""


def one_line(found: Finished) -> str | None:
    """The one line of an error; None where there is another end."""
    lines = [line for line in found.error.splitlines() if line.startswith("error: ")]
    return lines[0].removeprefix("error: ") if found.code == 2 and len(lines) == 1 else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("disk", type=Path)
    parser.add_argument("--only", nargs="*", default=list(COMMANDS))
    parser.add_argument("--rooms", nargs="*", type=int, default=ROOMS, help="bytes")
    given = parser.parse_args()
    torch.set_num_threads(1)
    home, disk, bad = Path(tempfile.mkdtemp()), given.disk, 0
    hostile.pictures(home / "pictures", 40)
    for name, seed in (("run", 1), ("run 2", 2)):
        made = command("survey", f"scenes:count=40,seed={seed}", "--units", "heads", "--top", "3", "--out", home / name)
        assert made.code == 0, made.error
    print(f"{'command':18} {'room':>9} {'exit code':>9} {'left':>5} {'then':>5}  said")
    for name in given.only:
        for room in given.rooms:
            for folder in ("cache", "temporary", "out"):
                shutil.rmtree(disk / folder, ignore_errors=True)
                (disk / folder).mkdir()
            for run in ("run", "run 2"):
                shutil.rmtree(disk / run, ignore_errors=True)
                shutil.copytree(home / run, disk / run)
            os.environ["SUMMAND_CACHE"], os.environ["TMPDIR"] = str(disk / "cache"), str(disk / "temporary")
            tempfile.tempdir = None
            places = {"RUN2": disk / "run 2", "RUN": disk / "run", "PICTURES": home / "pictures", "OUT": disk / "out"}
            words = list(COMMANDS[name])
            for key, place in places.items():
                words = [word.replace(key, str(place)) for word in words]
            words += [] if name in WITHOUT else ["--out", str(disk / "out" / ("a.png" if name in PICTURE else "made"))]
            filler = disk / "filler"
            filler.write_bytes(bytes(max(0, shutil.disk_usage(disk).free - room)))
            first = command(*words)
            left = [path for path in (disk / "out").rglob("*") if path.is_file()]
            parts = [path for path in disk.rglob("*") if ".part" in path.name or path.name.endswith("-journal")]
            parts += list((disk / "temporary").iterdir())
            filler.unlink()
            then = command(*words)
            said = one_line(first)
            told = "No space left" in (said or "") or "make room" in (said or "")
            whole = not parts and (first.code in (0, 1) or not left)
            fine = (first.code in (0, 1) or told) and whole and then.code in (0, 1) and "damaged" not in first.error
            bad += not fine
            line = (said or " | ".join(first.error.splitlines()[-2:])).replace(str(disk), "DISK")
            print(f"{name:18} {room / 1e3:6,.0f} kB {first.code:9} {len(left):5} {then.code:5}  "
                  f"{'' if fine else 'WRONG: '}{line[:160] if fine else line[:600]}", flush=True)  # fmt: skip
            if not fine:
                print("    ", [str(path.relative_to(disk)) for path in [*parts, *left]][:6])
            if then.code not in (0, 1):
                print("    ", then.error[-400:])
    shutil.rmtree(home)
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
