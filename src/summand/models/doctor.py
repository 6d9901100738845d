"""Whether a model can be explained exactly: every identity that the guard checks, measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..effects.activations import readable
from ..errors import SummandError
from ..towers.listening import apart
from ..towers.pool import PoolTower
from .adapters import findings
from .identities import measure
from .model import Model


@dataclass(frozen=True)
class Check:
    """One identity of a model. error: how far it is off, as a share of the largest number; allowed: by rounding.
    problem: why it could not be measured, or what does not hold; "" where it holds."""

    what: str
    error: float | None
    allowed: float | None
    problem: str = ""

    @property
    def holds(self) -> bool:
        return not self.problem


@dataclass(frozen=True)
class Diagnosis:
    """What `examine` found. findings: what in the model could make a sum wrong, in words; empty where nothing does."""

    model: str
    tower: str
    precision: str
    device: str
    checks: tuple[Check, ...]
    findings: tuple[str, ...]

    @property
    def exact(self) -> bool:
        return all(check.holds for check in self.checks)


def examine(model: Model, pixels: Tensor | None = None, text: str | None = None) -> Diagnosis:
    r"""max |Σ terms − encode_image| / max |encode_image|, and the like for neurons, pairs and texts, of one image.

    pixels: [1, 3, height, width]; noise in the model's precision where none are given. text: where the model has a
    tokenizer; one of its own world if None. Every identity is measured, also where another one does not hold. Raises
    `SummandError` for pixels that the model cannot read.
    """
    tower: Any = model.tower
    if pixels is None:
        generator = torch.Generator().manual_seed(0)
        pixels = torch.randn(1, 3, *tower.image_size, generator=generator).to(model.device, model.dtype)
    model.check_pixels(pixels)
    whole = getattr(tower, "whole", tower)
    wanted: list[tuple[str, Any]] = [("image: terms sum to encode_image", "sum")]
    if isinstance(whole, PoolTower):
        wanted.append(("pairs: sum to encode_image", ("pairs",)))
    elif _has_neurons(whole):
        layers = range(whole.layers - 1)
        wanted += [(f"neurons: layer {layer} writes what its MLP adds", ("neurons", layer)) for layer in layers]
        wanted += [("neurons: later attentions read the norm of the stream", ("norms", 0))] if layers else []
    checks = [_checked(name, whole, what, pixels[:1]) for name, what in wanted]
    checks += _of_text(model, text)
    return Diagnosis(
        model.name,
        tower.kind,
        str(model.dtype).removeprefix("torch."),
        str(model.device),
        tuple(checks),
        tuple(findings(model.clip)),
    )


def _has_neurons(tower: Any) -> bool:
    try:
        readable(tower, "")
    except SummandError:
        return False
    return True


@torch.no_grad()
def _checked(name: str, tower: Any, what: Any, one: Tensor) -> Check:
    kept, tower.guard = tower.guard, None  # measured, not refused
    try:
        with apart():
            worst = max(measure(tower, what, one), key=lambda found: found.error / found.allowed)
    except SummandError as error:
        return Check(name, None, None, str(error))
    finally:
        tower.guard = kept
    return Check(name, worst.error, worst.allowed, "" if worst.holds else f"{worst.about}")


def _of_text(model: Model, text: str | None) -> list[Check]:
    name, problem = "text: terms sum to encode_text", ""
    if model._tokenizer is None:
        return []
    for candidate in (text,) if text else ("a photo of a dog", "a red star"):
        try:
            tokens = model.text_tokens([candidate])
        except SummandError as error:
            problem = str(error)
            continue
        try:
            return [_checked(name, model.text_tower, "sum", tokens)]
        except SummandError as error:
            return [Check(name, None, None, str(error))]
    return [Check(name, None, None, problem)]
