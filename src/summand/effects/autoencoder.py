"""A sparse autoencoder of the residual stream: its latents are neurons that write rows of its decoder."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ..towers.base import working

Norm = Literal["none", "layer_norm", "constant_norm_rescale"]
_EPS = 1e-5  # SAELens' and Prisma's


@dataclass(frozen=True, eq=False)
class Autoencoder:
    r"""x = Σ_k f_k(x) d_k + b(x) + error(x) for every token x of the stream that leaves a layer, by definition of the
    error.

    f(x) = s act((N(x) − b_pre) W + b_enc), b(x) = s b_dec + m: N(x) = (x − m) / s is the normalisation that some are
    trained with (none: m = 0, s = 1), act a ReLU that may keep the top_k largest alone, or those above a threshold.
    signed: no ReLU, the top_k largest are kept as they are (saev's).

    layer: of the stream, counted from 0. encoder: W [width, latent]; decoder: d [latent, width]; before: b_pre.
    """

    layer: int
    encoder: Float[Tensor, "width latent"]
    encoder_bias: Float[Tensor, " latent"]
    decoder: Float[Tensor, "latent width"]
    bias: Float[Tensor, " width"]
    before: Float[Tensor, " width"]
    top_k: int | None = None
    threshold: Float[Tensor, " latent"] | None = None
    normalised: Norm = "none"
    source: str = "in memory"
    signed: bool = False

    @property
    def latents(self) -> int:
        return len(self.decoder)

    @property
    def width(self) -> int:
        return self.decoder.shape[1]

    def _scale(self, stream: Tensor) -> tuple[Tensor, Tensor]:
        """m and s."""
        if self.normalised == "layer_norm":
            mean = stream.mean(dim=-1, keepdim=True)
            return mean, (stream - mean).std(dim=-1, keepdim=True) + _EPS
        zero = torch.zeros_like(stream[..., :1])
        if self.normalised == "constant_norm_rescale":
            return zero, stream.norm(dim=-1, keepdim=True) / self.width**0.5
        return zero, zero + 1

    def encode(self, stream: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch latent"]:
        """f(x)."""
        stream = working(stream)
        mean, scale = self._scale(stream)
        read = (stream - mean) / scale - self.before.to(stream)
        hidden = read @ self.encoder.to(stream) + self.encoder_bias.to(stream)
        if self.threshold is not None:
            hidden = hidden * (hidden > self.threshold.to(stream))
        active = hidden if self.signed else F.relu(hidden)
        if self.top_k is not None and self.top_k < self.latents:
            kept = active.topk(self.top_k, dim=-1)
            active = torch.zeros_like(active).scatter(-1, kept.indices, kept.values)
        return active * scale

    def constant(self, stream: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        """b(x)."""
        stream = working(stream)
        mean, scale = self._scale(stream)
        return scale * self.bias.to(stream) + mean

    def parts(self, stream: Float[Tensor, "*batch width"]) -> Reconstruction:
        """The stream as latents, bias and error."""
        stream = working(stream)
        codes, constant = self.encode(stream), self.constant(stream)
        written = codes @ self.decoder.to(stream)
        return Reconstruction(codes, written, constant, stream - written - constant)

    def digest(self) -> bytes:
        """Of all its numbers."""
        seen = hashlib.sha256(f"{self.layer} {self.top_k} {self.normalised}".encode())
        seen.update(b"signed" if self.signed else b"")
        for tensor in (self.encoder, self.encoder_bias, self.decoder, self.bias, self.before, self.threshold):
            if tensor is not None:
                seen.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
        return seen.digest()


@dataclass(frozen=True)
class Reconstruction:
    """codes: f(x), [*batch, latent]; written: Σ_k f_k d_k; bias: b(x); error: what is left, [*batch, width]. written +
    bias + error is the stream."""

    codes: Float[Tensor, "*batch latent"]
    written: Float[Tensor, "*batch width"]
    bias: Float[Tensor, "*batch width"]
    error: Float[Tensor, "*batch width"]
