"""1,000 pictures of which 100 cannot be read, in the ways of tests/hostile.py, to every command that reads pictures.

    python benchmarks/hostile.py

Prints for each command its exit code, its time, and how many of those that cannot be read it named; and any line that
is an exception's. Then the commands that read a survey of them, once as it is and once where half of the pictures that
could be read are gone or cut short since. Exit code 1 where a command fell, or one of the first named fewer than all.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Collection
from pathlib import Path

import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests import hostile
from tests.commands import command

COMMANDS = {
    "survey": ("survey", "BAD", "--units", "heads", "--max-skipped", "0.5"),
    "heatmap": ("heatmap", "BAD", "a red star"),
    "a head's map": ("heatmap", "GOOD/good 001.png", "--head", "5.3", "--reference", "BAD"),
    "retrieve": ("retrieve", "GOOD/good 001.png", "BAD"),
    "concepts": ("concepts", "GOOD/good 001.png", "--reference", "BAD"),
    "match": ("match", "GOOD/good 001.png", "a red star", "--reference", "BAD", "--count", "1000"),
    "perturb": ("perturb", "BAD", "a red star", "a blue ring", "--methods", "random", "--steps", "2"),
    "segment": ("segment", "MASKED", "--methods", "random"),
    "shift, before": ("shift", "BAD", "GOOD"),
    "shift, after": ("shift", "GOOD", "BAD"),
    "ablate": ("ablate", "BOTH", "--what", "attention"),
    "debias": ("debias", "BOTH", "--units", "5.3", "--groups", "BOTH/groups.csv"),
    "registers": ("registers", "BAD"),
    "subconcepts": ("subconcepts", "BAD", "3", "--model", "scenes-rn", "--top", "3"),
    "attack": ("attack", "star", "cross", "--reference", "BAD", "--repeats", "0", "--indirect", "4"),
    "inject": ("inject", "BAD", "--classes", "shape", "--attribute", "place"),
    "sae": ("sae", "train", "BAD", "--layer", "3", "--latents", "16", "--top-k", "2"),
    "align": ("align", "vit_tiny_patch16_224", "BAD", "--model", "scenes-vit", "--random-vision", "--pixels", "clip",
              "--vision-settings", "img_size=64,patch_size=16,embed_dim=12,depth=2,num_heads=2"),
    "compare": ("compare", "scenes-vit-tied", "BAD", "--model", "scenes-vit"),
    "atlas": ("atlas", "BAD", "--layers", "5"),
}  # fmt: skip
ON_A_SURVEY = {
    "info": ("info", "RUN"),
    "label": ("label", "RUN"),
    "unit": ("unit", "RUN", "5.3"),
    "head": ("head", "RUN", "5.1"),
    "find": ("find", "RUN", "GOOD/good 001.png"),
    "atlas of it": ("atlas", "RUN", "--layers", "5"),
    "merge": ("merge", "RUN", "GOOD RUN"),
}
SILENT = ("info",)
"""Commands that write nothing."""


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


def labelled(home: Path) -> None:
    """The folder as one of two classes, and a table of groups of all that a table can name."""
    files = [file for file in sorted(home.rglob("*.*")) if not file.is_dir() and file.name.isprintable()]
    places = [file.relative_to(home) for file in files if not {*'",'} & {*file.name}]
    rows = [f"{place},{place.parts[0]},{number % 2}" for number, place in enumerate(places)]
    (home / "groups.csv").write_text("\n".join(["path,label,place", *rows, ""]))


def masked(folder: Path, whole: int, bad: int) -> set[str]:
    """Pictures with a mask each, so many of which cannot be read; the names of these."""
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    known = spoilt(folder / "spoilt", whole, bad)
    unread, good = set(), (folder / "spoilt" / "good 000.png").read_bytes()
    (folder / "classes.txt").write_text("0: unlabelled\n1: star\n2: ring\n")
    Image.new("L", Image.open(folder / "spoilt" / "good 000.png").size, 1).save(folder / "mask.png")
    for file in sorted((folder / "spoilt").rglob("*.*")):
        name = str(file.relative_to(folder / "spoilt"))
        if file.is_dir() or file.suffix.lower() not in {".png", ".jpg", ".tif", ".gif"}:
            continue
        flat = name.replace("/", " ")[-200:]
        unread |= {flat} if hostile.as_named(name) in known else set()
        if hostile.as_named(name) not in known:
            file.write_bytes(good)  # so that it fits the mask
        file.rename(folder / "images" / flat)
        shutil.copyfile(folder / "mask.png", (folder / "masks" / flat).with_suffix(".png"))
    return {hostile.as_named(name) for name in unread}


def tried(name: str, words: tuple[str, ...], places: dict[str, Path], known: Collection[str], turn: str = "") -> bool:
    """Run a command and print its line; whether it fell, or did not name all of the known."""
    given = list(words)
    for key, place in places.items():
        given = [word.replace(key, str(place)) for word in given]
    began = time.monotonic()
    out = places["OUT"] / f"{name}{turn}{'.png' if name in ('unit', 'head') or '--head' in words else ''}"
    found = command(*given, *(() if name in SILENT else ("--out", out) if name != "label" else ()))
    named = sum(each in found.error for each in known)
    refused = name == "merge" and turn and found.code == 2 and "bring them back" in found.error  # it reads them again
    fell = not refused and (found.code not in (0, 1) or "Traceback" in found.error)
    said = f"{named:6}" if known else f"{'':6}"
    print(f"{name + turn:24} {found.code:9} {time.monotonic() - began:8.0f} {said}", flush=True)
    if fell:
        print(found.error[-500:], flush=True)
    return fell or named < len(known)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--bad", type=int, default=100)
    parser.add_argument("--only", nargs="*", default=[*COMMANDS, *ON_A_SURVEY])
    given = parser.parse_args()
    torch.set_num_threads(1)
    home, worst = Path(tempfile.mkdtemp()), False
    os.environ["SUMMAND_CACHE"] = str(home / "cache")
    known = spoilt(home / "both" / "star", given.pictures, given.bad)
    hostile.pictures(home / "both" / "ring", 60, seed=3)
    labelled(home / "both")
    unmasked = masked(home / "masked", given.pictures, given.bad)
    places = {"GOOD RUN": home / "good run", "GOOD": home / "both" / "ring", "BAD": home / "both" / "star"}
    places |= {"BOTH": home / "both", "MASKED": home / "masked", "RUN": home / "out" / "survey", "OUT": home / "out"}
    print(f"{given.pictures:,} pictures, {len(known)} of which cannot be read")
    print(f"{'command':24} {'exit code':>9} {'seconds':>8} {'named':>6}")
    for name in (name for name in COMMANDS if name in given.only):
        worst |= tried(name, COMMANDS[name], places, unmasked if name == "segment" else known)
    if set(ON_A_SURVEY) & set(given.only) and "survey" in given.only:
        assert command("survey", places["GOOD"], "--units", "heads", "--out", places["GOOD RUN"]).code == 0
        for turn in ("", ", pictures gone"):
            for number, path in enumerate(sorted(places["BAD"].glob("more *.png")) if turn else ()):
                if number % 4 == 0:
                    path.unlink()
                elif number % 4 == 1:
                    path.write_bytes(path.read_bytes()[:99])
            for name in (name for name in ON_A_SURVEY if name in given.only):
                worst |= tried(name, ON_A_SURVEY[name], places, (), turn)
    shutil.rmtree(home)
    sys.exit(worst)


if __name__ == "__main__":
    main()
