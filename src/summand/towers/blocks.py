"""Residual blocks of open_clip, timm and Hugging Face, read by the names of their parts."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from ..errors import SummandError
from .attention import Attention
from .base import working
from .effective import LinearMap, class_of, seen_through
from .linear import fold_norm, normed, optional_norm
from .plain import PlainMaps
from .probe import named, remedy
from .products import HALVES
from .view import AttentionView

_READABLE = (
    *("ResidualAttentionBlock", "CustomResidualAttentionBlock", "Block", "ResPostBlock"),
    *("EvaBlock", "EvaBlockPostNorm", "RelPosBlock", "ResPostRelPosBlock", "CLIPEncoderLayer", "SiglipEncoderLayer"),
    *("Siglip2EncoderLayer", "MetaClip2EncoderLayer", "AltCLIPEncoderLayer", "ChineseCLIPVisionLayer"),
)
_HANDED = ("EvaBlock", "EvaBlockPostNorm", "RelPosBlock", "ResPostRelPosBlock")
"""Blocks that are handed positions beside their tokens."""
_POST_NORM = ("ResPostBlock", "EvaBlockPostNorm", "ResPostRelPosBlock")


class Block:
    r"""z' = z + Λ₁ N₁(attention(N(z))), z'' = z' + MLP: N before (pre-norm) or N₁ behind (post-norm, NormFormer).

    Λ: LayerScale. N₁ is linear at its σ, so that heads still write along fixed directions.
    """

    def __init__(self, module: nn.Module) -> None:
        module = seen_through(module)
        kind = _kind(module)
        if kind is None:
            what, known = class_of(module).__name__, ", ".join(_READABLE)
            raise SummandError(f"its blocks are {what}, which cannot be read ({known} can){remedy(module)}")
        self.module: Any = module
        self.attention = Attention(self._part("attn", "self_attn"))
        self._maps: dict[str, LinearMap] = {}
        first, second = self._part("ln_1", "norm1", "layer_norm1"), self._part("ln_2", "norm2", "layer_norm2")
        self.post, self.handed = kind in _POST_NORM, kind in _HANDED
        self.before: Any = None if self.post else first
        behind = first if self.post else getattr(module, "ln_attn", None)
        self.out_norm = optional_norm(behind, "the norm behind its attention")
        self.second: Any = second
        self.before_mlp: nn.Module = self.module.mlp if self.post else second
        """Reads the stream between attention and MLP."""

    def _part(self, *names: str) -> Any:
        return seen_through(next(getattr(self.module, name) for name in names if hasattr(self.module, name)))

    def _scaled(self, which: int, vectors: Tensor) -> Tensor:
        """LayerScale (1 behind the attention, 2 behind the MLP) where the block has one."""
        gamma = self._gamma(which)
        return vectors if gamma is None else vectors * working(gamma)

    def _gamma(self, which: int) -> Tensor | None:
        m = self.module
        layer_scale = seen_through(getattr(m, f"ls_{which}", getattr(m, f"ls{which}", None)))
        return getattr(m, f"gamma_{which}", None) if layer_scale is None else getattr(layer_scale, "gamma", None)

    def attention_input(self, tokens: Tensor) -> Tensor:
        return tokens if self.before is None else self.before(tokens)

    def look(
        self, inputs: Tensor, weights: Tensor, first: int, positions: dict[str, Any]
    ) -> tuple[AttentionView, Tensor]:
        queries = inputs[:, first : first + weights.shape[1]]
        return self.attention.look(queries, inputs, weights, first, self.out_norm, **positions)

    def plain_maps(self, inputs: Tensor, settled: bool = False) -> PlainMaps | None:
        """The maps of an attention that a class token reads plainly, if they read such inputs as they are."""
        maps = None if self.out_norm is not None else self.attention.plain_maps(settled)
        if maps is None or (maps.query.dtype in HALVES and inputs.dtype != maps.query.dtype):
            return None
        return maps

    def write(self, outputs: Float[Tensor, "*batch channels"]) -> Float[Tensor, "*batch width"]:
        """What the attention adds to the stream of a token whose heads gave `outputs`."""
        return self._scaled(1, normed(self.out_norm, self.attention.project_out(outputs)))

    def plain_outputs(
        self, view: AttentionView | None, values: Tensor, inputs: Tensor, positions: dict[str, Any]
    ) -> Tensor:
        """The heads' outputs of the class token, free of the σ that the view's row and its `values` carry."""
        if self.out_norm is None and self.attention.inner is None:
            return self.attention.outputs(values)
        assert view is not None  # such a layer never waits
        inputs = working(inputs)
        rows = self.attention.rows(inputs[:, :1], inputs, **positions)
        plain = AttentionView(rows[:, :, 0], view.inputs, view.value_weight, view.value_bias)
        return self.attention.outputs(plain.values())

    def mlp(self, middle: Float[Tensor, "image token width"]) -> Float[Tensor, "image token width"]:
        m = self.module
        written = self.second(m.mlp(middle)) if self.post else m.mlp(self.second(middle))
        return self._scaled(2, working(written))

    def added(self, written: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        """What the block adds to the stream where its MLP's module gives this."""
        return self._scaled(2, normed(self.second, written) if self.post else written)

    def scaled_mlp(self, written: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        """What the MLP's module gives, as it is added to the stream."""
        return self._scaled(2, written)

    @property
    def plain(self) -> bool:
        """A LayerNorm before the attention, and none behind or inside it."""
        return isinstance(self.before, nn.LayerNorm) and self.out_norm is None and self.attention.inner is None

    def neuron_map(self) -> Any:
        """The module of the MLP's output map: it reads the neurons, behind the non-linearity. `neuron_output` has its
        weights."""
        return self.neuron_output().module

    def neuron_reads(self) -> Any:
        """The module of the MLP's input map. `neuron_input` has its weights."""
        return self.neuron_input().module

    def neuron_output(self) -> LinearMap:
        """The MLP's output map, as it acts."""
        return self._mlp_map(("c_proj", "fc2"), "does not end in one linear map, so it has no neurons")

    def neuron_input(self) -> LinearMap:
        """The MLP's input map, as it acts."""
        return self._mlp_map(("c_fc", "fc1"), "does not begin with one linear map")

    def _mlp_map(self, names: tuple[str, ...], otherwise: str) -> LinearMap:
        mlp = seen_through(self.module.mlp)
        name = next((name for name in names if isinstance(getattr(mlp, name, None), nn.Module)), None)
        if name is None:
            raise SummandError(f"its MLP ({named(mlp)}) {otherwise}")
        layer, kept = getattr(mlp, name), self._maps.get(name)
        if kept is None or kept.layer is not layer:
            kept = LinearMap(layer, f"its MLP's {name}")
            if not isinstance(kept.module, nn.Linear):
                kept.weight  # whether it is one
            self._maps[name] = kept
        return kept

    def neuron_writes(self) -> Float[Tensor, "neuron width"]:
        """What each neuron adds to the stream at activation one, through LayerScale."""
        return self._scaled(2, working(self.neuron_output().weight).T)

    def value_reads(self, centred: bool = True) -> Float[Tensor, "width head_channel"]:
        """(I − 11ᵀ/D) diag(γ) W_Vᵀ: from the stream to all heads' values, with ln_1 at unit σ.

        centred=False leaves the first factor out, as where μ is dealt out separately."""
        weight, _ = self.attention.value_map()
        following = weight.flatten(0, 1).T
        if centred:
            return fold_norm(self.before, following)
        return following if self.before.weight is None else working(self.before.weight)[:, None] * following

    def value_constants(self) -> Float[Tensor, "head channel"]:
        """W_V β + b_V: what every token's values hold whatever the token is."""
        weight, bias = self.attention.value_map()
        shift = self.before.bias
        return bias if shift is None else bias + weight @ working(shift)

    def neuron_bias(self) -> Float[Tensor, " width"]:
        """What the MLP adds to the stream when every neuron is silent, through LayerScale."""
        linear = self.neuron_output()
        silent = working(linear.weight).new_zeros(len(linear.weight)) if linear.bias is None else working(linear.bias)
        return self._scaled(2, silent)

    def directions(self, folded: Float[Tensor, "width embed"]) -> Float[Tensor, "head channel embed"]:
        """W_O F of every head, through what stands between: the sub-LN, N₁ and LayerScale, each at unit σ."""
        gamma = self._gamma(1)
        following = folded if gamma is None else working(gamma)[:, None] * folded
        following = following if self.out_norm is None else fold_norm(self.out_norm, following)
        return self.attention.write_directions() @ following

    def constant(self, mass: Float[Tensor, " image"], whole: Float[Tensor, " image"]) -> Float[Tensor, "image width"]:
        """Output bias and norm shifts as the pooled query meets them: mass = Σ w_q/σ_q^out, whole = Σ w_q."""
        constant = self.attention.constant()
        if self.out_norm is None:
            return mass[:, None] * self._scaled(1, constant)
        constant = constant - constant.mean()
        if self.out_norm.weight is not None:
            constant = constant * working(self.out_norm.weight)
        constant = mass[:, None] * self._scaled(1, constant)
        if self.out_norm.bias is not None:
            constant = constant + whole[:, None] * self._scaled(1, working(self.out_norm.bias))
        return constant

    def parameters(self) -> list[Tensor]:
        """Everything that `directions` depends on."""
        found = [*self.attention.parameters(), self._gamma(1), getattr(self.out_norm, "weight", None)]
        return [tensor for tensor in found if tensor is not None]


def _kind(module: nn.Module) -> str | None:
    """Which readable block a module is: its own class, or the nearest one that it extends. Whether it still does what
    that class does is for the guard to measure."""
    return next((ancestor.__name__ for ancestor in class_of(module).__mro__ if ancestor.__name__ in _READABLE), None)
