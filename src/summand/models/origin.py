"""Where a model came from: enough to load it again, from any folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .checkpoint_files import is_checkpoint
from .open_clip import is_tag


@dataclass(frozen=True)
class Origin:
    """What `load` was asked for, with absolute paths; its fields are the arguments of `load`."""

    name: str
    pretrained: str | None = None
    random_init: bool = False
    seed: int = 0
    precision: str = "fp32"
    image_size: int | tuple[int, int] | None = None
    checkpoint: str | None = None
    activation: str | None = None
    ablation: str | None = None
    steer: str | None = None
    sae: str | None = None

    @staticmethod
    def of(
        name: str,
        pretrained: str | Path | None = None,
        *,
        checkpoint: str | Path | None = None,
        ablation: str | Path | None = None,
        random_init: bool = False,
        seed: int = 0,
        precision: str | None = None,
        image_size: int | tuple[int, int] | None = None,
        activation: str | None = None,
        steer: str | None = None,
        sae: Sequence[str] = (),
    ) -> Origin:
        """From the arguments as they were given."""
        tag = str(pretrained) if pretrained else None
        return Origin(
            name=model_location(name),
            pretrained=tag if tag is None or is_tag(name, tag) else location(tag),
            random_init=random_init,
            seed=seed,
            precision=precision or "fp32",
            image_size=image_size,
            checkpoint=None if checkpoint is None else location(str(checkpoint)),
            activation=activation,
            ablation=None if ablation is None else location(str(ablation)),
            steer=steer,
            sae=",".join(_autoencoder(file) for file in sae) or None,
        )


def _autoencoder(file: str) -> str:
    """An autoencoder's place that means the same from any folder; @9 behind it stays."""
    place, mark, layer = file.rpartition("@")
    return f"{Path(place).expanduser().absolute()}@{layer}" if mark else str(Path(file).expanduser().absolute())


def location(source: str) -> str:
    """A source string, or a checkpoint (`run.ckpt#ema`), that means the same from any working folder."""
    place, mark, rest = source.rpartition("#")
    if mark and Path(place).expanduser().is_file():  # a table's column
        return f"{Path(place).expanduser().absolute()}#{rest}"
    if source.startswith("wds:"):
        return f"wds:{source[4:] if '://' in source else Path(source[4:]).expanduser().absolute()}"
    path = Path(source).expanduser()
    return str(path.absolute()) if path.exists() or is_checkpoint(path) else source


def same_place(one: str | None, other: str | None) -> bool:
    """Whether two locations are one file or folder, by different paths (links, `..`)."""
    if one is None or other is None:
        return one is other
    try:
        return one == other or os.path.samefile(one, other)
    except (OSError, ValueError):
        return False


def model_location(name: str) -> str:
    """A model's name; a folder in it (`local-dir:models/mine`) is made absolute."""
    scheme, colon, place = name.partition(":")
    return f"{scheme}:{location(place)}" if colon and scheme in ("local-dir", "hf", "aligned") else name
