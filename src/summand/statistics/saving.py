"""Statistics as one .npz file: plain arrays, never pickled."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from ..atomic import replacing
from ..errors import SummandError, first_line
from ..towers.directions import Directions
from ..towers.factored import Factored

_FORMAT = 1


@runtime_checkable
class Saved(Protocol):
    """Statistics that can stand in a file together with others of the same units."""

    @property
    def basis(self) -> Directions: ...

    def arrays(self) -> dict[str, Any]: ...


def write(path: str | os.PathLike[str], kind: str, basis: Directions, named: Mapping[str, Any]) -> None:
    """A file that holds `named` (tensors, numbers, tuples of names) and the directions; replaced only when complete."""
    plain: dict[str, Any] = {"kind": np.asarray(kind), "format": np.asarray(_FORMAT), **flat(basis, named)}
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **plain)


def flat(basis: Directions, named: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Statistics and their directions as plain arrays by name; what is None is left out."""
    arrays: dict[str, Any] = {"shape": basis.shape}
    arrays |= {f"factor{i}": factor for i, factor in enumerate(basis._held())}
    arrays |= {name: value for name, value in named.items() if value is not None}
    plain = {k: v.detach().cpu().numpy() if isinstance(v, Tensor) else np.asarray(v) for k, v in arrays.items()}
    if any(array.dtype == object for array in plain.values()):
        raise TypeError("only plain arrays are saved")
    return plain


def parts(found: Mapping[str, np.ndarray]) -> tuple[Directions, dict[str, np.ndarray]]:
    """What `flat` was given: the directions, and everything else."""
    rest = dict(found)
    factors = [torch.from_numpy(rest.pop(name)) for name in ("factor0", "factor1") if name in rest]
    shape = [int(size) for size in rest.pop("shape", np.array(factors[0].shape))]
    return (Factored(*factors) if len(factors) == 2 else Directions.of(factors[0].expand(shape))), rest


def read(path: str | os.PathLike[str], kind: str, *others: str) -> tuple[Directions, dict[str, np.ndarray]]:
    """The directions and everything else in a file of this kind, or of others. Raises `SummandError` for any other."""
    if not os.path.exists(path):
        raise SummandError(f"there is no file {path}")
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {name: file[name] for name in file.files}
        if str(found.get("kind")) not in (kind, *others):
            raise SummandError(f"{path} holds {found.get('kind', 'something else')}, not {kind}")
        if int(found["format"]) != _FORMAT:
            raise SummandError(f"{path} has format {int(found['format'])}; this version reads format {_FORMAT}")
        return parts(found)
    except SummandError:
        raise
    except Exception as error:  # of a damaged file numpy and zipfile raise whatever their parsers do
        raise SummandError(f"{path} is no file of {kind} or is broken: {first_line(error)}") from error


Made = TypeVar("Made")


def understood(path: str | os.PathLike[str], kind: str, make: Callable[[], Made]) -> Made:
    """What is made of a file's arrays. Raises `SummandError` where they are not what such a file holds."""
    try:
        return make()
    except SummandError:
        raise
    except Exception as error:
        raise SummandError(f"{path} is a broken file of {kind}: {first_line(error)}; make it again") from error


def names(array: np.ndarray) -> tuple[str, ...]:
    return tuple(str(name) for name in array)


def index(array: np.ndarray | None) -> tuple[tuple[int, ...], ...] | None:
    return None if array is None else tuple(tuple(int(number) for number in row) for row in array)
