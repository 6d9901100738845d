"""What is installed here, and what may be wrong with it: what a report of a fault should begin with."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path

import torch

from ... import scenes
from ...models.hub import endpoint, offline_by_wish, reachable
from ...models.text_store import cache_folder

OURS, STRANGERS = "summand-clip", "summand"
_BESIDE = ("torch", "open_clip_torch", "numpy", "transformers", "huggingface_hub", "peft", "datasets", "ray", "gradio")
_WEIGHTS = "weights"


@dataclass(frozen=True)
class Fact:
    """One thing about this installation. problem: what is wrong with it and what to do; "" where nothing is."""

    what: str
    value: str
    problem: str = ""


def installation() -> list[Fact]:
    """Versions, devices, caches, the hub, and the shipped models' checksums."""
    return [*_versions(), *_devices(), *_places(), _hub(), *_shipped()]


def _versions() -> Iterator[Fact]:
    yield Fact(
        "summand",
        f"{_version(OURS) or 'a source tree that was never installed'} ({OURS}), in {Path(__file__).parents[2]}",
    )
    yield Fact("python", f"{platform.python_version()}, {platform.platform()}")
    found = {
        **{name: _version(name) for name in _BESIDE},
        "torch": torch.__version__,
    }  # which says what it was built for
    yield Fact("beside it", ", ".join(f"{name} {number}" for name, number in found.items() if number))
    if (stranger := _version(STRANGERS)) is not None:
        yield Fact(
            "distribution 'summand'",
            stranger,
            f"the distribution {STRANGERS!r} is another people's package, with a command of the same name; "
            f"run: pip uninstall {STRANGERS}; then: pip install --force-reinstall --no-deps {OURS}",
        )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _devices() -> Iterator[Fact]:
    yield Fact("processor", f"{os.cpu_count()} cores, torch uses {torch.get_num_threads()} threads")
    for number in range(torch.cuda.device_count()):
        found = torch.cuda.get_device_properties(number)
        yield Fact(f"cuda:{number}", f"{found.name}, {found.total_memory / 2**30:.0f} GiB")
    if torch.backends.mps.is_available():
        yield Fact("mps", "there is one")


def _places() -> Iterator[Fact]:
    from huggingface_hub import constants

    for what, folder in (("cache", cache_folder()), ("weights of the hub", Path(constants.HF_HUB_CACHE))):
        kept = sum(1 for _ in folder.rglob("*")) if folder.is_dir() else 0
        above = next((one for one in (folder, *folder.absolute().parents) if one.exists()), folder)
        state = f"{kept} files" if os.access(above, os.W_OK) else f"{kept} files, cannot be written to"
        yield Fact(what, f"{folder} ({state})")


def _hub() -> Fact:
    if offline_by_wish():
        return Fact("hub", "offline by wish (HF_HUB_OFFLINE)")
    state = "can be reached" if reachable() else "cannot be reached: weights come from the cache alone"
    return Fact("hub", f"{endpoint()} {state}")


def _shipped() -> Iterator[Fact]:
    folder = files(scenes).joinpath(_WEIGHTS)
    for line in folder.joinpath("SHA256SUMS").read_text().splitlines():
        known, name = line.split()
        file = folder.joinpath(name)
        found = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else "missing"
        damaged = f"{name} is not the file that was shipped; install {OURS} again"
        yield Fact(name, f"sha256 {found[:16]}", "" if found == known else damaged)
