"""What a pass keeps of every single image: rows of numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from torch import Tensor

from .batch import Arrays, Batch
from .consumers import ASIDE, USED
from .units import Group


class PerImage:
    """Rows of numbers, one an image; a subclass says which."""

    groups: tuple[Group, ...] = ()
    stages: tuple[int, ...] = (USED, ASIDE)

    def __init__(self) -> None:
        self._rows: dict[str, list[np.ndarray]] = {}
        self._indices: list[int] = []

    def rows(self, batch: Batch) -> dict[str, Tensor]:
        raise NotImplementedError

    def update(self, batch: Batch) -> None:
        for name, value in self.rows(batch).items():
            self._rows.setdefault(name, []).append(value.detach().cpu().numpy())
        self._indices += batch.indices

    def fresh(self) -> PerImage:
        return type(self)()

    def merge(self, other: PerImage) -> None:
        for name, values in other._rows.items():
            self._rows.setdefault(name, []).extend(values)
        self._indices += other._indices

    def state(self) -> Arrays:
        if not self._indices:
            return {}
        self._rows = {name: [np.concatenate(values)] for name, values in self._rows.items()}
        return {"images": np.array(self._indices), **{name: values[0] for name, values in self._rows.items()}}

    def restore(self, state: Arrays) -> None:
        self._indices = state["images"].tolist() if state else []
        self._rows = {name: [values] for name, values in state.items() if name != "images"}

    def ordered(self) -> Arrays:
        """`state`, in the order of the images' numbers."""
        state = self.state()
        order = np.argsort(state["images"]) if state else np.zeros(0, dtype=int)
        return {name: values[order] for name, values in state.items()}


class Embeddings(PerImage):
    """M(x)/‖M(x)‖ in fp16, and ‖M(x)‖."""

    def rows(self, batch: Batch) -> dict[str, Tensor]:
        return {"embedding": batch.embeddings.half(), "norm": batch.norms}


class Kept(PerImage):
    """Whole coefficients, for later questions about single images: the heads' of some layers, the direct effect of all
    MLPs together, and M(x). Memory and disk grow with the images by these numbers."""

    def __init__(self, layers: Sequence[int]) -> None:
        super().__init__()
        self.layers = tuple(layers)

    def fresh(self) -> Kept:
        return Kept(self.layers)

    def rows(self, batch: Batch) -> dict[str, Tensor]:
        coefficients = batch.parts.head_effects().coefficients[:, list(self.layers)]
        return {"coefficient": coefficients, "mlps": batch.parts.mlps().sum(dim=1), "output": batch.outputs}


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
