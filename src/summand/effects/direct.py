"""Direct effects of a batch: the representation as an exact sum over layers, heads and tokens (paper C)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..errors import SummandError
from ..towers import AttentionView
from ..towers.base import Summed, wants_gradient
from ..towers.finite import check_directions
from ..towers.precision import unmixed
from ..towers.residual import ResidualTower
from ..towers.view import Reads
from ..whole_numbers import as_whole_number
from .effects import Effects
from .published import Parity, check_parity
from .questions import Asked, Questioned, question
from .written import Writing


class Parts(Questioned):
    r"""M(x) = embedding + Σ_l Σ_h head_{l,h} + Σ_l mlp_l + bias, each term [image, embed]; paper C, Eq. 1–6.

    head_{l,h} = (Σ_i a_i v_i / σ) W_O F, with F = (I − 11ᵀ/D) diag(γ) P: every term is centred by its own mean, which
    is what the final LayerNorm does at the σ of the real pass. Value biases stay in their heads; output biases and β P
    are the bias term.

    parity="paper" splits the constants as paper C's code does (A.1): −μ γ/σ and β in 2L + 1 equal parts over attention
    layers, MLPs and the embedding, a layer's part and its output bias evenly over heads and tokens; `bias()` is then
    zero. The sum is the same. (That code also divides by ‖M(x)‖ afterwards; here the sum stays `encode_image`.)

    tower: a snapshot of the model; pixels: a copy that nobody else writes to; asked: as in `Questioned`.

    Nothing is computed before it is asked for. The first question runs one forward pass; `tokens()` and `toward()`
    need what the pass would otherwise throw away, so asked after `heads()` they run it once more.
    """

    def __init__(
        self,
        tower: Summed,
        pixels: Tensor,
        encode: Callable[[Tensor], Tensor],
        parity: Parity = None,
        asked: Asked | None = None,
    ) -> None:
        check_parity(parity)
        self._parity: Parity = parity
        self._token_stream: Tensor | None = None
        super().__init__(tower, pixels, encode, asked)

    def _split(self, tower: Any) -> Any:
        """The tower as it is asked, by this parity."""
        if self._parity is None:
            return tower
        if not isinstance(tower, ResidualTower):
            raise SummandError(f"parity='paper' is defined for a class-token transformer, not for a {tower.kind}")
        return tower.evenly()

    def _forget(self) -> None:
        super()._forget()
        self._token_stream = None

    @property
    def _directions(self) -> Float[Tensor, "layer head channel embed"]:
        return self._maps.kept

    @question
    def head_effects(self) -> Effects:
        """The heads' direct effects as `Effects`: units (layer, head), one path per value channel."""
        coefficients, directions = self._passed.values * self._passed.scale[:, None, None, None], self._directions
        shares = self._passed.shares
        if shares is not None:  # three more paths: the output bias, μ and β
            more = shares.coefficients[:, None, None].expand(*coefficients.shape[:3], -1)
            coefficients = torch.cat([coefficients, more], dim=-1)
            even = shares.directions[:, None].expand(-1, directions.shape[1], -1, -1)
            directions = torch.cat([directions, even], dim=2)
        return Effects(coefficients, directions, units=("layer", "head"), paths=("channel",))

    @question
    def token_effects(self, layers: Sequence[int] | None = None) -> Effects:
        """a_i v_i / σ of every token as `Effects`: units (layer, head, token), one path per value channel.

        layers: which, counted from 0 (all of them if None); the first unit axis is theirs, in the order given. Summed
        over tokens they are `head_effects()`. Raises `SummandError` for a layer that does not exist.
        """
        chosen = self._chosen(layers)
        found: dict[int, Tensor] = {}

        def visit(layer: int, view: AttentionView) -> None:
            if layer in chosen:
                found[layer] = view.token_values().transpose(1, 2)  # [image, head, token, channel]

        self._trace = self._tower.run(self._pixels, visit)
        coefficients = torch.stack([found[layer] for layer in chosen], dim=1)
        coefficients = coefficients * self._trace.scale[:, None, None, None, None]
        directions, shares, count = self._directions[chosen], self._trace.shares, coefficients.shape[3]
        if shares is not None:
            more = (shares.coefficients / count)[:, None, None, None].expand(*coefficients.shape[:4], -1)
            coefficients = torch.cat([coefficients, more], dim=-1)
            even = shares.directions[chosen][:, None].expand(-1, directions.shape[1], -1, -1)
            directions = torch.cat([directions, even], dim=2)
        directions = directions[:, :, None].expand(-1, -1, count, -1, -1)
        return Effects(coefficients, directions, units=("layer", "head", "token"), paths=("channel",))

    @question
    def heads(self) -> Float[Tensor, "image layer head embed"]:
        """Direct effect of every head."""
        effects = self.head_effects()
        with unmixed(self._pixels.device):
            return effects.vectors()

    @question
    def mlps(self) -> Float[Tensor, "image layer embed"]:
        """Direct effect of every MLP; zero layers where none writes to the output."""
        return self._passed.mlps.clone()

    @question
    def embedding(self) -> Float[Tensor, "image embed"]:
        """What the pooled token held before the first block; zeros where the tower has no such term."""
        return self._passed.embedding.clone()

    @question
    def bias(self) -> Float[Tensor, "image embed"]:
        """Every constant term: the attention output biases (through 1/σ) and β P."""
        return self._passed.bias.clone()

    @question
    def total(self) -> Float[Tensor, "image embed"]:
        """The sum of all terms; equals `encode_image` up to rounding."""
        trace = self._passed
        with unmixed(self._pixels.device):
            return trace.total(self._maps)

    @question
    @torch.no_grad()
    def residual(self) -> float:
        """max |total − encode_image| / max |encode_image| over the batch, against the model's own forward pass."""
        truth = self._encode(self._pixels).to(self._passed.bias.dtype)
        return float((self.total() - truth).abs().max() / truth.abs().max())

    @question
    def tokens(self) -> Float[Tensor, "image token embed"]:
        """What every token contributes through all heads; token 0 is the class (or mean) token.

        Summed over tokens it equals `heads()` summed over layers and heads.
        """
        if self._token_stream is None:
            total = self._written(self._directions)
            if self._passed.shares is not None:
                with unmixed(self._pixels.device):
                    even = self._passed.shares.each().sum(dim=1, keepdim=True)
                total.add_(even * (self._tower.heads / total.shape[1]))
            self._token_stream = total
        return self._token_stream.clone()

    @question
    def toward(self, directions: Float[Tensor, "direction embed"]) -> Float[Tensor, "image layer head token direction"]:
        """⟨contribution of a token through a head, direction⟩, contracted before anything larger is built.

        The answer itself is large: 4 bytes × images × layers × heads × tokens × directions, 2.5 GB for 64 images, 100
        texts and ViT-L-14. Of it `heads_toward` sums the tokens, `tokens_toward` layers and heads, `top_tokens` keeps
        the largest of these sums, and `head_tokens_toward` is one head's part; none of them builds it. Differentiable
        with respect to directions that require a gradient."""
        check_directions(directions, self._tower.embed)
        gradient = wants_gradient(directions)
        along = self._along(directions)
        each: list[Tensor] = []
        found: Tensor | None = None

        def visit(layer: int, view: AttentionView) -> None:
            nonlocal found
            if gradient:
                with torch.enable_grad():
                    each.append(view.each_toward(along[layer]))
                return
            if found is None:  # made once and filled where it stays: it is much larger than all that leads to it
                images, heads, tokens = view.row.shape
                found = along.new_empty(images, len(along), heads, tokens, along.shape[-1])
            view.toward(along[layer], out=found[:, layer])

        with torch.no_grad():
            self._trace = self._tower.run(self._pixels, visit)
        if gradient:
            found = torch.stack(each, dim=1)
        assert found is not None
        with torch.set_grad_enabled(gradient):
            found.mul_(self._trace.scale[:, None, None, None, None])
            shares = self._trace.shares
            if shares is not None:
                with unmixed(self._pixels.device):
                    even = shares.each() @ directions.to(found).T / found.shape[3]  # [image, layer, direction]
                found.add_(even[:, :, None, None])
        return found

    @question
    def tokens_toward(
        self, directions: Float[Tensor, "direction embed"], layers: Collection[int] | None = None
    ) -> Float[Tensor, "image token direction"]:
        """⟨tokens(), direction⟩ = Σ_l Σ_h toward(directions), summed as the layers come: what maps are made of.

        layers: which are summed, counted from 0; all of them if None. Of a model in half precision it is rounded as the
        model rounds its own values. Differentiable with respect to directions that require a gradient."""
        check_directions(directions, self._tower.embed)
        chosen = sorted(set(self._chosen(layers)))
        with torch.set_grad_enabled(wants_gradient(directions)):
            total = self._written(self._along(directions), chosen, self._reads(directions), rounded=True)
            if self._passed.shares is not None:
                with unmixed(self._pixels.device):
                    even = self._passed.shares.each()[:, chosen].sum(dim=1) @ directions.to(total).T
                total.add_(even[:, None] * (self._tower.heads / total.shape[1]))
        return total

    @question
    def heads_toward(self, directions: Float[Tensor, "direction embed"]) -> Float[Tensor, "image layer head direction"]:
        """⟨heads(), direction⟩ = Σ_token toward(directions), from what the pass leaves anyway. Differentiable with
        respect to directions that require a gradient."""
        check_directions(directions, self._tower.embed)
        return self.head_effects().toward(directions)

    @question
    def head_tokens_toward(
        self, directions: Float[Tensor, "direction embed"], layer: int, head: int
    ) -> Float[Tensor, "image token direction"]:
        """toward(directions)[:, layer, head]: one head alone. Raises `SummandError` for one that does not exist."""
        check_directions(directions, self._tower.embed)
        (layer,), number = self._chosen([layer]), as_whole_number(head)
        if type(number) is not int or number not in range(self._tower.heads):
            raise SummandError(f"this model has heads 0 to {self._tower.heads - 1} in a layer, got {head!r}")
        found: list[Tensor] = []

        def visit(at: int, view: AttentionView) -> None:
            if at == layer:
                found.append(view.of_head(number))

        self._trace = self._tower.run(self._pixels, visit)
        with unmixed(self._pixels.device):
            values = found[0] * self._trace.scale[:, None, None]
            toward = values @ self._along(directions)[layer, number]
            shares = self._trace.shares
            if shares is not None:
                even = shares.each()[:, layer] @ directions.to(toward).T / toward.shape[1]
                toward = toward + even[:, None]
        return toward

    @question
    def top_tokens(
        self, directions: Float[Tensor, "direction embed"], count: int, layers: Collection[int] | None = None
    ) -> tuple[Float[Tensor, "image direction rank"], Int[Tensor, "image direction rank"]]:
        """The largest of `tokens_toward` for every direction, and which tokens these are, the largest first."""
        toward = self.tokens_toward(directions, layers)
        if type(count) is not int or not 1 <= count <= toward.shape[1]:
            raise SummandError(f"count must be from 1 to the {toward.shape[1]} tokens of this model, got {count!r}")
        values, indices = toward.transpose(1, 2).topk(count, dim=-1)
        return values, indices

    def _chosen(self, layers: Collection[int] | None) -> list[int]:
        """Which layers are asked for. Raises `SummandError` for none, and for one that does not exist."""
        chosen = list(range(self._tower.layers)) if layers is None else [as_whole_number(layer) for layer in layers]
        wrong = [layer for layer in chosen if type(layer) is not int or layer not in range(self._tower.layers)]
        if wrong or not chosen:
            got = repr(wrong[0]) if wrong else "none"
            raise SummandError(f"this model has layers 0 to {self._tower.layers - 1}, got {got}")
        return chosen

    def _written(
        self,
        along: Tensor,
        layers: Collection[int] | None = None,
        reads: Reads | None = None,
        rounded: bool = False,
    ) -> Float[Tensor, "image token direction"]:
        """Σ_l Σ_h a_i v_i along^{l,h} / σ of every token, in a pass of its own. rounded: the products of a model in
        half precision as it rounds its own."""
        halved = along.to(self._tower.dtype) if rounded and not along.requires_grad else None
        writing = Writing(along, halved, None if layers is None else frozenset(layers), reads)
        with torch.no_grad():
            self._trace = self._tower.run(self._pixels, writing.visit)
        return writing.total().mul_(self._trace.scale[:, None, None])

    def _reads(self, directions: Tensor) -> Reads | None:
        """What is kept for these directions. Not of a model that holds code of others, which may make other weights at
        every pass."""
        return None if self._tower.always_checked else self._maps.reads(directions)

    def _along(self, directions: Tensor) -> Float[Tensor, "layer head channel direction"]:
        """What each value channel adds along each direction, at unit σ."""
        with unmixed(self._pixels.device):
            return self._maps.along(directions)
