"""What is looked at before a row is measured: whether its weights are at hand, how long it takes, what it leaves."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch

from ...errors import SummandError
from ...models import Model
from ...models.hub import reachable
from ...progress import duration
from ...towers.residual import ResidualTower
from .job import Job
from .layers import stored_bytes
from .row import Weights

_FILES = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "open_clip_config.json",
)
_TRIED = 8  # images whose time is taken
_WORTH_SAYING = 60.0  # seconds


def check_weights(weights: Weights, row: str) -> None:
    """Raises `SummandError` where the weights are neither here nor to be fetched, with their name and their place."""
    if weights.tag is None or _cached(weights) or reachable():
        return
    raise SummandError(f"{row} needs {_named(weights)}: it is not there, and the network cannot be reached")


def explain(weights: Weights, row: str, error: SummandError) -> SummandError:
    """The error for weights that could not be loaded, with their name and their place."""
    return SummandError(f"{row} needs {_named(weights)}: {error}") if weights.tag else error


def _named(weights: Weights) -> str:
    hub, url, places = _places(weights)
    what = f"{weights.name} with open_clip's tag {weights.tag!r}"
    source = f"hf-hub:{hub}" if hub else url
    return f"{what} ({source}, looked for in {' and '.join(map(str, places))}; --model and --pretrained name others)"


def _places(weights: Weights) -> tuple[str, str, list[Path]]:
    import open_clip
    from huggingface_hub import constants

    said = open_clip.get_pretrained_cfg(weights.name, weights.tag or "")
    hub, url = str(said.get("hf_hub") or "").strip("/"), str(said.get("url") or "")
    places = [Path(constants.HF_HUB_CACHE) / f"models--{hub.replace('/', '--')}"] if hub else []
    if url:
        places.append(Path("~/.cache/clip").expanduser() / url.rsplit("/", 1)[-1])
    return hub, url, places


def _cached(weights: Weights) -> bool:
    from huggingface_hub import try_to_load_from_cache

    hub, _, places = _places(weights)
    found = [try_to_load_from_cache(hub, file) for file in _FILES[:-1]] if hub else []
    return any(isinstance(one, str) for one in found) or any(place.is_file() for place in places)


@torch.no_grad()
def announce(job: Job, model: Model) -> None:
    """Say on stderr how long the row takes, about, and what it leaves on the disk, where either is worth it."""
    images = min(job.row.images, job.options.count or job.row.images) * len(job.weights)  # at most
    seconds = images * job.row.passes * _seconds_of_one(model)
    stored = _stored(job, model)
    if job.scenes or (seconds < _WORTH_SAYING and stored < 1e8):
        return
    over = f"{job.row.passes:g} passes over {images:,} images on {model.device}"
    said = f"{job.row.id}: up to {duration(seconds)}, {over}"
    kept = f"; its statistics take {stored / 1e9:.1f} GB " + ("in memory" if job.folder is None else f"in {job.folder}")
    print(said + (kept if stored >= 1e8 else ""), file=sys.stderr, flush=True)


def _seconds_of_one(model: Model) -> float:
    height, width = model.tower.image_size
    blank = torch.zeros(_TRIED, 3, height, width, device=model.device, dtype=model.dtype)
    model.encode_image(blank).sum().item()  # makes things ready
    began = time.perf_counter()
    model.encode_image(blank).sum().item()
    return (time.perf_counter() - began) / _TRIED


def _stored(job: Job, model: Model) -> float:
    """Bytes that the statistics of the row's neurons take."""
    if not job.row.stored or not isinstance(model.tower, ResidualTower):
        return 0.0
    last = model.tower.layers
    layers = range(last - 1) if job.row.stored == "neurons" else [last - 3]
    return sum(stored_bytes(model, layer) for layer in layers)
