"""Heads that always write their mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...effects.ablated import ROUNDED, AblatedTower, Found, network_of
from ...errors import SummandError
from ...towers import Trace
from ...towers.directions import Directions, alike
from ...whole_numbers import whole_number
from .. import Model
from .moved import heads_moved
from .stored import Stored, about


@dataclass(frozen=True)
class Ablation(Stored):
    r"""M'(x) = M(x) − s Σ_{(l,h) ∈ S} (φ_{l,h}(x) − φ̄_{l,h}): direct effects of heads replaced by their means (s = 1,
    paper C), or moved towards them by a share s of the way, beyond them where s is above 1.

    heads: (layer, head); means: φ̄ as coefficients of the head's value channels, [head, channel]; directions: those
    of the channels, [head, channel, embed], by which the model is recognised. why: a sentence for each head. strength:
    s, the same for all.
    """

    kind: ClassVar[str] = "ablation"
    heads: tuple[tuple[int, int], ...]
    means: Float[Tensor, "head channel"]
    directions: Float[Tensor, "head channel embed"]
    model: str
    why: tuple[str, ...] = ()
    strength: float = 1.0

    @classmethod
    def of(
        cls,
        model: Model,
        heads: Sequence[tuple[int, int]],
        means: Float[Tensor, "layer head channel"],
        why: Sequence[str] = (),
        strength: float = 1.0,
    ) -> Ablation:
        """means: mean coefficients of all heads, as `Moments.mean` of `head_effects()` has them."""
        heads = _checked(model, heads)
        layers, numbers = [layer for layer, _ in heads], [head for _, head in heads]
        directions = model.tower.head_maps().kept[layers, numbers].detach().cpu()
        chosen = means[layers, numbers].to(directions).cpu()
        return cls(tuple(heads), chosen, directions, model.name, tuple(why), strength)

    def kept(self) -> tuple[Tensor, dict[str, Any]]:
        named = {"heads": torch.tensor(self.heads), "means": self.means, "strength": self.strength}
        return self.directions, named

    @classmethod
    def from_arrays(cls, basis: Directions, found: Mapping[str, np.ndarray]) -> Ablation:
        heads = tuple((int(layer), int(head)) for layer, head in found["heads"])
        strength = float(found.get("strength", 1.0))  # files of earlier versions hold none
        return cls(heads, torch.from_numpy(found["means"]), basis.dense(), *about(found), strength)

    def apply(self, model: Model) -> Model:
        """The same model with these heads ablated; the wrapped network itself is not changed.

        Raises `SummandError` where the file was made with another model.
        """
        return model.ablated(self, self._what)

    @property
    def _what(self) -> str:
        return f"{len(self.heads)} heads" + ("" if self.strength == 1 else f" ({self.strength:.2f} of their deviation)")

    def on(self, tower: Any, name: str) -> AblatedTower:
        """The tower with these heads ablated. Raises `SummandError` where they are not those of this tower."""
        now = network_of(tower).head_maps().kept
        layers, numbers = [layer for layer, _ in self.heads], [head for _, head in self.heads]
        fits = (
            max(layers) < now.shape[0]
            and max(numbers) < now.shape[1]
            and alike(now[layers, numbers].cpu(), self.directions.cpu(), relative=ROUNDED)
        )
        if not fits:
            raise SummandError(
                f"this ablation was made with {self.model}, and its heads are not those of {name}; "
                f"make a new one with summand debias"
            )
        units = f"heads {self.heads}" + ("" if self.strength == 1 else f" × {self.strength}")
        left = dict.fromkeys(self.heads, 1 - self.strength)
        return AblatedTower(tower, self._changed, self._what, units, self.means, left=left)

    def _changed(self, tower: Any, trace: Trace, found: Found) -> Trace:
        keep = [1 - self.strength] * len(self.heads)
        return heads_moved(trace, self.heads, keep, self.strength * self.means)


def _checked(model: Model, heads: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The heads as ints. Raises `SummandError` for none, and for one that the model does not have."""
    tower = model.tower
    for head in heads:
        numbers = [whole_number(number) for number in head] if isinstance(head, (tuple, list)) else []
        if len(numbers) != 2 or numbers[0] not in range(tower.layers) or numbers[1] not in range(tower.heads):
            raise SummandError(
                f"{model.name} has heads (0, 0) to ({tower.layers - 1}, {tower.heads - 1}), (layer, head); got {head!r}"
            )
    if not len(heads):
        raise SummandError("expected at least one head (layer, head) to ablate, got none")
    return [(int(layer), int(head)) for layer, head in heads]
