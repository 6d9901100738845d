"""Attention modules of open_clip, timm, Hugging Face and torch, read by the names of their parameters."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import SummandError
from .attention_maps import AttentionMaps
from .base import working
from .eager import exporting
from .effective import class_of, seen_through
from .linear import fold_norm, inverse_deviation, normed, optional_norm
from .plain import PlainMaps
from .probe import remedy
from .view import AttentionView
from .widened import Widened, address

_READABLE = (
    *("MultiheadAttention", "Attention", "EvaAttention", "AttentionRope", "RelPosAttention"),
    *("AttentionPoolLatent", "AttentionPool2d", "CLIPAttention", "SiglipAttention", "Siglip2Attention"),
    *("MetaClip2Attention", "AltCLIPAttention", "ChineseCLIPVisionAttention"),
)
_QK_NORMS = ("q_norm", "k_norm", "ln_q", "ln_k")
_AT_ONCE = 1 << 25  # numbers of attention rows that are held at the same time where every token is a query


class Attention:
    r"""One attention: q = W_Q x, k = W_K n, v = W_V n, row a = softmax(q kᵀ/√c + bias), then s_h, sub-LN and W_O.

    Plain weights are read anew at every use; what adapters, parametrizations and other layers amount to is read once,
    as `LinearMap` says. Query and key norms, rotary positions, cosine attention, relative position biases, head scales
    (NormFormer) and grouped keys and values are read where the module has them; a module that does something else is
    refused.
    """

    def __init__(self, module: nn.Module) -> None:
        module = seen_through(module)
        kind = class_of(module).__name__
        if not any(ancestor.__name__ in _READABLE for ancestor in type(module).__mro__):
            known = ", ".join(_READABLE)
            raise SummandError(f"its attention is a {kind}, which cannot be read ({known} can){remedy(module)}")
        if getattr(module, "gate", None) is not None:
            raise SummandError(f"its attention ({kind}) has an output gate, which is not fixed by the weights alone")
        if getattr(module, "bias_k", None) is not None or getattr(module, "add_zero_attn", False):
            raise SummandError(f"its attention ({kind}) adds keys that belong to no token")
        self.module: Any = module
        self._wide = Widened()
        self.heads: int = self.module.num_heads
        self._maps = AttentionMaps(module)
        self.out = self._maps.out
        """W_O and b_O as they act."""
        self.channels: int = self.out.shape[1] // self.heads
        inner = next((getattr(module, name) for name in ("ln_inner", "norm") if self._self_attends(name)), None)
        self.inner: Any = optional_norm(inner, "the norm inside its attention")
        self._plain_maps: tuple[tuple[Any, ...], PlainMaps | None] | None = None
        norms = (seen_through(getattr(module, name, None)) for name in (*_QK_NORMS, "logit_scale", "rel_pos"))
        self._plain = self.inner is None and all(norm is None or isinstance(norm, nn.Identity) for norm in norms)

    def _self_attends(self, name: str) -> bool:
        """An attention pool's `norm` belongs to its MLP, not to the attention."""
        return hasattr(self.module, name) and type(self.module).__name__ != "AttentionPoolLatent"

    def projection(self, which: int) -> tuple[Tensor | None, Tensor | None]:
        """Weight [head · channel, width] and bias of the query (0), key (1) or value (2) map; None: the identity."""
        return self._maps.projection(which)

    def value_map(self) -> tuple[Float[Tensor, "head channel width"], Float[Tensor, "head channel"]]:
        """W_V and b_V of every head; heads of a group share theirs."""
        maps = self.plain_maps()
        if maps is not None:
            return self._wide("value", maps.value[0]), self._wide("value bias", maps.value_bias[0])
        weight, bias = self.projection(2)
        assert weight is not None
        bias = weight.new_zeros(len(weight)) if bias is None else bias
        group = self.heads * self.channels // len(weight)
        weight, bias = weight.unflatten(0, (-1, self.channels)), bias.unflatten(0, (-1, self.channels))
        if group == 1:
            return weight, bias
        return weight.repeat_interleave(group, dim=0), bias.repeat_interleave(group, dim=0)

    def plain_maps(self, settled: bool = False) -> PlainMaps | None:
        """W_Q, W_K and W_V as the module holds them, as views that are made once for as long as they lie where they
        lie; settled: where the caller knows that they do. None where a row is more than one product and its softmax, or
        where heads share keys."""
        if not self._plain:
            return None
        if settled and self._plain_maps is not None:
            return self._plain_maps[1]
        fused = self._maps.fused()
        parts = [] if fused[0] is not None else [self._maps.own(which) for which in range(3)]
        lies = [each for part in (fused, *parts) for each in part]
        where = tuple(None if each is None else (address(each), each.dtype, each.device, each.shape) for each in lies)
        if self._plain_maps is None or self._plain_maps[0] != where:
            self._plain_maps = where, self._plain_parts(parts or [self._maps.own(which) for which in range(3)])
        return self._plain_maps[1]

    def _plain_parts(self, parts: list[tuple[Tensor | None, Tensor | None]]) -> PlainMaps | None:
        known = [(weight, bias) for weight, bias in parts if weight is not None]
        shapes = {(weight.shape, weight.dtype) for weight, _ in known}
        dtypes = {bias.dtype for _, bias in known if bias is not None} | {dtype for _, dtype in shapes}
        if len(known) < 3 or len(shapes) > 1 or len(dtypes) > 1:
            return None
        with torch.inference_mode(False), torch.no_grad():
            return PlainMaps.of(known, self.heads)

    def _one_query_maps(self) -> tuple[Tensor, Tensor, Tensor] | None:
        """W_Qᵀ [head, width, channel], b_Q [head, 1, channel], W_K [head, channel, width2]; None where queries are not
        mapped or heads share keys."""
        maps = self.plain_maps()
        if maps is not None:
            query, key = self._wide("query", maps.query[0]), self._wide("key", maps.key[0])
            bias = self._wide("query bias", maps.query_bias[0, 0])
            split = (self.heads, self.channels)
            return query.unflatten(0, split).transpose(1, 2), bias.unflatten(0, split)[:, None], key
        (query, bias), (key, _) = self.projection(0), self.projection(1)
        assert key is not None
        if query is None or len(query) != len(key):
            return None
        query, key = (weight.unflatten(0, (self.heads, self.channels)) for weight in (query, key))
        bias = query.new_zeros(self.heads * self.channels) if bias is None else bias
        return query.transpose(1, 2), bias.unflatten(0, (self.heads, self.channels))[:, None], key

    def logits(
        self,
        queries: Float[Tensor, "one_or_image query width"],
        tokens: Float[Tensor, "image token width2"],
        first: int = 0,
        rope: Tensor | None = None,
        shared_rel_pos: Tensor | None = None,
    ) -> tuple[Float[Tensor, "one_or_image head query read"], Float[Tensor, "image anyhead read token"], Tensor | None]:
        """Attention rows before the softmax, as two factors and a bias: logits = left @ right + bias.

        queries: what the queries are made of; in self-attention the tokens from `first` on. rope and shared_rel_pos:
        the positions that timm hands to every block.
        """
        m, split = self.module, (-1, self.channels)
        bias = self._position_bias(first, queries.shape[1], shared_rel_pos)
        norms = [seen_through(getattr(m, name, None)) for name in _QK_NORMS]
        cosine = getattr(m, "logit_scale", None)
        plain = rope is None and cosine is None and all(n is None or isinstance(n, nn.Identity) for n in norms)
        maps = self._one_query_maps() if plain and queries.shape[1] == 1 else None
        if maps is not None:
            # ⟨q, W_K n⟩ = ⟨W_Kᵀ q, n⟩: no key is ever built; the key bias shifts a whole row and drops out.
            one, root = queries.transpose(0, 1).expand(self.heads, -1, -1), self.channels**-0.5  # [head, image, width]
            query = torch.baddbmm(maps[1], one, maps[0], beta=root, alpha=root)
            return torch.bmm(query, maps[2]).transpose(0, 1)[:, :, None], tokens.transpose(1, 2)[:, None], bias
        query_weight, query_bias = self.projection(0)
        key_weight, key_bias = self.projection(1)
        assert key_weight is not None
        query = _linear(queries, query_weight, query_bias).unflatten(-1, split).transpose(1, 2)
        key = _linear(tokens, key_weight, key_bias).unflatten(-1, split).transpose(1, 2)
        if cosine is not None:  # Swin V2, arXiv:2111.09883
            strength = working(cosine).clamp(max=m.logit_scale_max).exp()
            return F.normalize(query, dim=-1) * strength, F.normalize(key, dim=-1).transpose(2, 3), bias
        query, key = normed(norms[0] or norms[2], query), normed(norms[1] or norms[3], key)
        if rope is not None:
            query, key = self._rotated(query, first, rope), self._rotated(key, 0, rope)
        group = self.heads // key.shape[1]
        key = key if group == 1 else key.repeat_interleave(group, dim=1)
        return query * self.channels**-0.5, key.transpose(2, 3), bias

    def _rotated(self, vectors: Tensor, first: int, rope: Tensor) -> Tensor:
        """Rotary positions as timm's EvaAttention applies them: not to the class and register tokens."""
        from timm.layers.pos_embed_sincos import apply_rot_embed_cat

        prefix = self.module.num_prefix_tokens
        start = max(prefix - first, 0)
        still, moving = vectors[:, :, :start], vectors[:, :, start:]
        begin = first + start - prefix
        rope = working(rope)[..., begin : begin + moving.shape[2], :]
        if moving.shape[2] == 0:
            return vectors
        moving = apply_rot_embed_cat(moving, rope, half=getattr(self.module, "rotate_half", False))
        return torch.cat([still, moving], dim=2)

    def _position_bias(self, first: int, count: int, shared: Tensor | None) -> Tensor | None:
        own = getattr(self.module, "rel_pos", None)
        bias = own.get_bias() if own is not None else shared
        return None if bias is None else working(bias)[:, :, first : first + count]

    def rows(
        self,
        queries: Float[Tensor, "one_or_image query width"],
        tokens: Float[Tensor, "image token width2"],
        **positions: Any,
    ) -> Float[Tensor, "image head query token"]:
        """softmax(q kᵀ/√c + bias) of every query; `queries` are the first tokens, or learned ones."""
        return softmax_of(*self.logits(queries, tokens, 0, **positions))

    def look(
        self,
        queries: Float[Tensor, "one_or_image query width"],
        tokens: Float[Tensor, "image token width2"],
        weights: Float[Tensor, "image query"],
        first: int = 0,
        out_norm: nn.Module | None = None,
        **positions: Any,
    ) -> tuple[AttentionView, Float[Tensor, " image"]]:
        r"""What Σ_q w_q · attention(q) reads, as one row: row_i = Σ_q w_q a_{q,i} / (σ_q^inner σ_q^out).

        The σ are those of the sub-LN inside the attention and of a norm behind it, held at the values of this pass.
        Second result: Σ_q w_q / σ_q^out, what the constants of this layer are multiplied with.
        """
        if self._plain and out_norm is None and not positions and queries.shape[1] == 1:
            maps = self._one_query_maps()
            if maps is not None:
                return self._glance(maps, queries, tokens, weights[:, 0])
        left, right, bias = self.logits(queries, tokens, first, **positions)
        value_weight, value_bias = self.value_map()
        images, heads, count = tokens.shape[0], self.heads, queries.shape[1]
        row: Tensor | None = None
        mass: Tensor | None = None
        step = count if exporting() else max(1, _AT_ONCE // (images * heads * tokens.shape[1]))
        for begin in range(0, count, step):
            some = slice(begin, begin + step)
            rows = softmax_of(left[:, :, some], right, None if bias is None else bias[:, :, some])
            share = outer = weights[:, some]
            if self.inner is not None or out_norm is not None:
                outputs = torch.einsum("ihqt,itw,hcw->iqhc", rows, tokens, value_weight) + value_bias
                outputs = (outputs * self.head_scale()[:, None]).flatten(2)
                if out_norm is not None:
                    outer = weights[:, some] * inverse_deviation(out_norm, self.project_out(outputs))
                share = outer if self.inner is None else outer * inverse_deviation(self.inner, outputs)
            read = share[..., None] * rows[:, :, 0] if count == 1 else torch.einsum("iq,ihqt->iht", share, rows)
            row = read if row is None else row + read
            mass = outer.sum(dim=1) if mass is None else mass + outer.sum(dim=1)
        assert row is not None
        assert mass is not None
        return AttentionView(row, tokens, value_weight, value_bias), mass

    def _glance(
        self, maps: tuple[Tensor, Tensor, Tensor], query: Tensor, tokens: Tensor, weight: Float[Tensor, " image"]
    ) -> tuple[AttentionView, Float[Tensor, " image"]]:
        """`look` of one plain query, ⟨W_Kᵀ q, n⟩ as in `logits`, in as few steps as there are: it is what most models
        need in every layer, and at this size a step costs as much as what it computes."""
        one, root = query.transpose(0, 1).expand(self.heads, -1, -1), self.channels**-0.5  # [head, image, width]
        queries = torch.baddbmm(maps[1], one, maps[0], beta=root, alpha=root)
        row = (torch.bmm(queries, maps[2]).transpose(0, 1) @ tokens.transpose(1, 2)).softmax(dim=-1)
        return AttentionView(weight[:, None, None] * row, tokens, *self.value_map()), weight

    def project_out(self, outputs: Float[Tensor, "*batch channels"]) -> Float[Tensor, "*batch width"]:
        """The heads' outputs, already times s_h, through the sub-LN and W_O, as the module does it and in its
        precision."""
        weight = self.out.weight
        return working(_linear(normed(self.inner, outputs).to(weight.dtype), weight, self.out.bias))

    def write_directions(self) -> Float[Tensor, "head channel width"]:
        """s_h (I − 11ᵀ/C) diag(γ) W_Oᵀ, with the sub-LN at unit σ."""
        weight = self._wide("out", self.out.weight).T
        weight = weight if self.inner is None else fold_norm(self.inner, weight)
        return weight.unflatten(0, (self.heads, self.channels)) * self.head_scale()[:, None, None]

    def constant(self) -> Float[Tensor, " width"]:
        """β_inner W_Oᵀ + b_O."""
        bias = self.out.bias
        wide = self._wide("out", self.out.weight)
        constant = wide.new_zeros(self.out.shape[0]) if bias is None else self._wide("out bias", bias)
        beta = None if self.inner is None else self.inner.bias
        return constant if beta is None else constant + wide @ working(beta)

    def outputs(self, values: Float[Tensor, "image head channel"]) -> Float[Tensor, "image channels"]:
        """Σ_i a_i v_i of all heads, times s_h: what the sub-LN and W_O read. Only for values of one plain query."""
        if getattr(self.module, "head_scale", None) is not None:
            values = values * self.head_scale()[:, None]
        return values.flatten(1)

    def head_scale(self) -> Float[Tensor, " head"]:
        """s_h; ones where the module has none."""
        scale = getattr(self.module, "head_scale", None)  # NormFormer, arXiv:2110.09456
        return (
            self._wide("out", self.out.weight).new_ones(self.heads)
            if scale is None
            else working(scale).reshape(self.heads)
        )

    def parameters(self) -> list[Tensor]:
        """Everything that `write_directions` depends on."""
        found = [self.out.weight, getattr(self.module, "head_scale", None), getattr(self.inner, "weight", None)]
        return [tensor for tensor in found if tensor is not None]


def softmax_of(left: Tensor, right: Tensor, bias: Tensor | None) -> Float[Tensor, "image head query token"]:
    """softmax(left @ right + bias); where all heads share the right factor it is not repeated for each."""
    if right.shape[1] == 1:
        images = max(left.shape[0], right.shape[0])
        logits = left.flatten(1, 2).expand(images, -1, -1) @ right[:, 0]
        logits = logits.unflatten(1, left.shape[1:3])
    else:
        logits = left @ right
    return (logits if bias is None else logits + bias).softmax(dim=-1)


def _linear(tokens: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    return tokens if weight is None else F.linear(tokens, weight, bias)
