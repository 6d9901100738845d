"""What a pass keeps of every single image: rows of numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import SummandError
from .batch import Arrays, Batch
from .consumers import ASIDE, USED
from .units import Group


class PerImage:
    """Rows of numbers, one an image; a subclass says which.

    streamed: rows of as many images as there are; whoever keeps a pass writes them to the disk, part by part, and never
    holds all of them.
    """

    groups: tuple[Group, ...] = ()
    stages: tuple[int, ...] = (USED, ASIDE)
    streamed = True

    def __init__(self) -> None:
        self._rows: dict[str, list[np.ndarray]] = {}
        self._indices: list[int] = []
        self.nbytes = 0

    def rows(self, batch: Batch) -> dict[str, Tensor]:
        raise NotImplementedError

    def update(self, batch: Batch) -> None:
        for name, value in self.rows(batch).items():
            self._rows.setdefault(name, []).append(value.detach().cpu().numpy())
            self.nbytes += self._rows[name][-1].nbytes
        self._indices += batch.indices

    def fresh(self) -> PerImage:
        return type(self)()

    def merge(self, other: PerImage) -> None:
        for name, values in other._rows.items():
            self._rows.setdefault(name, []).extend(values)
        self._indices += other._indices
        self.nbytes += other.nbytes

    def state(self) -> Arrays:
        if not self._indices:
            return {}
        self._rows = {name: [np.concatenate(values)] for name, values in self._rows.items()}
        return {"images": np.array(self._indices), **{name: values[0] for name, values in self._rows.items()}}

    def restore(self, state: Arrays) -> None:
        self._indices = state["images"].tolist() if state else []
        self._rows = {name: [values] for name, values in state.items() if name != "images"}
        self.nbytes = sum(values[0].nbytes for values in self._rows.values())

    def ordered(self) -> Arrays:
        """`state`, in the order of the images' numbers."""
        return sorted_rows(self.state())


class Embeddings(PerImage):
    """M(x)/‖M(x)‖ in fp16, and ‖M(x)‖."""

    def rows(self, batch: Batch) -> dict[str, Tensor]:
        return {"embedding": batch.embeddings.half(), "norm": batch.norms}


class Kept(PerImage):
    """Whole coefficients, for later questions about single images: the heads' of some layers, the direct effect of all
    MLPs together, and M(x)."""

    def __init__(self, layers: Sequence[int]) -> None:
        super().__init__()
        self.layers = tuple(layers)

    def fresh(self) -> Kept:
        return Kept(self.layers)

    def rows(self, batch: Batch) -> dict[str, Tensor]:
        coefficients = batch.parts.head_effects().coefficients[:, list(self.layers)]
        return {"coefficient": coefficients, "mlps": batch.parts.mlps().sum(dim=1), "output": batch.outputs}


class Whole(PerImage):
    """All coefficients of a group of units, [image, *unit, path], in a dtype of one's choice."""

    def __init__(self, group: Group, dtype: str = "float16") -> None:
        super().__init__()
        self.group, self.groups, self.dtype = group, (group,), dtype

    def fresh(self) -> Whole:
        return Whole(self.group, self.dtype)

    def rows(self, batch: Batch) -> dict[str, Tensor]:
        kept = batch.effects(self.group).coefficients.to(getattr(torch, self.dtype))
        if not bool(torch.isfinite(kept).all()):
            raise SummandError(
                f"coefficients of {self.group.name} are larger than {self.dtype} can hold; keep them in float32"
            )
        return {"coefficient": kept}


class Logits(PerImage):
    """⟨M(x), t_c⟩ of every class text t_c."""

    def __init__(self, weights: Float[Tensor, "class embed"]) -> None:
        super().__init__()
        self.weights = weights

    def fresh(self) -> Logits:
        return Logits(self.weights)

    def rows(self, batch: Batch) -> dict[str, Tensor]:
        outputs = batch.outputs
        return {"logit": outputs @ self.weights.to(outputs).T}


def sorted_rows(state: Arrays) -> Arrays:
    """Rows in the order of the images' numbers."""
    order = np.argsort(state["images"]) if state else np.zeros(0, dtype=int)
    return {name: values[order] for name, values in state.items()}


def joined(parts: Sequence[Arrays]) -> Arrays:
    """The rows of several parts behind each other."""
    known = [part for part in parts if part]
    return {name: np.concatenate([part[name] for part in known]) for name in known[0]} if known else {}


def in_order(blocks: Iterable[Arrays], more: Arrays, size: int) -> Iterator[Arrays]:
    """Blocks of `size` rows in the order of the images' numbers. blocks: of ranges of images, one behind the other; of
    them and of `more`, which is small, no more than one is held at a time."""
    more, at, waiting = sorted_rows(more), 0, {}
    for block in blocks:
        if not block:
            continue
        stop = at + int(np.searchsorted(more["images"][at:], block["images"].max())) if more else 0
        some = {name: values[at:stop] for name, values in more.items()}
        waiting, at = joined([waiting, sorted_rows(joined([block, some]))]), stop
        while len(waiting["images"]) >= size:
            yield {name: values[:size] for name, values in waiting.items()}
            waiting = {name: values[size:] for name, values in waiting.items()}
    waiting = joined([waiting, {name: values[at:] for name, values in more.items()}])
    for start in range(0, len(waiting["images"]) if waiting else 0, size):
        yield {name: values[start : start + size] for name, values in waiting.items()}
