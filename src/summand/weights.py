"""Fine-tuned weights from a file, read without unpickling, and fitted to a model."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .errors import SummandError, first_line

SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
_NESTED = ("state_dict", "model", "model_state_dict")
_WRAPPERS = ("module.", "_orig_mod.")


def read_checkpoint(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint file by name.

    Training checkpoints are looked into (`state_dict`, `model`), and the prefixes of DistributedDataParallel
    (`module.`) and torch.compile (`_orig_mod.`) are taken off. Raises `SummandError` for a file that is missing,
    damaged, or cannot be read without running the code in it.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise SummandError(f"there is no checkpoint file {path}")
    if path.suffix not in SUFFIXES:
        raise SummandError(f"a checkpoint ends in {', '.join(SUFFIXES)}; got {path.name}")
    found: Any = _safetensors(path) if path.suffix == ".safetensors" else _torch(path)
    for key in _NESTED:
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
            break
    if not isinstance(found, dict) or not found:
        raise SummandError(f"{path.name} holds no weights by name but {type(found).__name__}")
    strange = next((name for name, value in found.items() if not isinstance(value, Tensor)), None)
    if strange is not None:
        raise SummandError(
            f"{path.name} holds more than weights ({strange!r} is {type(found[strange]).__name__}); "
            f"save model.state_dict() alone"
        )
    for prefix in _WRAPPERS * 2:
        if all(name.startswith(prefix) for name in found):
            found = {name.removeprefix(prefix): value for name, value in found.items()}
    return found


def _safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise SummandError(f"{path.name} is not a readable safetensors file: {first_line(error)}") from error


def _torch(path: Path) -> Any:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(name.endswith("constants.pkl") for name in archive.namelist()):
                raise SummandError(
                    f"{path.name} is a TorchScript archive: it holds code, which is not run here. "
                    f"Save torch.jit.load(file).state_dict() as safetensors and give that"
                )
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        wanted = next(
            (line.strip() for line in str(error).splitlines() if "GLOBAL" in line or "Unsupported" in line), ""
        )
        raise SummandError(
            f"{path.name} cannot be read without running code from it, which is refused"
            f"{': ' + wanted[:200] if wanted else ''}. Save model.state_dict() alone, best as safetensors"
        ) from error
    except (RuntimeError, OSError, EOFError, ValueError, KeyError) as error:
        raise SummandError(f"{path.name} is not a readable checkpoint: {first_line(error)}") from error


def fit(clip: nn.Module, state: dict[str, Tensor], source: str) -> None:
    """Load an open_clip state into a model, in the ways that open_clip itself does.

    Older layouts and third-party ones are converted, positions of another size interpolated. Raises `SummandError`
    where names or shapes still differ.
    """
    from open_clip.convert import convert_state_dict
    from open_clip.model import convert_to_custom_text_state_dict, resize_pos_embed, resize_text_pos_embed

    model: Any = clip
    state = convert_state_dict(model, dict(state))
    if "positional_embedding" in state and not hasattr(clip, "positional_embedding"):
        state = convert_to_custom_text_state_dict(state)
    expected = clip.state_dict()
    for name in ("logit_scale", "logit_bias"):
        if name in state and name in expected:
            state[name] = state[name].reshape(expected[name].shape)
    if "logit_bias" in expected and "logit_bias" not in state and "logit_scale" in state:
        state["logit_bias"] = torch.zeros_like(state["logit_scale"])
    ignored = ("text.transformer.embeddings.position_ids", "input_resolution", "context_length", "vocab_size")
    for name in ignored:
        if name not in expected:
            state.pop(name, None)
    if "visual.positional_embedding" in state:
        resize_pos_embed(state, model)
    resize_text_pos_embed(state, model)
    check_fit(expected, state, source)
    clip.load_state_dict(state)


def check_fit(expected: dict[str, Tensor], state: dict[str, Tensor], source: str) -> None:
    """Raise `SummandError` that names a few of the weights that differ."""
    missing = [name for name in expected if name not in state]
    extra = [name for name in state if name not in expected]
    shapes = [
        f"{name} {list(state[name].shape)} instead of {list(value.shape)}"
        for name, value in expected.items()
        if name in state and state[name].shape != value.shape
    ]
    found = [("missing", missing), ("unknown", extra), ("of another shape", shapes)]
    said = [f"{len(names)} {what} ({_few(names)})" for what, names in found if names]
    if said:
        raise SummandError(
            f"the weights of {source} do not fit the model: {'; '.join(said)}. Give the name of the architecture that "
            f"was fine-tuned (`summand models` lists them), or wrap(model) the model that you hold"
        )


def _few(names: list[str], count: int = 3) -> str:
    return ", ".join(names[:count]) + (", …" if len(names) > count else "")
