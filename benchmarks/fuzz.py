"""Every reader of files that someone else may have written, on damaged ones: nothing but a `SummandError` may come out.

    python benchmarks/fuzz.py --seconds 60 --state fuzz.json

Input i of a reader is made of its seeds by a generator of its own, so that it is the same in every run; one with
`--state` goes on where the last one ended. Prints how many inputs each reader had, how many it read and refused, and
every other exception with the first input that raised it. Exit code 1 where there is one.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import signal
import sys
import tarfile
import tempfile
import time
import traceback
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from safetensors.torch import save_file

import summand
from summand.data import open_source
from summand.data.pictures import read_image
from summand.data.sources import read_batch
from summand.models.ablations import Ablation, load_ablation
from summand.models.checkpoint import fit, read_checkpoint
from summand.studies.shift.reference import Reference
from summand.survey.checksums import write_sealed
from summand.survey.manifest import Manifest

SLOW = 20
"""Seconds after which an input counts as one that hangs."""
_WORDS = (b"", b"\0", b"\xff" * 8, b"-1", b"1e999", b"nan", b"{}", b"[]", b"null", b"true", b'"', b"\n",
          b"\xef\xbb\xbf", b"../../etc/passwd", b"/dev/zero", b"9" * 40, b"\xd8\x00")  # fmt: skip


@dataclass(frozen=True)
class Target:
    """A reader. seeds: file name → content, good ones. read: of a file. raw: readers of which `OSError` is the word."""

    seeds: dict[str, bytes]
    read: Callable[[Path], Any]
    allowed: tuple[type[Exception], ...] = (summand.SummandError,)


def damaged(content: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """Some changes of a file: bits, bytes, blocks, its end, and pieces of other files."""
    found = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        at = rng.randrange(len(found) + 1)
        what = rng.randrange(7)
        if what == 0 and found:
            place = rng.randrange(8 * len(found))
            found[place // 8] ^= 1 << place % 8
        elif what == 1 and found:
            found[min(at, len(found) - 1)] = rng.randrange(256)
        elif what == 2:
            del found[at : at + rng.choice((1, 2, 8, 64, 1 << 20))]
        elif what == 3:
            found[at:at] = rng.choice(_WORDS)
        elif what == 4:
            found[at:at] = found[at : at + rng.choice((1, 4, 32, 256))]
        elif what == 5:
            size = rng.choice((1, 2, 4, 8))
            found[at : at + size] = rng.randrange(1 << 8 * size).to_bytes(size, rng.choice(("little", "big")))
        else:
            other = rng.choice(others)
            start = rng.randrange(len(other) + 1)
            found[at : at + 64] = other[start : start + rng.choice((4, 64, 512))]
    return bytes(found)


def pictures() -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    small, found = Image.fromarray(rng.integers(0, 255, (12, 10, 3), dtype=np.uint8)), {}
    exif = Image.Exif()
    exif[0x0112] = 6
    for ending, options in (("png", {}), ("jpg", {"exif": exif}), ("gif", {}), ("tif", {"compression": "tiff_lzw"}),
                            ("webp", {}), ("bmp", {}), ("ppm", {})):  # fmt: skip
        made = io.BytesIO()
        small.save(made, {"jpg": "JPEG", "tif": "TIFF"}.get(ending, ending.upper()), **options)
        found[f"a.{ending}"] = made.getvalue()
    for mode, ending in (("P", "PNG"), ("I;16", "PNG"), ("CMYK", "TIFF"), ("F", "TIFF"), ("1", "TIFF"), ("LA", "PNG")):
        made = io.BytesIO()
        grey = small.convert("L")
        source = Image.fromarray(np.asarray(grey).astype(np.uint16) * 200) if mode == "I;16" else small.convert(mode)
        source.save(made, ending)
        found[f"{mode.replace(';', '')}.{ending.lower()}"] = made.getvalue()
    return found


def bytes_of(write: Callable[[Path], Any], name: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder, name))
        return Path(folder, name).read_bytes()


def tables(images: dict[str, bytes]) -> dict[str, bytes]:
    frame = pd.DataFrame({"path": ["a.png", "b/c.png"], "label": [1, 2], "split": ["train", "val"]})
    held = pd.DataFrame({"image": [{"bytes": images["a.png"], "path": "a.png"}] * 2})
    return {
        "a.csv": frame.to_csv(index=False).encode(),
        "a.tsv": frame.to_csv(index=False, sep="\t").encode("utf-16"),
        "b.csv": frame.to_csv(index=False, sep=";").encode("latin-1"),
        "a.jsonl": b'{"path": "a.png", "label": 1}\n{"path": "b/c.png", "label": 2}\n',
        "a.txt": b"# paths\na.png\nb/c.png\n",
        "a.parquet": bytes_of(frame.to_parquet, "a.parquet"),
        "b.parquet": bytes_of(held.to_parquet, "b.parquet"),
    }


def archives(images: dict[str, bytes]) -> tuple[dict[str, bytes], dict[str, bytes]]:
    zipped, tarred = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive, tarfile.open(fileobj=tarred, mode="w") as tar:
        for name, content in list(images.items())[:3]:
            archive.writestr(f"deep/{name}", content)
            info = tarfile.TarInfo(f"deep/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return {"a.zip": zipped.getvalue()}, {"a.tar": tarred.getvalue()}


def opened(path: Path) -> None:
    source = open_source(str(path))
    read_batch(source, range(min(3, len(source))), [])


def targets(home: Path) -> dict[str, Target]:
    """By name; what they read is made with a small survey of the scenes."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from tests import tiny

    model, images = summand.load("scenes-vit"), pictures()
    with redirect_stderr(io.StringIO()):
        survey = summand.survey(model, "scenes:count=24,seed=1", units="heads", top=2, out=home / "run", progress=False)
        survey.label(progress=False)
    zips, tars = archives(images)
    clip = tiny.clip()
    state = {name: value.contiguous() for name, value in clip.state_dict().items()}
    manifest = json.loads((home / "run" / "manifest.json").read_text())
    sealed = {key: value for key, value in manifest.items() if key != "sha256"}

    def of_manifest(path: Path) -> None:
        """A text that is still JSON gets its seal, so that the values are looked at."""
        try:
            found = json.loads(path.read_text())
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, dict):
            write_sealed(path.parent / "manifest.json", {k: v for k, v in found.items() if k != "sha256"})
        else:
            (path.parent / "manifest.json").write_bytes(path.read_bytes())
        made = Manifest.read(path.parent)
        _ = made.origin, made.command(path), made.differences(survey.manifest)
        summand.open(path.parent)

    def of_checkpoint(path: Path) -> None:
        fit(clip, read_checkpoint(path))

    def of_labels(path: Path) -> None:
        place = path.parent / "run"
        place.mkdir(exist_ok=True)
        write_sealed(place / "manifest.json", sealed)
        (place / "labels.parquet").write_bytes(path.read_bytes())
        from summand.survey.unit_words import heads_in_words

        found = summand.open(place)
        _ = found.labels
        heads_in_words(found)

    def of_reference(path: Path) -> None:
        Reference.load(path)

    def of_edit(path: Path) -> None:
        load_ablation(path)

    reference, edit = made_files(home, model)
    return {
        "images": Target(images, lambda path: read_image(path), (summand.SummandError, OSError)),
        "tables": Target(tables(images), opened),
        "zip": Target(zips, opened),
        "tar": Target(tars, opened),
        "manifest": Target({"m.json": json.dumps(sealed).encode(), "n.json": json.dumps({**sealed, "parts": [
            {"location": "scenes", "count": 3, "images": 3, "files": "x"}]}).encode()}, of_manifest),
        "checkpoint": Target({
            "a.safetensors": bytes_of(lambda path: save_file(state, path), "a.safetensors"),
            "a.pt": bytes_of(lambda path: torch.save({"state_dict": state, "epoch": 3}, path), "a.pt"),
            "b.pth": bytes_of(lambda path: torch.save(state, path, _use_new_zipfile_serialization=False), "b.pth"),
        }, of_checkpoint),
        "labels": Target({"l.parquet": (home / "run" / "labels.parquet").read_bytes()}, of_labels),
        "references": Target({"r.npz": reference}, of_reference),
        "edits": Target({"e.npz": edit}, of_edit),
    }  # fmt: skip


