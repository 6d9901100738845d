"""An edit of a model as one small file, written without pickle and read back as what it was."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

import numpy as np
from torch import Tensor

from ...statistics import saving
from ...towers.directions import Directions, Whole

Edit = TypeVar("Edit", bound="Stored")


class Stored:
    """kind: what the file is recognised by."""

    kind: ClassVar[str]
    model: str
    why: tuple[str, ...]

    def kept(self) -> tuple[Tensor, dict[str, Any]]:
        """The directions by which the model is recognised, and what else makes the edit."""
        raise NotImplementedError

    def save(self, path: str | os.PathLike[str]) -> None:
        """One .npz file, without pickle."""
        directions, named = self.kept()
        saving.write(path, self.kind, Whole(directions), {**named, "model": self.model, "why": self.why or ("",)})

    @classmethod
    def load(cls: type[Edit], path: str | os.PathLike[str]) -> Edit:
        """What `save` wrote. Raises `SummandError` for any other file."""
        return saving.understood(path, cls.kind, lambda: cls.from_arrays(*saving.read(path, cls.kind)))

    @classmethod
    def from_arrays(cls: type[Edit], basis: Directions, found: Mapping[str, np.ndarray]) -> Edit:
        """What `save` wrote, as `saving.read` gives it."""
        raise NotImplementedError


def about(found: Mapping[str, np.ndarray]) -> tuple[str, tuple[str, ...]]:
    """The model's name, and why each unit is held."""
    return str(found["model"]), tuple(text for text in saving.names(found["why"]) if text)
