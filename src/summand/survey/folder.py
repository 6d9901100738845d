"""The folder of a run: whether it may be written to, and what in it is ours."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from ..errors import SummandError
from .lock import FILE as LOCK
from .manifest import FILE, Manifest


def check_folder(out: Path, asked: Manifest, restart: bool = False, kept: bool = True) -> None:
    """Raise `SummandError` unless `out` is new, empty, or a run of what is asked for. Changes nothing.

    Before the model is loaded `asked` has no groups and no weights yet; these are then not compared; nor, where
    `kept` is False, are the groups of which all coefficients are kept.
    """
    if out.exists() and not out.is_dir():
        raise SummandError(f"{out} is a file; give another folder with --out")
    parent = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    if not os.access(parent, os.W_OK):
        raise SummandError(f"no permission to write to {parent}; give another folder with --out")
    if not out.is_dir() or not any(path.name != LOCK for path in out.iterdir()):
        return
    if not (out / FILE).is_file():
        raise SummandError(f"the folder {out} is not empty and holds no run; give another folder with --out")
    if restart:
        return
    there = Manifest.read(out)
    asked = asked if asked.groups else replace(asked, groups=there.groups)
    said = there.differences(asked if kept else replace(asked, coefficients=there.coefficients, dtype=there.dtype))
    if said:
        raise SummandError(
            f"{out} holds another run: {'; '.join(said)}. Give another folder with --out, or --restart to replace it"
        )
