"""Checkpoint files, read without running what is in them."""

from __future__ import annotations

import os
import tarfile
import warnings
import zipfile
from contextlib import AbstractContextManager, nullcontext
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from ..errors import SummandError, first_line, listed

SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")


def split_part(path: str | Path) -> tuple[Path, str | None]:
    """The file and the part of it that is meant: `run.ckpt#student` is the part `student` of run.ckpt.

    Raises `SummandError` where there is no such file.
    """
    whole = Path(path).expanduser()
    if whole.is_file():
        return whole, None
    file, mark, part = str(whole).rpartition("#")
    if mark and part and Path(file).is_file():
        return Path(file), part
    if whole.is_dir():
        raise SummandError(
            f"{whole} is a folder; a checkpoint is one file ({', '.join(SUFFIXES)}). A folder of open_clip's is the "
            f"model local-dir:{whole}, one of transformers' is hf:{whole}"
        )
    if whole.is_symlink() and not whole.exists():
        raise SummandError(f"the checkpoint {whole} is a link to {os.readlink(whole)}, which is not there")
    if whole.exists():
        raise SummandError(f"the checkpoint {whole} is a device or a pipe; give a file")
    raise SummandError(f"there is no checkpoint file {whole}")


def is_checkpoint(path: str | Path) -> bool:
    """Whether it is a file that is there, with or without a part behind `#`."""
    try:
        split_part(path)
    except SummandError:
        return False
    return True


def read_file(path: Path) -> Any:
    """What a checkpoint file holds: tensors by name, or a training checkpoint around them.

    Raises `SummandError` for a file that is damaged, or cannot be read without running the code in it.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise SummandError(f"a checkpoint ends in {', '.join(SUFFIXES)}; got {path.name}")
    check_fetched(path)
    return _safetensors(path) if path.suffix.lower() == ".safetensors" else read_torch(path)


def check_fetched(path: Path) -> None:
    """Raises `SummandError` for a file that only says where the weights are."""
    with path.open("rb") as file:
        if file.read(24).startswith(b"version https://git-lfs"):
            raise SummandError(f"{path} is a pointer of Git LFS, not the weights; `git lfs pull` fetches them")


def _safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError, AttributeError) as error:
        raise SummandError(f"{path.name} is not a readable safetensors file: {first_line(error)}") from error


def read_torch(path: Path, held: bytes | None = None) -> Any:
    """What torch.save wrote. held: its bytes, where these are a part of the file.

    Raises `SummandError` for what is damaged, or cannot be read without running the code in it.
    """
    with path.open("rb") if held is None else BytesIO(held) as file:
        head = file.read(16)
    if head and not head.startswith((b"PK", b"\x80")) and not tarfile.is_tarfile(_opened(path, held)):
        raise SummandError(f"{path.name} is no checkpoint: torch.save wrote no file that begins with {head!r}")
    if any(name.endswith("constants.pkl") for name in _members(_opened(path, held))):
        raise SummandError(
            f"{path.name} is a TorchScript archive: it holds code, which is not run here. "
            f"Save torch.jit.load(file).state_dict() as safetensors and give that"
        )
    try:
        with _numbers_of_numpy(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own, about how a tensor was stored
            return torch.load(_opened(path, held), map_location="cpu", weights_only=True)
    except Exception as error:  # an unpickler meets whatever is in the file
        if "weights_only" in str(error) or "Weights only" in str(error) or "UnpicklingError" in type(error).__name__:
            raise SummandError(_needs_code(path, error, held)) from error
        raise SummandError(f"{path.name} is not a readable checkpoint: {first_line(error)}") from error


def _opened(path: Path, held: bytes | None) -> Any:
    return path if held is None else BytesIO(held)


def _members(path: Path | BinaryIO) -> list[str]:
    """Names of the files in a zip; none of a file that is no zip, or a broken one, which torch will say."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except Exception:  # zipfile raises whatever its parsing does
        return []


def _numbers_of_numpy() -> AbstractContextManager[Any]:
    """Lets numpy's plain numbers and arrays through, such as `epoch: np.float64(3)`: they are bytes and hold no code.

    What makes them is private to numpy; what a number itself says about how it is pickled is not.
    """
    allow = getattr(torch.serialization, "safe_globals", None)
    if allow is None:
        return nullcontext()
    scalar, array = np.float64(0).__reduce__()[0], np.zeros(0).__reduce__()[0]
    kinds = [type(np.dtype(kind)) for kind in (*"?bBhHiIlLqQefdgFD", "S1", "U1", "M8[s]", "m8[s]")]
    allowed: list[Any] = [scalar, array, np.dtype, np.ndarray, *kinds]
    if hasattr(torch.serialization, "get_unsafe_globals_in_checkpoint"):  # since it takes names (torch 2.6)
        for module in ("numpy.core.multiarray", "numpy._core.multiarray"):  # numpy 1 and 2 write different ones
            allowed += [(scalar, f"{module}.scalar"), (array, f"{module}._reconstruct")]
    return allow(allowed)


def _needs_code(path: Path, error: BaseException, held: bytes | None) -> str:
    said = f"{path.name} cannot be read without running code from it, which is refused"
    try:
        wanted = torch.serialization.get_unsafe_globals_in_checkpoint(_opened(path, held))
    except Exception:  # no zip file, or damaged
        line = next((line.strip() for line in str(error).splitlines() if "GLOBAL" in line or "Unsupported" in line), "")
        wanted = [line[:200]] if line else []
    if wanted:
        said += f": it holds {listed(sorted(wanted), most=4)}"
    return (
        f"{said}. If you trust the file, save its weights alone: found = torch.load({path.name!r}, "
        f"weights_only=False), then torch.save(found['state_dict'], 'weights.pt'), or found.state_dict() of a model"
    )
