"""The folder that a site is written to: ours, or refused."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ...errors import SummandError

MARKER = ".summand-atlas"


def check_folder(out: Path) -> None:
    """Raise `SummandError` unless `out` is new, empty, or an atlas that we wrote before. Changes nothing."""
    if out.exists() and not out.is_dir():
        raise SummandError(f"{out} is a file; give another folder with --out")
    parent = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    if not os.access(parent, os.W_OK):
        raise SummandError(f"no permission to write to {parent}; give another folder with --out")
    if out.is_dir() and any(out.iterdir()) and not (out / MARKER).is_file():
        raise SummandError(f"the folder {out} is not empty and holds no atlas of ours; give another folder with --out")


def claim_folder(out: Path) -> None:
    """Make `out` ours, without the pages of an earlier atlas."""
    check_folder(out)
    try:
        for name in ("heads", "images", "index.html", "style.css"):
            target = out / name
            if target.is_dir():
                shutil.rmtree(target)
            elif target.exists():
                target.unlink()
        out.mkdir(parents=True, exist_ok=True)
        (out / MARKER).write_text("This folder is written by `summand atlas`, which replaces what is in it.\n")
    except OSError as error:
        raise SummandError(
            f"cannot write to {out}: {error.strerror or error}; give another folder with --out"
        ) from error
