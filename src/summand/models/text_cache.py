"""What a kept text embedding depends on: a hash of the text side, and a digest of the tokens."""

from __future__ import annotations

import hashlib
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn

from ..towers.listening import hooks_of

_IMAGE_SIDE = ("visual", "vision_model", "visual_projection", "logit_scale", "logit_bias", "text_decoder")
_DIGEST = 16  # bytes


def text_weights(clip: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers of the text side, the ones that are never saved (the causal mask) included."""
    for source in (clip.named_parameters(remove_duplicate=False), clip.named_buffers(remove_duplicate=False)):
        for name, value in source:
            if name.split(".")[0] not in _IMAGE_SIDE:
                yield name, value


def fingerprint(clip: nn.Module, context: str = "") -> str | None:
    """SHA-256 over all that an embedding depends on but its tokens: weights by name, dtype, shape and bytes, the
    modules and their settings (activation, eps, scaling, whether an adapter is on), and the context, which says the
    precision. None where functions of the user's take part, which no hash can tell apart."""
    if not is_known(clip):
        return None
    seen = hashlib.sha256(context.encode())
    for name, value in sorted(text_weights(clip), key=lambda item: item[0]):
        try:
            flat = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        except (RuntimeError, NotImplementedError, TypeError, ValueError):
            return None  # sharded or wrapped: its bytes are not to be had
        seen.update(f"{name} {value.dtype} {list(value.shape)}\n".encode())
        seen.update(flat)
    for name, module in _text_modules(clip):
        own = "" if next(module.children(), None) is not None else module.extra_repr()
        seen.update(f"{name} {type(module).__module__}.{type(module).__qualname__} {own} {settings(module)}\n".encode())
    return seen.hexdigest()


def is_known(clip: nn.Module) -> bool:
    """Whether the text side is made of libraries' modules and plain weights alone, so that what it does follows from
    what can be seen of it: no function of the user's, no weights where torch does not look, none that are packed."""
    return not (
        any(name in vars(clip) for name in _ENTRIES)
        or any(value.is_quantized or value.layout != torch.strided for _, value in text_weights(clip))
        or any(
            hooks_of(module) or "forward" in vars(module) or not _known(type(module)) or _holds_tensors(module)
            for _, module in _text_modules(clip)
        )
    )


def _text_modules(clip: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, module in clip.named_modules(remove_duplicate=False):
        if name.split(".")[0] not in _IMAGE_SIDE:
            yield name, module


_ENTRIES = ("encode_text", "get_text_features")
_LIBRARIES = ("torch", "open_clip", "timm", "transformers", "clip", "peft", "tests", "summand")


def _known(kind: type) -> bool:
    """Whether a class is a library's, with the forward that it was written with: its name stands for what it does."""
    package = kind.__module__.partition(".")[0]
    own = kind.forward.__module__.partition(".")[0]
    return package in _LIBRARIES and own in _LIBRARIES and "<locals>" not in kind.__qualname__


def _holds_tensors(module: nn.Module) -> bool:
    """Whether weights lie where torch does not look: in plain attributes and lists."""
    held = [value for name, value in vars(module).items() if name not in _TORCH_OWN]
    flat = [item for value in held for item in (value if isinstance(value, (list, tuple)) else (value,))]
    return any(isinstance(item, (Tensor, np.ndarray, nn.Module, torch.ScriptObject)) for item in flat)


def settings(module: nn.Module) -> list[tuple[str, str]]:
    """Attributes of a module that are no weights, as text: numbers, names, switches, and lists of these."""
    found = []
    for name, value in sorted(vars(module).items()):
        if not name.startswith("_backward") and name not in _TORCH_OWN and (text := _as_text(value)) is not None:
            found.append((name, text))
    return found


_TORCH_OWN = frozenset(vars(nn.Module())) | {"_is_hf_initialized", "name_or_path"}


def _as_text(value: Any) -> str | None:
    if isinstance(value, (int, float, str, bool, type(None), torch.dtype)):
        return repr(value)
    if isinstance(value, (list, tuple, set, frozenset)):
        parts = [_as_text(item) for item in value]
        return (
            None if None in parts else repr(sorted(map(str, parts)) if isinstance(value, (set, frozenset)) else parts)
        )
    if isinstance(value, dict):
        parts = [(str(key), _as_text(item)) for key, item in value.items()]
        return repr(sorted((key, text) for key, text in parts if text is not None))
    if isinstance(value, (types.FunctionType, types.BuiltinFunctionType, type)):
        return f"{value.__module__}.{value.__qualname__}"
    return None


def digests(tokens: Int[Tensor, "text token"]) -> list[bytes]:
    """A short name for each text's tokens: what a text's embedding depends on besides the model."""
    rows = tokens.cpu().numpy().astype(np.int64)
    return [hashlib.blake2b(row.tobytes(), digest_size=_DIGEST).digest() for row in rows]