def made_files(home: Path, model: summand.Model) -> tuple[bytes, bytes]:
    """A reference of `shift`, and an ablation of `debias`, as the commands write them."""
    from summand.studies.shift.reference import make_reference
    from summand.text.pools import pool

    make_reference(model, open_source("scenes:count=24,seed=1"), pool(model.world.pool)).save(home / "r.npz")
    Ablation.of(model, [(5, 3)], summand.open(home / "run").moments("heads").mean).save(home / "e.npz")
    return (home / "r.npz").read_bytes(), (home / "e.npz").read_bytes()


@contextmanager
def not_for_ever() -> Iterator[None]:
    def late(*_: object) -> None:
        raise TimeoutError(f"did not end in {SLOW} s")

    signal.signal(signal.SIGALRM, late)
    signal.alarm(SLOW)
    try:
        yield
    finally:
        signal.alarm(0)


def one(target: Target, name: str, number: int, folder: Path) -> tuple[str, str]:
    """Read input `number`: read, refused, or what else came, with its place."""
    rng = random.Random(f"{name}:{number}")
    seed = rng.choice(sorted(target.seeds))
    path = folder / seed
    path.write_bytes(damaged(target.seeds[seed], list(target.seeds.values()), rng))
    try:
        with not_for_ever(), warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            target.read(path)
    except TimeoutError as error:  # an OSError, which some readers may raise
        return "fault", f"TimeoutError: {error}"
    except target.allowed:
        return "refused", ""
    except Exception as error:
        ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "summand" in frame.filename]
        place = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "?"
        return "fault", f"{type(error).__name__} at {place}: {str(error)[:100]!r}"
    return "read", ""


