"""Files of autoencoders: tensors, and a configuration as JSON beside them or in a header. No code in them is run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from ...errors import SummandError, first_line
from ..checkpoint_files import SUFFIXES, check_fetched, read_file, read_torch

WEIGHTS = (
    *("sae_weights.safetensors", "weights.safetensors", "sae.safetensors", "model.safetensors"),
    *("sae.pt", "weights.pt"),
)
CONFIGS = ("cfg.json", "config.json")
_INNER = ("cfg", "metadata", "meta", "sae")


def at_layer(file: str) -> tuple[str, int | None]:
    """A file, and the layer behind its @.

    >>> at_layer("saes/mine@9"), at_layer("saes/mine")
    (('saes/mine', 9), ('saes/mine', None))
    """
    place, mark, layer = file.rpartition("@")
    return (place, int(layer)) if mark and layer.isdigit() else (file, None)


def weights_of(path: Path) -> Path:
    """The file of weights in a folder, or the file itself. Raises `SummandError` where there is none."""
    if path.is_dir():
        found = [path / name for name in WEIGHTS if (path / name).is_file()]
        found += [file for suffix in SUFFIXES for file in sorted(path.glob(f"*{suffix}"))]
        if not found:
            raise SummandError(f"{path} holds no weights of an autoencoder ({', '.join(WEIGHTS)})")
        return found[0]
    if not path.is_file():
        layer = "; behind @ stands the number of a layer, as in saes/mine@9" if "@" in path.name else ""
        raise SummandError(f"there is no autoencoder {path}{layer}")
    if path.suffix not in SUFFIXES:
        raise SummandError(f"an autoencoder is read from {', '.join(SUFFIXES)}; got {path.name}")
    return path


def read(file: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors, and the configuration: of a file beside them, else of the header; one level of it laid open.

    Raises `SummandError` for a damaged file, and for one that cannot be read without running code from it.
    """
    check_fetched(file)
    held, header = _safetensors(file) if file.suffix == ".safetensors" else _torch(file)
    beside = next((file.parent / name for name in CONFIGS if (file.parent / name).is_file()), None)
    if beside is not None and "schema" not in header:  # saev's own header stands before what lies beside it
        try:
            header = json.loads(beside.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise SummandError(f"{beside} cannot be read as JSON: {first_line(error)}") from error
    if not isinstance(header, Mapping):
        raise SummandError(f"{beside} holds no configuration of an autoencoder, but a {type(header).__name__}")
    inner = [header[name] for name in _INNER if isinstance(header.get(name), Mapping)]
    tensors = {name: value.float() for name, value in held.items() if isinstance(value, Tensor)}
    return tensors, {key: value for part in (*inner, header) for key, value in part.items()}


def _safetensors(file: Path) -> tuple[Mapping[str, Any], Any]:
    try:
        with safe_open(str(file), "pt") as held:
            tensors = {name: held.get_tensor(name) for name in list(held.keys())}
            return tensors, {key: _plain(value) for key, value in (held.metadata() or {}).items()}
    except Exception as error:  # safetensors raises its own
        raise SummandError(f"{file} cannot be read: {first_line(error)}") from error


def _torch(file: Path) -> tuple[Mapping[str, Any], Any]:
    """saev writes a line of JSON in front of torch's own file; Prisma and overcomplete a `state_dict`, or one in a
    dictionary with what it was made with."""
    with file.open("rb") as opened:
        line = opened.readline() if opened.read(1) == b"{" and opened.seek(0) == 0 else b""
        if line:
            try:
                header = json.loads(line)
            except ValueError as error:
                raise SummandError(f"{file} begins with a header that is no JSON: {first_line(error)}") from error
            return _tensors_of(read_torch(file, opened.read()), file), {"schema": 0, **header}
    held = read_file(file)
    inner = next((held[name] for name in ("cfg", "config") if isinstance(held, Mapping) and name in held), {})
    state = held["state_dict"] if isinstance(held, Mapping) and "state_dict" in held else held
    return _tensors_of(state, file), inner if isinstance(inner, Mapping) else {}


def _tensors_of(held: Any, file: Path) -> Mapping[str, Any]:
    if not isinstance(held, Mapping):
        raise SummandError(f"{file} holds a {type(held).__name__}, and no tensors by name")
    return held


def _plain(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value
