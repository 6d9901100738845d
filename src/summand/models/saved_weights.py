"""Weights as safetensors, whole or not at all, and a full disk in one line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ..atomic import replacing
from ..errors import SummandError, first_line


def save_weights(tensors: Mapping[str, Tensor], path: Path, about: Mapping[str, Any] | None = None) -> None:
    """about: what goes with them, by name. Raises `SummandError` where the disk does not take it."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    metadata = {name: json.dumps(value) for name, value in about.items()} if about is not None else None
    with replacing(path) as temporary:
        try:
            save_file(plain, str(temporary), metadata=metadata)
        except SafetensorError as error:  # of the system as well, with no number
            raise SummandError(
                f"cannot write {path}: {first_line(error)}; make room, or choose another place"
            ) from error
