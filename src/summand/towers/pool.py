"""Towers that end in an attention pool: a sum over the pool's heads and tokens (paper B)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import SummandError
from .attention import Attention
from .base import HeadMaps, Rest, Trace, of_weights, working
from .factored import Factored
from .guarded import Guarded
from .linear import Projection, fold_norm, inverse_deviation, normed, optional_norm
from .listening import apart, first_of, listened, one_pass
from .precision import unmixed
from .view import AttentionView, Visit
from .walk import Begun, called_with, ordinary
from .widened import Widened


class LatentPool:
    """Learned queries that read the tokens: CoCa's AttentionalPooler, timm's AttentionPoolLatent, SigLIP's head.

    attention: the module with the weights. latent: what its queries are made of, [query, width]. key_norm: what the
    tokens pass before they are read. pool: which queries are the output, the first ("tok") or the mean of all but the
    first ("avg", as open_clip's CoCa does it). position: added to the tokens.
    """

    def __init__(
        self,
        attention: nn.Module,
        latent: Callable[[], Tensor],
        key_norm: nn.Module | None = None,
        pool: str = "tok",
        position: Callable[[], Tensor | None] = lambda: None,
    ) -> None:
        self.attention = Attention(attention)
        self._latent, self._key_norm, self._pool, self._position = latent, key_norm, pool, position
        self._wide = Widened()

    def tokens(self, entering: Tensor) -> Float[Tensor, "image token width"]:
        position = self._position()
        entering = working(entering) if position is None else working(entering) + self._wide("position", position)
        return normed(self._key_norm, entering)

    def positions(self) -> Float[Tensor, "token width"] | None:
        """What the positional embedding adds to the tokens; None where there is none."""
        position = self._position()
        if position is None:
            return None
        if self._key_norm is not None and not isinstance(self._key_norm, nn.Identity):
            raise SummandError("its pool normalises the tokens after it adds positions, so they cannot be left out")
        return self._wide("position", position).reshape(-1, position.shape[-1])

    @property
    def several(self) -> bool:
        """Whether the output is a mean over queries."""
        return self._pool != "tok"

    def queries(self, tokens: Tensor) -> Float[Tensor, "one_or_image query width"]:
        latent = self._latent()
        latent = self._wide("latent", latent).reshape(1, -1, latent.shape[-1])
        return latent[:, :1] if self._pool == "tok" else latent[:, 1:]


class MeanTokenPool:
    """CLIP-ResNet's pool: the mean token, with a position of its own, is the first token and the only query."""

    several = False

    def __init__(self, attention: nn.Module) -> None:
        self.attention = Attention(attention)
        self._wide = Widened()

    def tokens(self, entering: Tensor) -> Float[Tensor, "image token width"]:
        patches = working(entering).flatten(2).transpose(1, 2)  # [image, token, neuron]
        return torch.cat([patches.mean(dim=1, keepdim=True), patches], dim=1) + self.positions()

    def positions(self) -> Float[Tensor, "token width"]:
        return self._wide("position", self.attention.module.positional_embedding)

    def queries(self, tokens: Tensor) -> Float[Tensor, "one_or_image query width"]:
        return tokens[:, :1]


class PoolTower(Guarded):
    r"""M(x) = F((u + MLP(u)) / σ) + β P with u = Σ_h W_O^h Σ_i a_i^h v_i^h + b_O, a the row of the pool's query.

    Only the pool writes to the output, so there is one layer. MLP: of SigLIP's pool, else absent; σ, F, β: of a norm
    behind the pool (CoCa), else absent and F = P, the projection.

    A snapshot, as a `ResidualTower` is.
    """

    layers = 1

    def __init__(
        self,
        visual: nn.Module,
        pool_module: nn.Module,
        pool: LatentPool | MeanTokenPool,
        *,
        kind: str,
        encode: Callable[[Tensor], Tensor],
        projection: Projection,
        image_size: tuple[int, int],
        grid: tuple[int, int],
        prefix: int,
        mlp: Callable[[Tensor], Tensor] | None = None,
        norm: nn.Module | None = None,
        forward: Callable[[Tensor], Any] | None = None,
    ) -> None:
        self._forward = visual if forward is None else forward
        self.visual, self.kind, self.encode = visual, kind, encode
        self.image_size, self.grid, self.prefix = image_size, grid, prefix
        self._pool_module, self._pool, self._attention = pool_module, pool, pool.attention
        self._mlp, self._norm, self._projection = mlp, optional_norm(norm, "the norm behind its pool"), projection
        self.terms: tuple[str, ...] = ("heads", "bias") if mlp is None else ("heads", "mlps", "bias")
        self.heads, self.channels = self._attention.heads, self._attention.channels
        self.embed = projection.size(len(self._attention.out.weight))
        self._maps: HeadMaps | None = None
        self._pair_maps: Factored | None = None

    def head_maps(self) -> HeadMaps:
        """W_O^h F for every value channel, built once."""
        if self._maps is None:
            with of_weights(self.device):
                self._maps = HeadMaps(self._through(self._attention.write_directions())[None])
        return self._maps

    def pair_directions(self) -> Factored:
        """Row n of W_VO^h F for every neuron n and head h, [neuron, head, 1, embed], through the head's channels. Built
        once."""
        if self._pair_maps is None:
            maps = self.head_maps()
            with of_weights(self.device):
                weight, _ = self._attention.value_map()
                left = weight.permute(2, 0, 1)[:, :, None].contiguous()
                self._pair_maps = Factored(left, maps.kept[0][:, None])
        return self._pair_maps

    @property
    def device(self) -> torch.device:
        return self._attention.out.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """What its linear maps are kept in."""
        return self._attention.out.weight.dtype

    def positions(self) -> Float[Tensor, "token width"] | None:
        """What the pool's own positional embedding adds to the tokens that it reads; None where it has none."""
        return self._pool.positions()

    def _through(self, vectors: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch embed"]:
        """v F, at unit σ."""
        if self._norm is None:
            return self._projection(vectors)
        return vectors @ fold_norm(self._norm, self._projection.matrix(vectors))

    @torch.no_grad()
    def enter(self, pixels: Tensor) -> Tensor:
        """What the pool reads, as the tower hands it over: [image, neuron, row, column] or [image, token, width]."""
        call = called_with(self._pool_module, self.visual, lambda: self._forward(pixels))
        if call is None:
            raise SummandError("the forward pass never reached the pool; is the model wrapped or compiled?")
        return first_of(*call)

    @property
    def pool(self) -> LatentPool | MeanTokenPool:
        return self._pool

    def to_embedding(self, outputs: Float[Tensor, "*batch channels"]) -> Float[Tensor, "*batch embed"]:
        """What follows the heads' outputs: W_O, the MLP and the norm where there are any, the projection.
        Differentiable."""
        pooled = self._attention.project_out(outputs)
        if self._mlp is not None:
            pooled = pooled + working(self._mlp(pooled.to(self._attention.out.weight.dtype)))
        pooled = normed(self._norm, pooled)
        return self._projection(pooled) + self._projection.shift(pooled)

    @torch.no_grad()
    def begin(self, pixels: Tensor) -> Begun | None:
        """A pass up to the pool, that `run` can go on with. None where it cannot be begun by itself."""
        if not ordinary(self, pixels.device):
            return None
        with apart():
            return Begun(self, self._attention.out.weight, entering=self.enter(pixels))

    @torch.no_grad()
    def run(self, pixels: Tensor, visit: Visit | None = None, ahead: Begun | None = None) -> Trace:
        """One forward pass, as in `Summed`. ahead: the one that `begin` has begun with these pixels."""
        self.verify("sum", pixels)
        with one_pass():
            begun = None if ahead is None or listened() else ahead.entering
            entering = self.enter(pixels) if begun is None else begun
            with unmixed(pixels.device):
                trace = self._read(entering, visit, pixels.dtype)
        self.confirm(trace, pixels)
        return trace

    def _read(self, entering: Tensor, visit: Visit | None, dtype: torch.dtype) -> Trace:
        """What the pool makes of the tokens that enter it. dtype: of the model's weights, which its MLP computes in."""
        tokens = self._pool.tokens(entering)
        queries = self._pool.queries(tokens)
        weights = tokens.new_full((tokens.shape[0], queries.shape[1]), 1 / queries.shape[1])
        view, _ = self._attention.look(queries, tokens, weights)
        if self._norm is not None and queries.shape[1] > 1:
            view, weights = self._each_by_its_own_deviation(view, queries, tokens, weights)
        if visit is not None:
            visit(0, view)
        return self._trace(view, weights.sum(dim=1), dtype, one=queries.shape[1] == 1)

    def _each_by_its_own_deviation(
        self, view: AttentionView, queries: Tensor, tokens: Tensor, weights: Tensor
    ) -> tuple[AttentionView, Float[Tensor, "image query"]]:
        """Queries that are normalised before they are averaged: w_q = 1/(N σ_q)."""
        rows = self._attention.rows(queries, tokens)
        outputs = torch.einsum("ihqt,itw,hcw->iqhc", rows, tokens, view.value_weight) + view.value_bias
        weights = weights * inverse_deviation(self._norm, self._attention.project_out(outputs.flatten(2)))
        return self._attention.look(queries, tokens, weights)[0], weights

    def _trace(self, view: AttentionView, mass: Tensor, dtype: torch.dtype, one: bool) -> Trace:
        values = view.values()
        images = values.shape[0]
        constant = mass[:, None] * self._attention.constant()
        scale, mlps = values.new_ones(images), values.new_zeros(images, 0, self.embed)
        if self._mlp is not None or (self._norm is not None and one):
            pooled = self._attention.project_out(self._attention.outputs(values))
            if self._mlp is not None:
                written = working(self._mlp(pooled.to(dtype)))
                mlps, pooled = written[:, None], pooled + written
            if self._norm is not None:
                scale = inverse_deviation(self._norm, pooled)
        bias = self._through(constant) * scale[:, None]
        mlps = self._through(mlps) * scale[:, None, None] if self._mlp is not None else mlps
        if self._norm is not None and self._norm.bias is not None:
            bias = bias + self._projection(working(self._norm.bias))
        rest = Rest(values.new_zeros(images, self.embed), mlps, bias + self._projection.shift(constant))
        return Trace(values[:, None], scale, lambda: rest)
