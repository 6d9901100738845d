"""The folder that a site is written to: ours, or refused; built beside, put in its place when it is whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ...errors import SummandError
from ...surroundings import room_or_place

MARKER = ".summand-atlas"
_OURS = (
    *("heads", "neurons", "pairs", "latents", "images", "thumbs", "data"),
    *("index.html", "style.css", "atlas.js", "unit.js", "words.js", "labels.csv", "sheet.webp", MARKER),
)
_SAID = "This folder is written by `summand atlas`, which replaces what it wrote here before, and nothing else.\n"


def check_folder(out: Path) -> None:
    """Raise `SummandError` unless `out` is new, empty, or an atlas that we wrote before. Changes nothing."""
    if out.exists() and not out.is_dir():
        raise SummandError(f"{out} is a file; give another folder with --out")
    parent = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    if not os.access(parent, os.W_OK):
        raise SummandError(f"no permission to write to {parent}; give another folder with --out")
    if out.is_dir() and any(out.iterdir()) and not (out / MARKER).is_file():
        raise SummandError(f"the folder {out} is not empty and holds no atlas of ours; give another folder with --out")


@contextmanager
def built_in(out: Path) -> Iterator[Path]:
    """A folder to write the site to, inside `out`; when the block ends its entries take the place of the old ones, each
    by a rename. Where the block raises, it is removed and what stood there stands; where nothing did, nothing is left.
    Files of others in `out` stay.

    Front page last: until then the old one is there, and afterwards everything that it names."""
    check_folder(out)
    building, new = out / f".building-{os.getpid()}", not out.exists()
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / MARKER).write_text(_SAID)
        _forget(out)
        building.mkdir()
        yield building
        _swap(building, out)
    except OSError as error:
        raise SummandError(
            f"cannot write to {out}: {error.strerror or error}; {room_or_place(error)}, or give another folder with "
            f"--out"
        ) from error
    finally:
        shutil.rmtree(building, ignore_errors=True)
        _leave_no_empty(out, new)


def _leave_no_empty(out: Path, new: bool) -> None:
    """Remove the marker where it stands alone, and the folder where it is ours and empty."""
    with suppress(OSError):
        if [path.name for path in out.iterdir()] == [MARKER]:
            (out / MARKER).unlink()
        if new:
            out.rmdir()


def _swap(building: Path, out: Path) -> None:
    old = building / ".old"
    old.mkdir()
    for name in sorted(_OURS, key=lambda name: name == "index.html"):
        new, there = building / name, out / name
        if name == MARKER:
            continue
        if there.exists():
            os.replace(there, old / name)
        if new.exists():
            os.replace(new, there)


def _forget(out: Path) -> None:
    """Remove what a build left behind that was killed."""
    for left in out.glob(".building-*"):
        pid = left.name.rpartition("-")[2]
        if pid.isdigit() and not _alive(int(pid)):
            shutil.rmtree(left, ignore_errors=True)


def _alive(pid: int) -> bool:
    if os.name == "nt":  # there, asking would end it
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
