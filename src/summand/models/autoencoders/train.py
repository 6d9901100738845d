"""A sparse autoencoder trained on the tokens of a stream: the k largest latents of each token, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ...effects.autoencoder import Autoencoder
from ...errors import SummandError
from ...towers.precision import doubled

_TOKENS = 1024  # a step
_DEAD = 300  # steps without ever being among the k largest
_RATE = 2e-3
_LEAST = 1e-3  # of the mean variance, so that a direction without any is not blown up


@dataclass(frozen=True)
class Trained:
    """explained: share of the stream's variance, on tokens that were not trained on; active: latents a token; alive:
    share of the latents that were active on these."""

    sae: Autoencoder
    explained: float
    active: float
    alive: float


def train(
    tokens: Float[Tensor, "token width"],
    layer: int,
    latents: int,
    top_k: int,
    epochs: int = 4,
    seed: int = 0,
    shown: Callable[[int], None] = lambda tokens: None,
) -> Trained:
    r"""min E ‖z − b − Σ_k f_k d_k‖², f the k largest of ReLU(W (z − b) + b_enc), ‖d_k‖ = 1, by Adam (Gao et al.), of
    the half-whitened stream z = C^{-1/4} (x − x̄), C the tokens' covariance.

    A stream has a few directions of huge variance (in scenes-vit one holds half of it), which mean little; of the plain
    stream, latents are spent on these, and few of them say one thing. Whitening is linear, so it is folded into the
    weights, f and d: the autoencoder that comes out is one of the stream itself.

    Latents that no token has used for a while begin anew at tokens that are badly described. A tenth of the tokens
    says what it is worth. shown: called with the tokens of every step. Raises `SummandError` for numbers that fit no
    tokens.
    """
    count, width = tokens.shape
    if not 1 <= top_k <= latents:
        raise SummandError(f"top_k must be from 1 to the {latents} latents, got {top_k}")
    if count < 10 * latents:
        raise SummandError(
            f"{count:,} tokens are too few for {latents} latents: give at least {10 * latents:,}, so more images"
        )
    made = torch.Generator().manual_seed(seed)
    order = torch.randperm(count, generator=made).to(tokens.device)
    held, own = order[: count // 10], order[count // 10 :]
    tokens = tokens.float()
    mean = tokens[own].mean(dim=0)
    centred = tokens[own] - mean
    into, back = _half_whitening(centred)
    white = centred @ into
    del centred
    noise = 0.1 / width**0.5 * torch.randn(latents, width, generator=made).to(tokens)
    rows = F.normalize(white[:latents] + noise, dim=1)
    decoder, encoder = rows.clone().requires_grad_(), rows.T.clone().requires_grad_()
    bias, shift = torch.zeros_like(mean).requires_grad_(), torch.zeros_like(rows[:, 0]).requires_grad_()
    optimizer = torch.optim.Adam([decoder, encoder, bias, shift], lr=_RATE)
    idle = torch.zeros(latents, device=tokens.device)
    steps = max(1, epochs * len(own) // _TOKENS)
    for step, some in enumerate(_batches(white, steps, made)):
        optimizer.param_groups[0]["lr"] = _RATE * min(1.0, 5 * (1 - step / steps) + 0.02)
        x = white[some]
        active = F.relu((x - bias) @ encoder + shift)
        kept = active.topk(top_k, dim=1)
        codes = torch.zeros_like(active).scatter(1, kept.indices, kept.values)
        missing = x - bias - codes @ decoder
        loss = missing.square().sum(dim=1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            decoder.copy_(F.normalize(decoder, dim=1))
            idle = torch.where((codes > 0).any(dim=0), 0.0, idle + 1)
            dead = (idle > _DEAD).nonzero()[:, 0]
            if len(dead) and step < 0.8 * steps:
                worst = missing.square().sum(dim=1).topk(min(len(dead), len(x))).indices
                dead = dead[: len(worst)]
                fresh = F.normalize(missing[worst], dim=1)
                decoder[dead], encoder[:, dead], shift[dead], idle[dead] = fresh, fresh.T, 0.0, 0.0
        shown(len(some))
    with torch.no_grad():
        whole = mean + bias @ back
        sae = Autoencoder(layer, into @ encoder, shift.detach(), decoder @ back, whole, whole, top_k)
        parts = sae.parts(tokens[held])
        spread = (tokens[held] - tokens[held].mean(dim=0)).square().sum()
        used = parts.codes > 0
    return Trained(
        sae,
        1 - float(parts.error.square().sum() / spread),
        float(used.sum(dim=1).float().mean()),
        float(used.any(dim=0).float().mean()),
    )


def _half_whitening(centred: Float[Tensor, "token width"]) -> tuple[Tensor, Tensor]:
    """C^{-1/4} and C^{1/4}, C the covariance with a little added to it, scaled so that tokens have unit length in the
    root mean square; and the way back."""
    values, axes = torch.linalg.eigh(doubled(centred.T @ centred) / len(centred))
    roots = (values.clamp(min=0) + _LEAST * values.mean()).pow(0.25)
    length = (values / roots.square()).sum().sqrt()
    into, back = (axes / roots) @ axes.T / length, (axes * roots) @ axes.T * length
    return into.to(centred), back.to(centred)


def _batches(tokens: Tensor, steps: int, made: torch.Generator) -> Iterator[Tensor]:
    for _ in range(steps):
        yield torch.randint(len(tokens), (_TOKENS,), generator=made).to(tokens.device)