def run(seconds: float, inputs: int, state: dict[str, Any], only: str | None = None) -> dict[str, Any]:
    """Until the time is over, or every reader has had so many inputs. state: name → next input, counts and faults."""
    with tempfile.TemporaryDirectory() as home:
        known = {name: each for name, each in targets(Path(home)).items() if only in (None, name)}
        for name, target in known.items():
            at = state.setdefault(name, {"next": 0, "counts": {}, "faults": {}})
            counts, ends = Counter(at["counts"]), time.monotonic() + seconds / len(known)
            folder = Path(home, "inputs")
            folder.mkdir(exist_ok=True)
            while time.monotonic() < ends and at["next"] < inputs:
                what, said = one(target, name, at["next"], folder)
                counts[what] += 1
                if what == "fault":
                    at["faults"].setdefault(said.partition(": ")[0], f"input {at['next']}: {said}")
                at["next"] += 1
            at["counts"] = dict(counts)
    return state


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="for all readers together")
    parser.add_argument("--inputs", type=int, default=1 << 40, help="a reader at most")
    parser.add_argument("--state", type=Path, help="where to go on, and what was found")
    parser.add_argument("--only", help="one reader")
    given = parser.parse_args()
    torch.set_num_threads(1)
    state = json.loads(given.state.read_text()) if given.state and given.state.is_file() else {}
    state = run(given.seconds, given.inputs, state, given.only)
    if given.state:
        given.state.write_text(json.dumps(state, indent=1))
    print(f"{'reader':12} {'inputs':>8} {'read':>8} {'refused':>8} {'others':>7}")
    for name, at in state.items():
        counts = Counter(at["counts"])
        print(f"{name:12} {at['next']:8,} {counts['read']:8,} {counts['refused']:8,} {counts['fault']:7,}")
    print(f"{'all':12} {sum(at['next'] for at in state.values()):8,}")
    faults = [f"{name}, {said}" for name, at in state.items() for said in at["faults"].values()]
    print("\n".join(faults))
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
