"""One bit flipped in each file of a finished survey in turn: whether it is named, and what is made again.

    python benchmarks/flipped.py [--latents 64]

Prints a line a kind of file: how many there are, how often the flip was named by `summand info` (exit code 1), and by
the command that made the survey, how often nothing but the damaged part was made again, and how often the survey was
then as before.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import random
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import torch
from killed import differences, with_latents

import summand
from summand.studies.surveys.info import info


def survey(model: summand.Model, out: Path) -> tuple[summand.Survey, str]:
    """The survey, and what was said on stderr."""
    said = io.StringIO()
    units = ("heads,latents:3", "latents:3") if model.autoencoders else ("heads,neurons:4", "neurons:4")
    options = {"units": units[0], "top": 5, "keep": units[1], "batch_size": 16, "progress": False}
    with contextlib.redirect_stderr(said):
        found = summand.survey(model, "scenes:count=60,seed=3", out=out, **options)
    return found, said.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--latents", type=int, help="of a sparse autoencoder, in the place of neurons")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rng, home = random.Random(0), Path(tempfile.mkdtemp())
    model = summand.load("scenes-vit") if given.latents is None else with_latents(home / "sae", given.latents)
    expected, _ = survey(model, home / "whole")
    files = sorted(path.relative_to(home / "whole") for path in (home / "whole").rglob("*") if path.is_file())
    told: dict[str, Counter[str]] = {}
    for name in files:
        copy = home / "copy"
        shutil.copytree(home / "whole", copy)
        content = bytearray((copy / name).read_bytes())
        place = rng.randrange(8 * len(content))
        content[place // 8] ^= 1 << place % 8
        (copy / name).write_bytes(content)
        count = told.setdefault(name.parts[0], Counter())
        count["files"] += 1
        asked = info(copy)
        count["info"] += asked.alarm and any(str(name) in note or name.name in note for note in asked.notes)
        before = {path: path.stat().st_mtime_ns for path in copy.rglob("*") if path.is_file()}
        try:
            found, said = survey(model, copy)
        except summand.SummandError as error:  # of the manifest and the checksums nothing can be made again
            count["named"] += name.name in str(error)
            count["refused"] += 1
        else:
            count["named"] += name.name in said
            parts = {path.relative_to(copy).parts[0] for path in copy.rglob("*")
                     if path.is_file() and path.stat().st_mtime_ns != before.get(path)}  # fmt: skip
            count["only it"] += parts <= {
                name.parts[0],
                "images.zarr",
                "images.parquet",
                "manifest.json",
                "checksums.json",
            }
            off, same = differences(expected, found)
            count["as before"] += off < 1e-9 and same
        shutil.rmtree(copy)
    print(f"{'part':20} {'files':>6} {'info names':>10} {'named':>6} {'only it':>8} {'as before':>9} {'refused':>8}")
    for part, count in told.items():
        print(f"{part:20} {count['files']:6} {count['info']:10} {count['named']:6} {count['only it']:8} "
              f"{count['as before']:9} {count['refused']:8}")  # fmt: skip
    shutil.rmtree(home)


if __name__ == "__main__":
    main()
