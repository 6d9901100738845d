"""Aligned models as folders: align.json, which says what was aligned with what, and the weights of the image side."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from ...errors import SummandError, first_line
from ..checkpoint_files import read_file
from ..model import Model
from ..origin import Origin
from ..saved_weights import save_weights
from .module import AlignedTower, aligned_clip, headless

FILE, WEIGHTS = "align.json", "image_tower.safetensors"
_FORMAT = 1


@dataclass(frozen=True)
class Vision:
    """A timm model by name. settings: further arguments of timm.create_model; weights: a checkpoint file in the place
    of timm's own; random_init: none at all."""

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    weights: str | None = None
    random_init: bool = False

    def build(self) -> Any:
        """The network, with its weights, for evaluation. Raises `SummandError` where it cannot be had."""
        import timm

        own = self.weights is None and not self.random_init
        try:
            made = timm.create_model(self.name, pretrained=own, num_classes=0, **self.settings)
        except Exception as error:  # of timm and of the hub, of many kinds
            known = "timm.list_models() names them, and weights that lie in a file are given as weights=FILE"
            with_ = ", ".join(f"{name}={value!r}" for name, value in self.settings.items())
            made_so = f" with vision_settings {with_}" if with_ else ""
            remedy = f"mind these settings; {known}" if with_ else known
            raise SummandError(f"timm cannot make {self.name!r}{made_so}: {first_line(error)}; {remedy}") from error
        if self.weights is not None:
            state = _without_head(read_file(Path(self.weights).expanduser()))
            try:
                made.load_state_dict(state)
            except RuntimeError as error:
                raise SummandError(f"{self.weights} does not fit {self.name}: {str(error)[:300]}") from error
        return made.eval()


def _without_head(found: Any) -> dict[str, Any]:
    """Weights by timm's names, of a file or of a training checkpoint around them, without a classifier's."""
    inner = next((found[name] for name in ("state_dict", "model") if isinstance(found.get(name), Mapping)), found)
    return {name: tensor for name, tensor in inner.items() if not name.startswith("head.")}


def transform(trunk: Any) -> tuple[Callable[..., Any], dict[str, Any]]:
    """timm's own preprocessing of a model, and its mean and deviation."""
    from timm.data.config import resolve_model_data_config
    from timm.data.transforms_factory import create_transform

    config = resolve_model_data_config(trunk)
    size = getattr(getattr(trunk, "patch_embed", None), "img_size", None)
    if size is not None:  # as the network was built, whatever its weights were trained on
        config["input_size"] = (config["input_size"][0], *size)
    made: Any = create_transform(**config, is_training=False)
    return made, {"mean": config["mean"], "std": config["std"]}


def save_aligned(
    folder: Path, vision: Vision, tower: AlignedTower, origin: Origin | None, pixels: str, about: Any
) -> None:
    """Raises `SummandError` where the CLIP was wrapped, so that no folder can say how to load it."""
    if origin is None:
        raise SummandError(
            "a folder names the CLIP by what summand.load was asked for, and this one was wrapped or edited; align "
            "with a model that summand.load has loaded"
        )
    record = {"format": _FORMAT, "vision": asdict(vision), "clip": asdict(origin), "pixels": pixels, "fit": about}
    save_weights(tower.state_dict(), folder / WEIGHTS)
    (folder / FILE).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def random_vision(place: str) -> bool:
    """Whether the vision model in a folder of `summand align` was made with random weights on purpose."""
    record = json.loads((Path(place).expanduser() / FILE).read_text(encoding="utf-8"))
    return bool(record["vision"].get("random_init"))


def load_aligned(place: str, load: Callable[..., Model]) -> tuple[nn.Module, Any, Any]:
    """The model in a folder of `summand align`, its preprocessing and tokenizer. load: `summand.load`."""
    folder = Path(place).expanduser()
    try:
        record = json.loads((folder / FILE).read_text(encoding="utf-8"))
        if record["format"] != _FORMAT:
            raise SummandError(f"{folder} has format {record['format']}; this version reads format {_FORMAT}")
        origin, said = dict(record["clip"]), record["vision"]
    except (OSError, ValueError, KeyError) as error:
        raise SummandError(f"{folder} is no folder of summand align: {first_line(error)}") from error
    clip = load(origin.pop("name"), origin.pop("pretrained"), **origin)
    trunk = headless(Vision(said["name"], said["settings"], random_init=True).build())
    tower = AlignedTower(trunk, trunk.num_features, clip.tower.embed)
    tower.load_state_dict(read_file(folder / WEIGHTS))
    preprocess = dressed(tower, trunk, clip, record["pixels"])
    return aligned_clip(clip.clip, tower.requires_grad_(False)).eval(), preprocess, clip._tokenizer


def dressed(tower: AlignedTower, trunk: Any, clip: Model, pixels: str) -> Any:
    """The preprocessing of an aligned model: the vision model's own ("own"), or that of the CLIP ("clip")."""
    if pixels == "clip":
        if tuple(trunk.patch_embed.img_size) != clip.tower.image_size:
            raise SummandError(
                f"pixels='clip' makes {clip.tower.image_size}, the vision model reads {trunk.patch_embed.img_size}; "
                f"say pixels='own'"
            )
        return clip._preprocess
    found, numbers = transform(trunk)
    tower.image_mean, tower.image_std = tuple(numbers["mean"]), tuple(numbers["std"])
    return found
