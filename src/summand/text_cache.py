"""Text embeddings kept on disk: one file for each model, weights hash and tokenizer."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from .atomic import replacing

_IMAGE_SIDE = ("visual", "vision_model", "visual_projection", "logit_scale", "logit_bias", "text_decoder")
_KEEP = 32


def cache_folder() -> Path:
    """SUMMAND_CACHE, else `summand` in the platform's cache folder."""
    if chosen := os.environ.get("SUMMAND_CACHE"):
        return Path(chosen).expanduser()
    if chosen := os.environ.get("XDG_CACHE_HOME"):
        return Path(chosen) / "summand"
    return Path.home() / ".cache" / "summand"


def text_state(clip: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers of the text side, the ones that are never saved (the causal mask) included."""
    for source in (clip.named_parameters(), clip.named_buffers()):
        for name, value in source:
            if name.split(".")[0] not in _IMAGE_SIDE:
                yield name, value


@torch.no_grad()
def state_version(clip: nn.Module) -> tuple[Any, ...]:
    """Changes whenever a text weight is replaced or written to; a hundred times faster than `fingerprint`.

    The sums see what `_version` does not: writing through `.data`.
    """
    state = list(text_state(clip))
    sums = torch.stack([value.sum(dtype=torch.float64) for _, value in state]).tolist() if state else []
    return tuple(
        (name, value.data_ptr(), value._version, value.dtype, total)
        for (name, value), total in zip(state, sums, strict=True)
    )


def fingerprint(clip: nn.Module, tokenizer: Callable[..., Any]) -> str:
    """SHA-256 over all that an embedding depends on but the text: weights by name, dtype, shape and bytes, the modules
    (the activation is no weight), how the text is pooled, and the kind of tokenizer."""
    seen = hashlib.sha256()
    for name, value in sorted(text_state(clip), key=lambda item: item[0]):
        seen.update(f"{name} {value.dtype} {list(value.shape)}\n".encode())
        flat = value.detach().cpu().contiguous().reshape(-1)
        seen.update(flat.view(torch.uint8).numpy())
    for name, module in clip.named_modules():
        if name.split(".")[0] not in _IMAGE_SIDE:
            own = "" if next(module.children(), None) is not None else module.extra_repr()
            settings = [getattr(module, key, None) for key in ("pool_type", "text_pool_type", "eos_id", "text_eos_id")]
            seen.update(f"{name} {type(module).__qualname__} {own} {settings}\n".encode())
    seen.update(f"{type(tokenizer).__qualname__} {getattr(tokenizer, 'context_length', None)}".encode())
    return seen.hexdigest()


class TextCache:
    """Embeddings by text. Read once, written whole and atomically; a damaged file is rebuilt.

    name: the model's. key: its `fingerprint`.
    """

    def __init__(self, name: str, key: str, folder: Path | None = None) -> None:
        slug = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:60] or "model"
        self.path = (folder or cache_folder()) / "texts" / f"{slug}-{key[:24]}.npz"

    def read(self) -> dict[str, np.ndarray]:
        """Every text in the file with its embedding; nothing where there is no readable file."""
        if not self.path.is_file():
            return {}
        try:
            with np.load(self.path, allow_pickle=False) as file:
                lengths, packed, rows = file["lengths"], file["texts"].tobytes(), file["embeddings"]
            ends = np.cumsum(lengths).tolist()
            texts = [packed[end - length : end].decode() for end, length in zip(ends, lengths.tolist(), strict=True)]
            if len(texts) != len(rows) or rows.ndim != 2 or (ends and ends[-1] != len(packed)):
                raise ValueError("the parts of the file disagree")
            if not np.isfinite(rows).all():
                raise ValueError("the file holds NaN or infinite numbers")
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, UnicodeDecodeError) as error:
            warnings.warn(f"the text cache {self.path} is damaged ({error}); it is rebuilt", stacklevel=2)
            return {}
        with contextlib.suppress(OSError):
            os.utime(self.path)
        return dict(zip(texts, rows, strict=True))

    def write(self, entries: Mapping[str, Float[np.ndarray, " embed"]]) -> None:
        """Replace the file in one step. Where the folder cannot be written to, go on without a cache."""
        packed = [text.encode() for text in entries]
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(self.path) as temporary, open(temporary, "wb") as file:
                np.savez(
                    file,
                    lengths=np.array([len(text) for text in packed], dtype=np.int64),
                    texts=np.frombuffer(b"".join(packed), dtype=np.uint8),
                    embeddings=np.stack(list(entries.values())),
                )
            self._forget_the_oldest()
        except OSError as error:
            warnings.warn(f"the text cache {self.path} cannot be written ({error})", stacklevel=2)

    def _forget_the_oldest(self) -> None:
        """A model that is being fine-tuned leaves a file for every state of its weights."""
        files = sorted(self.path.parent.glob("*.npz"), key=lambda path: path.stat().st_mtime)
        for path in files[:-_KEEP]:
            path.unlink(missing_ok=True)
