"""Units mean-ablated at inference: a small file, and a model that applies it within its one forward pass."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from . import saving
from .directions import Whole
from .errors import SummandError
from .models import Model
from .towers import Trace
from .towers.base import Visit

_KIND = "ablation"


@dataclass(frozen=True)
class Ablation:
    r"""M'(x) = M(x) − Σ_{(l,h) ∈ S} (φ_{l,h}(x) − φ̄_{l,h}): direct effects of heads replaced by their means.

    heads: (layer, head); means: φ̄ as coefficients of the head's value channels, [head, channel]; directions: those
    of the channels, [head, channel, embed], by which the model is recognised. why: a sentence for each head.
    """

    heads: tuple[tuple[int, int], ...]
    means: Float[Tensor, "head channel"]
    directions: Float[Tensor, "head channel embed"]
    model: str
    why: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        model: Model,
        heads: Sequence[tuple[int, int]],
        means: Float[Tensor, "layer head channel"],
        why: Sequence[str] = (),
    ) -> Ablation:
        """means: mean coefficients of all heads, as `Moments.mean` of `head_effects()` has them."""
        layers, numbers = [layer for layer, _ in heads], [head for _, head in heads]
        directions = model.tower.head_maps().directions[layers, numbers].detach().cpu()
        chosen = means[layers, numbers].to(directions).cpu()
        return cls(tuple(heads), chosen, directions, model.name, tuple(why))

    def save(self, path: str | os.PathLike[str]) -> None:
        """One .npz file, without pickle."""
        named = {"heads": torch.tensor(self.heads), "means": self.means, "model": self.model, "why": self.why}
        saving.write(path, _KIND, Whole(self.directions), {**named, "why": self.why or ("",)})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Ablation:
        """What `save` wrote. Raises `SummandError` for any other file."""
        basis, found = saving.read(path, _KIND)
        heads = tuple((int(layer), int(head)) for layer, head in found["heads"])
        why = tuple(text for text in saving.names(found["why"]) if text)
        return cls(heads, torch.from_numpy(found["means"]), basis.dense(), str(found["model"]), why)

    def apply(self, model: Model) -> Model:
        """The same model with these heads ablated; the wrapped network itself is not changed.

        Raises `SummandError` where the file was made with another model.
        """
        now = model.tower.head_maps().directions
        layers, numbers = [layer for layer, _ in self.heads], [head for _, head in self.heads]
        fits = (
            max(layers) < now.shape[0]
            and max(numbers) < now.shape[1]
            and now.shape[2:] == self.directions.shape[1:]
            and torch.allclose(now[layers, numbers].cpu(), self.directions.to(now.cpu()), rtol=1e-2, atol=1e-4)
        )
        if not fits:
            raise SummandError(
                f"this ablation was made with {self.model}, and its heads are not those of {model.name}; "
                f"make a new one with summand debias"
            )
        tower = AblatedTower(model.tower, self)
        name = f"{model.name}, {len(self.heads)} heads ablated"
        return Model(model.clip, tower, model._preprocess, model._tokenizer, name, model.random_weights)  # type: ignore[arg-type]


class AblatedTower:
    """A tower in which some heads always write their mean.

    `run` returns a trace in which the coefficients of these heads are their means, so that `decompose` explains the
    ablated model and its terms sum to what `encode` returns. `encode` is the sum of the trace of one forward pass, in
    which the network itself runs unchanged: later layers still read what the heads wrote (direct-effect ablation, as
    in paper C), so this is not the same as zeroing rows of W_O.
    """

    def __init__(self, tower: Any, ablation: Ablation) -> None:
        self._tower, self._ablation = tower, ablation
        self.kind = f"{tower.kind} with {len(ablation.heads)} ablated heads"

    def __getattr__(self, name: str) -> Any:
        if name == "_tower":
            raise AttributeError(name)
        return getattr(self._tower, name)

    @torch.no_grad()
    def encode(self, pixels: Tensor) -> Float[Tensor, "image embed"]:
        trace = self.run(pixels)
        coefficients = (trace.values * trace.scale[:, None, None, None]).flatten(1)
        heads = coefficients @ self._tower.head_maps().directions.flatten(0, 2).to(coefficients)
        return (trace.embedding + heads + trace.mlps.sum(dim=1) + trace.bias).to(pixels.dtype)

    @torch.no_grad()
    def run(self, pixels: Tensor, visit: Visit | None = None) -> Trace:
        if visit is not None:
            raise SummandError(
                "an ablated model can be taken apart into heads, MLPs and the rest, but not into tokens; load it "
                "without ablation= for maps"
            )
        trace = self._tower.run(pixels)
        layers = [layer for layer, _ in self._ablation.heads]
        numbers = [head for _, head in self._ablation.heads]
        values = trace.values.clone()
        means = self._ablation.means.to(values)
        values[:, layers, numbers] = means / trace.scale[:, None, None]
        return replace(trace, values=values)
