"""A tiny CLIP in fp64 for tests of what users do to models."""

from __future__ import annotations

from typing import Any

import torch

from tests.border import CLIP

VISION = {"image_size": 16, "patch_size": 8, "width": 32, "layers": 3, "head_width": 16}
RESNET = {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8}
TEXT = {"context_length": 8, "vocab_size": 50, "width": 16, "heads": 2, "layers": 2}
SIDE = {False: 16, True: 32}


def clip(seed: int = 0, resnet: bool = False, **vision) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = CLIP(16, {**(RESNET if resnet else VISION), **vision}, TEXT).eval().double()
        with torch.no_grad():
            for parameter in made.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
    return made


def pixels(count: int = 2, side: int = 16, seed: int = 1) -> torch.Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def letters(texts):
    """A tokenizer: a token for each letter, 1 and 49 around them."""
    rows = torch.zeros(len(texts), 8, dtype=torch.long)
    for row, text in zip(rows, texts, strict=True):
        ids = [1, *(2 + ord(letter) % 40 for letter in text[:6]), 49]
        row[: len(ids)] = torch.tensor(ids)
    return rows


def off(got: torch.Tensor, want: torch.Tensor) -> float:
    return float((got - want).abs().max() / want.abs().max())
