"""Direct effects of a batch: the representation as an exact sum over layers, heads and tokens (paper C)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..arguments import names_wrong_arguments
from ..errors import SummandError
from ..notebook import as_img, called
from ..towers import AttentionView
from ..towers.base import Summed
from ..towers.finite import check_directions
from ..towers.precision import doubled, unmixed
from ..towers.residual import ResidualTower
from ..whole_numbers import as_whole_number
from .effects import Effects
from .published import Parity, check_parity
from .questions import Asked, question
from .toward import Toward
from .waterfall import Step, steps


@names_wrong_arguments
class Parts(Toward):
    r"""M(x) = embedding + Σ_l Σ_h head_{l,h} + Σ_l mlp_l + bias, each term [image, embed]; paper C, Eq. 1–6.

    head_{l,h} = (Σ_i a_i v_i / σ) W_O F, with F = (I − 11ᵀ/D) diag(γ) P: every term is centred by its own mean, which
    is what the final LayerNorm does at the σ of the real pass. Value biases stay in their heads; output biases and β P
    are the bias term.

    parity="paper" splits the constants as paper C's code does (A.1): −μ γ/σ and β in 2L + 1 equal parts over attention
    layers, MLPs and the embedding, a layer's part and its output bias evenly over heads and tokens; `bias()` is then
    zero. The sum is the same. (That code also divides by ‖M(x)‖ afterwards; here the sum stays `encode_image`.)

    tower: a snapshot of the model; pixels: a copy that nobody else writes to; asked, begun: as in `Questioned`.

    Nothing is computed before it is asked for, but the start of a pass on a GPU (`begun`). The first question runs one
    forward pass; `tokens()` and `toward()` need what the pass would otherwise throw away, so asked after `heads()` they
    run it once more.
    """

    def __init__(
        self,
        tower: Summed,
        pixels: Tensor,
        encode: Callable[[Tensor], Tensor],
        parity: Parity = None,
        asked: Asked | None = None,
        begun: Any = None,
    ) -> None:
        check_parity(parity)
        self._parity: Parity = parity
        self._token_stream: Tensor | None = None
        super().__init__(tower, pixels, encode, asked, begun)

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

        self._trace = self._run(visit)
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
    def sums(self) -> Float[Tensor, "image term embed"]:
        """Σ heads, Σ MLPs, `embedding()` and `bias()`: the same sum as four terms."""
        with unmixed(self._pixels.device):
            return self._passed.sums(self._maps)

    @question
    @torch.no_grad()
    def residual(self) -> float:
        """max |total − encode_image| / max |encode_image| over the batch, against the model's own forward pass."""
        truth = self._encode(self._pixels).to(self._passed.bias.dtype)
        return float((self.total() - truth).abs().max() / truth.abs().max())

    @question
    @torch.no_grad()
    def waterfall(self, direction: Float[Tensor, " embed"] | None = None, image: int = 0) -> list[Step]:
        """⟨term, d⟩ of one image, layer by layer: input, heads, MLPs, constants; they add up to ⟨M(x), d⟩.

        direction: by default M(x)/‖M(x)‖², along which the terms are shares of the whole and add up to 1. Raises
        `SummandError` for an image that the batch does not have.
        """
        count = len(self._pixels)
        place = as_whole_number(image)
        if type(place) is not int or not -count <= place < count:
            raise SummandError(f"this batch has images 0 to {count - 1}, got {image!r}")
        heads, mlps, embedding, bias = (
            doubled(term[place]) for term in (self.heads().sum(dim=2), self.mlps(), self.embedding(), self.bias())
        )
        if direction is None:
            total = heads.sum(dim=0) + mlps.sum(dim=0) + embedding + bias
            along = total / total.square().sum().clamp(min=torch.finfo(total.dtype).tiny)
        else:
            check_directions(direction[None], self._tower.embed)
            along = doubled(direction).to(heads)
        return steps((heads @ along).tolist(), (mlps @ along).tolist(), float(embedding @ along), float(bias @ along))

    def plot(self, direction: Float[Tensor, " embed"] | None = None, image: int = 0, title: str | None = None) -> Any:
        """A figure of `waterfall`: what adds up to this image's embedding, or to what it holds along a direction, such
        as a text's embedding, or one text's less another's."""
        return called(_FIGURE, self.waterfall(direction, image), title or _title(direction is None, image))

    def __repr__(self) -> str:
        tower, name = self._tower, type(self).__name__
        count = f"{len(self._pixels)} input{'' if len(self._pixels) == 1 else 's'}"
        return f"<{name} of {count}: {tower.layers} × {tower.heads} heads, {tower.embed}-d>"

    def _repr_html_(self) -> str:
        try:
            found = as_img(self.plot(), f"waterfall: {_title(True, 0)}")
        except SummandError as error:
            found = f"<p>{escape(str(error))}</p>"
        return f"<p><b>{escape(repr(self)[1:-1])}</b></p>{found}"

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


_FIGURE = "summand.report.waterfall:figure"


def _title(whole: bool, place: int) -> str:
    return f"{'what the embedding is made of' if whole else 'what adds up along the direction'}, input {place}"
