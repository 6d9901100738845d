"""Text embeddings kept on disk: one file for each model, weights hash and tokenizer."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..atomic import replacing
from ..towers.listening import hooks_of
from ..towers.settings import settings_of
from .code import described_code
from .foreign import holds_foreign_code
from .sides import of_texts

_KEEP = 32
_DIGEST = 16  # bytes


def cache_folder() -> Path:
    """SUMMAND_CACHE, else `summand` in the platform's cache folder."""
    if chosen := os.environ.get("SUMMAND_CACHE"):
        return Path(chosen).expanduser()
    if chosen := os.environ.get("XDG_CACHE_HOME"):
        return Path(chosen) / "summand"
    return Path.home() / ".cache" / "summand"


def text_weights(clip: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers of the text side, the ones that are never saved (the causal mask) included."""
    for source in (clip.named_parameters(remove_duplicate=False), clip.named_buffers(remove_duplicate=False)):
        for name, value in source:
            if of_texts(name):
                yield name, value


def fingerprint(clip: nn.Module, context: str = "") -> str | None:
    """SHA-256 over all that an embedding depends on but its tokens: weights by name, dtype, shape and bytes, the
    modules, their settings (activation, eps, scaling, whether an adapter is on) and their classes' methods by name, and
    the context, which says the precision. None where functions of the user's
    take part, which no hash can tell apart."""
    seen = hashlib.sha256(context.encode())
    for name, value in sorted(text_weights(clip), key=lambda item: item[0]):
        try:
            flat = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        except (RuntimeError, NotImplementedError, TypeError, ValueError):
            return None  # quantised, sharded or wrapped: its bytes are not to be had
        seen.update(f"{name} {value.dtype} {list(value.shape)}\n".encode())
        seen.update(flat)
    modules = [module for name, module in clip.named_modules(remove_duplicate=False) if of_texts(name)]
    if holds_foreign_code(modules) or any(hooks_of(module) or _holds_tensors(module) for module in modules):
        return None
    seen.update(settings_of(clip, of_texts).encode())
    seen.update(described_code({type(module) for module in modules}).encode())
    return seen.hexdigest()


_OWN = frozenset(vars(nn.Module()))


def _holds_tensors(module: nn.Module) -> bool:
    """Whether weights lie where torch does not look: in plain attributes and lists."""
    held = [value for name, value in vars(module).items() if name not in _OWN]
    flat = [item for value in held for item in (value if isinstance(value, (list, tuple)) else (value,))]
    return any(isinstance(item, (Tensor, np.ndarray, nn.Module)) for item in flat)


def digests(tokens: Int[Tensor, "text token"]) -> list[bytes]:
    """A short name for each text's tokens: what a text's embedding depends on besides the model."""
    rows = tokens.cpu().numpy().astype(np.int64)
    return [hashlib.blake2b(row.tobytes(), digest_size=_DIGEST).digest() for row in rows]


class TextCache:
    """Embeddings by text, each with the digest of the tokens that it was read by. Read once, written whole and
    atomically; a damaged file is rebuilt.

    name: the model's. key: its `fingerprint`.
    """

    def __init__(self, name: str, key: str, folder: Path | None = None) -> None:
        slug = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:60] or "model"
        self.path = (folder or cache_folder()) / "texts" / f"{slug}-{key[:24]}.npz"

    def read(self) -> dict[str, tuple[bytes, np.ndarray]]:
        """Every text in the file with its digest and embedding; nothing where there is no readable file."""
        if not self.path.is_file():
            return {}
        try:
            with np.load(self.path, allow_pickle=False) as file:
                lengths, packed, rows = file["lengths"], file["texts"].tobytes(), file["embeddings"]
                tokens = [row.tobytes() for row in file["tokens"]]
            ends = np.cumsum(lengths).tolist()
            texts = [packed[end - length : end].decode() for end, length in zip(ends, lengths.tolist(), strict=True)]
            if (
                len(texts) != len(rows)
                or len(tokens) != len(rows)
                or rows.ndim != 2
                or (ends and ends[-1] != len(packed))
            ):
                raise ValueError("the parts of the file disagree")
            if not np.isfinite(rows).all():
                raise ValueError("the file holds NaN or infinite numbers")
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, UnicodeDecodeError) as error:
            warnings.warn(f"the text cache {self.path} is damaged ({error}); it is rebuilt", stacklevel=2)
            return {}
        with contextlib.suppress(OSError):
            os.utime(self.path)
        return dict(zip(texts, zip(tokens, rows, strict=True), strict=True))

    def write(self, entries: Mapping[str, tuple[bytes, Float[np.ndarray, " embed"]]]) -> None:
        """Replace the file in one step. Where the folder cannot be written to, go on without a cache."""
        packed = [text.encode() for text in entries]
        tokens, rows = zip(*entries.values(), strict=True)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(self.path) as temporary, open(temporary, "wb") as file:
                np.savez(
                    file,
                    lengths=np.array([len(text) for text in packed], dtype=np.int64),
                    texts=np.frombuffer(b"".join(packed), dtype=np.uint8),
                    tokens=np.frombuffer(b"".join(tokens), dtype=np.uint8).reshape(-1, _DIGEST),
                    embeddings=np.stack(rows),
                )
            self._forget_the_oldest()
        except OSError as error:
            warnings.warn(f"the text cache {self.path} cannot be written ({error})", stacklevel=2)

    def _forget_the_oldest(self) -> None:
        """A model that is being fine-tuned leaves a file for every state of its weights."""
        files = sorted(self.path.parent.glob("*.npz"), key=lambda path: path.stat().st_mtime)
        for path in files[:-_KEEP]:
            path.unlink(missing_ok=True)
