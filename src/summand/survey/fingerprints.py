"""Whether a model, and a list of images, are those of before: by their hashes."""

from __future__ import annotations

import hashlib
import os
import platform
from importlib.metadata import PackageNotFoundError, version

import torch

from ..data import ImageSource
from ..data.sources import FileImages
from ..models import Model
from ..towers.settings import settings_hash

_PACKAGES = ("summand-clip", "torch", "open_clip_torch", "xarray", "zarr", "numpy")


def weights_hash(model: Model) -> str:
    """SHA-256 over names, dtypes, shapes and bytes of all parameters and saved buffers, and over what is ablated;
    behind a plus, the start of one over everything else that the model computes with, such as its activations."""
    seen = hashlib.sha256(getattr(model.tower, "ablation", b""))
    for layer in sorted(model.autoencoders):
        seen.update(model.autoencoders[layer].digest())
    for name, value in sorted(model.clip.state_dict().items()):
        seen.update(f"{name} {value.dtype} {list(value.shape)}\n".encode())
        seen.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return f"{seen.hexdigest()}+{settings_hash(model.clip)[:16]}"


def same_weights(one: str, other: str) -> bool:
    """Whether two models are the same by their `weights_hash`; that of an older run knows of the weights alone."""
    known = min(len(one.split("+")), len(other.split("+")))
    return one.split("+")[:known] == other.split("+")[:known]


def names_hash(source: ImageSource) -> str:
    """SHA-256 over the names of a source's images, in order; of images in memory over what they hold."""
    seen = hashlib.sha256()
    for index in range(len(source)):
        seen.update(source.name(index).encode() + b"\0")
    seen.update(str(getattr(source, "content", "")).encode())
    return seen.hexdigest()


def states_hash(source: ImageSource) -> str:
    """SHA-256 over sizes and times of change of a folder's or a table's files; of other sources nothing."""
    if not isinstance(source, FileImages):
        return ""
    seen = hashlib.sha256()
    for file in source.files:
        try:
            state: os.stat_result | None = file.stat()
        except (OSError, ValueError):
            state = None
        seen.update(os.fsencode(file) + f" {state and (state.st_size, state.st_mtime_ns)}\n".encode())
    return seen.hexdigest()


def versions() -> dict[str, str]:
    """Of Python and of the packages that the numbers depend on."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return found
