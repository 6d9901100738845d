"""The weights that lie in a folder of open_clip's, or on the hub."""

from __future__ import annotations

from pathlib import Path

from .checkpoint import Checkpoint, read_checkpoint
from .checkpoint_files import SUFFIXES
from .hub import cache_only, quiet

_USUAL = (
    *("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors"),
    *("open_clip_pytorch_model.bin", "open_clip_pytorch_model.pth"),
    *("model.safetensors", "pytorch_model.bin", "pytorch_model.pth", "model.pth"),
)


def own_weights_of(name: str, offline: bool) -> Checkpoint | None:
    """The weights of a folder or of the hub, read as any checkpoint is: open_clip would silently shorten the texts of a
    model to what its configuration says. None where open_clip is to say what is missing."""
    from open_clip.pretrained import download_pretrained_from_hf

    scheme, _, place = name.partition(":")
    try:
        if scheme == "hf-hub":
            with quiet(), cache_only(offline):
                file = Path(download_pretrained_from_hf(place))
        else:
            file = _weights_in(Path(place))
    except Exception:  # whatever it is, open_clip meets it again
        return None
    return read_checkpoint(file) if file is not None and file.suffix in SUFFIXES else None


def _weights_in(folder: Path) -> Path | None:
    """The file that open_clip takes: by its usual names, else the only one."""
    if not (folder / "open_clip_config.json").is_file():
        return None
    for name in _USUAL:
        if (folder / name).is_file():
            return folder / name
    files = sorted(file for file in folder.glob("*") if file.suffix in (".safetensors", ".bin", ".pth"))
    return files[0] if len(files) == 1 else None
