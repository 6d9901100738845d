"""What a kept text embedding depends on: a hash of the text side, and a digest of the tokens."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn

from ..towers.listening import hooks_of
from ..towers.settings import settings_of
from .code import described_code
from .foreign import holds_foreign_code
from .sides import of_texts

_DIGEST = 16  # bytes
_OWN = frozenset(vars(nn.Module()))


def text_weights(clip: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers of the text side, the ones that are never saved (the causal mask) included."""
    for source in (clip.named_parameters(remove_duplicate=False), clip.named_buffers(remove_duplicate=False)):
        for name, value in source:
            if of_texts(name):
                yield name, value


def fingerprint(clip: nn.Module, context: str = "") -> str | None:
    """SHA-256 over all that an embedding depends on but its tokens: weights by name, dtype, shape and bytes, the
    modules, their settings (activation, eps, scaling, whether an adapter is on) and their classes' methods by name, and
    the context, which says the precision. None where functions of the user's take part, which no hash can tell apart.
    """
    if not is_known(clip):
        return None
    seen = hashlib.sha256(context.encode())
    for name, value in sorted(text_weights(clip), key=lambda item: item[0]):
        try:
            flat = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        except (RuntimeError, NotImplementedError, TypeError, ValueError):
            return None  # sharded or wrapped: its bytes are not to be had
        seen.update(f"{name} {value.dtype} {list(value.shape)}\n".encode())
        seen.update(flat.data)
    seen.update(settings_of(clip, of_texts).encode())
    seen.update(described_code({type(module) for module in _text_modules(clip)}).encode())
    return seen.hexdigest()


def is_known(clip: nn.Module) -> bool:
    """Whether the text side is made of libraries' modules and plain weights alone, so that what it does follows from
    what can be seen of it: no function of the user's, no weights where torch does not look, none that are packed."""
    if any(value.is_quantized or value.layout != torch.strided for _, value in text_weights(clip)):
        return False
    modules = _text_modules(clip)
    return not (holds_foreign_code(modules) or any(hooks_of(module) or _holds_tensors(module) for module in modules))


def _text_modules(clip: nn.Module) -> list[nn.Module]:
    return [module for name, module in clip.named_modules(remove_duplicate=False) if of_texts(name)]


def _holds_tensors(module: nn.Module) -> bool:
    """Whether weights lie where torch does not look: in plain attributes and lists."""
    held = [value for name, value in vars(module).items() if name not in _OWN]
    flat = [item for value in held for item in (value if isinstance(value, (list, tuple)) else (value,))]
    return any(isinstance(item, (Tensor, np.ndarray, nn.Module, torch.ScriptObject)) for item in flat)


def digests(tokens: Int[Tensor, "text token"]) -> list[bytes]:
    """A short name for each text's tokens: what a text's embedding depends on besides the model."""
    rows = tokens.cpu().numpy().astype(np.int64)
    return [hashlib.blake2b(row.tobytes(), digest_size=_DIGEST).digest() for row in rows]
