"""The text tower: trained first, alone, on what captions name; and its prompts as classifiers while images learn."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...towers.border import foreign
from ..attributes import ATTRIBUTES, GROUP_ATTRIBUTES, SCENE_ATTRIBUTES
from ..captions import captions
from ..phrases import prompts
from ..tokenizer import SceneTokenizer
from .batches import mixed_causes


def simplex_targets(batch: dict[str, np.ndarray], vectors: dict[str, Tensor]) -> Tensor:
    """Unit sum of one vector per named attribute value: `batch[attribute]` int [text, mention], −1 where silent."""
    total = torch.zeros(len(next(iter(batch.values()))), next(iter(vectors.values())).shape[1])
    for attribute, codes in batch.items():
        for column in torch.from_numpy(codes).T:
            total += torch.where((column >= 0)[:, None], vectors[attribute][column.clamp(min=0)], 0)
    return total / total.norm(dim=1, keepdim=True).clamp(min=1e-6)


def value_vectors(embed: int, seed: int) -> dict[str, Tensor]:
    """Mutually orthogonal sets of vectors, one a value, centred within each attribute (a simplex)."""
    total = sum(len(values) for values in ATTRIBUTES.values())
    generator = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(embed, total, generator=generator)).Q.T
    pieces = basis.split([len(values) for values in ATTRIBUTES.values()])
    return {name: F.normalize(piece - piece.mean(dim=0), dim=1) for name, piece in zip(ATTRIBUTES, pieces, strict=True)}


def train_text(model: nn.Module, seed: int, steps: int, device: torch.device, report: Any = print) -> None:
    """Stage one: captions and prompts → the unit sum of the vectors of what they name."""
    tokenizer = SceneTokenizer()
    parameters = text_parameters(model)
    vectors = value_vectors(foreign(model).text_projection.shape[1], seed)
    optimizer = torch.optim.AdamW(parameters, lr=2e-3, weight_decay=0.01)
    prompt_texts, prompt_codes = [], {name: [] for name in ATTRIBUTES}
    for attribute in ATTRIBUTES:
        for code, texts in enumerate(prompts(attribute).values()):
            for text in texts:
                prompt_texts.append(text)
                for name in ATTRIBUTES:
                    prompt_codes[name].append([code if name == attribute else -1] * 2)
    rng = np.random.default_rng(seed)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * step / steps))
        causes = mixed_causes(96, seed * 100_000_000 + 50_000_000 + step)
        said = captions(causes, step, 1)
        some = rng.integers(len(prompt_texts), size=64)
        codes = {}
        for name in ATTRIBUTES:
            if name in SCENE_ATTRIBUTES:
                mention = np.stack([getattr(said, name), np.full(len(said.texts), -1)], axis=1)
            else:
                mention = said.groups[:, :, GROUP_ATTRIBUTES.index(name)]
            codes[name] = np.concatenate([mention, np.array(prompt_codes[name])[some]])
        target = simplex_targets(codes, vectors).to(device)
        named = target.norm(dim=1) > 0.5
        out = foreign(model).encode_text(
            tokenizer(said.texts + [prompt_texts[i] for i in some]).to(device), normalize=True
        )
        loss = (1 - (out * target).sum(dim=1))[named].mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        if step % 250 == 0 or step == steps - 1:
            report(f"text tower: step {step}/{steps}, 1 − cosine {loss.item():.4f}")


def text_parameters(model: nn.Module) -> list[nn.Parameter]:
    return [p for name, p in model.named_parameters() if not name.startswith("visual.") and name != "logit_scale"]


class Prompts:
    """One random prompt for every value of every attribute, embedded: read from a table while the text tower is
    locked, encoded with gradient once it learns."""

    def __init__(self, device: torch.device) -> None:
        self.texts = [texts for name in ATTRIBUTES for texts in prompts(name).values()]
        self.sizes = [len(values) for values in ATTRIBUTES.values()]
        self.tokenizer, self.device = SceneTokenizer(), device
        self.table: Tensor | None = None

    def __call__(self, model: nn.Module, step: int, locked: bool) -> tuple[Tensor, ...]:
        rng = np.random.default_rng(step)
        chosen = [int(rng.integers(len(options))) for options in self.texts]
        if not locked:
            tokens = self.tokenizer([options[c] for options, c in zip(self.texts, chosen, strict=True)])
            return foreign(model).encode_text(tokens.to(self.device), normalize=True).split(self.sizes)
        table = self.table
        if table is None:
            with torch.no_grad():
                everything = [text for options in self.texts for text in options]
                table = self.table = foreign(model).encode_text(
                    self.tokenizer(everything).to(self.device), normalize=True
                )
        first = np.cumsum([0] + [len(options) for options in self.texts])[:-1]
        return table[torch.from_numpy(first + np.array(chosen))].split(self.sizes)
