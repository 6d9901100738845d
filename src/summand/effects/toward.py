"""A batch's direct effects along directions, such as those of texts: contracted before anything larger is built."""

from __future__ import annotations

from collections.abc import Collection

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..arguments import names_wrong_arguments
from ..errors import SummandError
from ..towers import AttentionView
from ..towers.base import wants_gradient
from ..towers.finite import check_directions
from ..towers.precision import unmixed
from ..towers.view import Reads
from ..whole_numbers import as_whole_number
from .effects import Effects
from .questions import Questioned, question
from .written import Writing


@names_wrong_arguments
class Toward(Questioned):
    """⟨a term, direction⟩ of every head and token, or of sums of them, for a sum over layers, heads and tokens."""

    def head_effects(self) -> Effects:
        """The heads' direct effects as `Effects`: units (layer, head)."""
        raise NotImplementedError

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
            self._trace = self._run(visit)
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

        self._trace = self._run(visit)
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
        halved = _halved(along, self._tower.dtype) if rounded and not along.requires_grad else None
        writing = Writing(along, halved, None if layers is None else frozenset(layers), reads)
        with torch.no_grad():
            self._trace = self._run(writing.visit)
        return writing.total().mul_(self._trace.scale[:, None, None])

    def _reads(self, directions: Tensor) -> Reads | None:
        """What is kept for these directions. Not of a model that holds code of others, which may make other weights at
        every pass."""
        return None if self._tower.always_checked else self._maps.reads(directions)

    def _along(self, directions: Tensor) -> Float[Tensor, "layer head channel direction"]:
        """What each value channel adds along each direction, at unit σ."""
        with unmixed(self._pixels.device):
            return self._maps.along(directions)


def _halved(along: Tensor, dtype: torch.dtype) -> Float[Tensor, "layer head channel direction"]:
    """The same in this precision, a direction's channels side by side in memory, as the fast kernels of a GPU want
    them."""
    layers, heads, channels, directions = along.shape
    turned = along.new_empty(layers, directions, heads * channels, dtype=dtype).copy_(
        along.flatten(1, 2).transpose(1, 2)
    )
    return turned.transpose(1, 2).unflatten(1, (heads, channels))
