"""The linear maps of an attention module (query, key, value, output), wherever it keeps them, as they act."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor, nn

from ..errors import SummandError, first_line
from .effective import LinearMap, reader
from .probe import made_once, remedy, stripped
from .widened import Widened

_BY_PARAMETERS = ("MultiheadAttention", "AttentionPool2d")
"""Classes that read the parameters of their linear layers and never call them."""


class AttentionMaps:
    """W_Q, W_K, W_V and W_O of an attention of torch, open_clip, timm or Hugging Face, by the names of its parameters.

    out: W_O and b_O. layers: what errors call the layers, before their names.
    """

    def __init__(self, module: nn.Module, layers: str = "its attention's") -> None:
        self._module: Any = _Merged(module) if is_adapted(module) else module
        self._calls = not any(ancestor.__name__ in _BY_PARAMETERS for ancestor in type(module).__mro__)
        self._layers = layers
        self._wide = Widened()
        self._maps: dict[str, LinearMap] = {}
        self._fused = reader(self._module, "in_proj_weight"), reader(self._module, "in_proj_bias")
        self.out = self._map(next(name for name in ("out_proj", "proj", "c_proj") if hasattr(self._module, name)))

    def fused(self) -> tuple[Tensor | None, Tensor | None]:
        """Weight and bias of query, key and value in one, where the module keeps them so."""
        return self._fused[0](), self._fused[1]()

    def projection(self, which: int) -> tuple[Tensor | None, Tensor | None]:
        """Weight [head · channel, width] and bias of the query (0), key (1) or value (2) map, in working precision;
        None: the identity."""
        weight, bias = self.own(which)
        name = "qkv"[which]
        return self._wide.of(name, weight), self._wide.of(f"{name} bias", bias)

    def own(self, which: int) -> tuple[Tensor | None, Tensor | None]:
        """The same in the model's own precision."""
        m, name = self._module, "qkv"[which]
        weight, bias = self.fused()
        if weight is not None:
            weight, bias = _third(weight, which), None if bias is None else _third(bias, which)
        elif getattr(m, f"{name}_proj_weight", None) is not None:
            weight, bias = getattr(m, f"{name}_proj_weight"), None if bias is None else _third(bias, which)
        elif getattr(m, "qkv", None) is not None:
            weight, bias = self._part_of_qkv(which)
        elif getattr(m, f"{name}_proj", None) is not None:
            weight, bias = self._whole(f"{name}_proj")
        elif name != "q":
            (weight, bias), which = self._whole("kv"), which - 1
            weight, bias = weight.chunk(2)[which], None if bias is None else bias.chunk(2)[which]
        elif isinstance(m.q, nn.Identity):
            return None, None
        else:
            weight, bias = self._whole("q")
        return weight, bias

    def _whole(self, name: str) -> tuple[Tensor, Tensor | None]:
        found = self._map(name)
        return found.weight, found.bias

    def _part_of_qkv(self, which: int) -> tuple[Tensor, Tensor | None]:
        """timm's Eva has biases of its own: added to what the layer gives, or else in place of the layer's bias, and
        then the layer is not called."""
        own = getattr(self._module, f"{'qkv'[which]}_bias", None)
        called = own is None or getattr(self._module, "qkv_bias_separate", False)
        found = self._map("qkv", called)
        bias = found.bias if called else None
        bias = None if bias is None else bias.chunk(3)[which]
        if own is not None:
            bias = own if bias is None else bias + own
        return found.weight.chunk(3)[which], bias

    def _map(self, name: str, called: bool = True) -> LinearMap:
        layer, kept = getattr(self._module, name), self._maps.get(name)
        if kept is None or kept.layer is not layer:
            kept = self._maps[name] = LinearMap(layer, f"{self._layers} {name}", called and self._calls)
        return kept


def is_adapted(module: Any) -> bool:
    """Whether this is peft's LoRA around torch's attention."""
    base = module.get_base_layer() if hasattr(module, "get_base_layer") and hasattr(module, "lora_A") else None
    return isinstance(base, nn.MultiheadAttention)


class _Merged:
    """`nn.MultiheadAttention` under peft's LoRA with the weights that peft gives it for the duration of its forward:
    what `merge` of the active adapters leaves in a copy of it."""

    @made_once()
    def __init__(self, wrapper: Any) -> None:
        base = wrapper.get_base_layer()
        if wrapper.disable_adapters != bool(wrapper.merged):  # its forward uses what is there
            self.in_proj_weight, self.out_proj = base.in_proj_weight, _Layer(base.out_proj.weight, base.out_proj.bias)
        else:
            try:
                copied: Any = copy.deepcopy(stripped(wrapper))
            except Exception as error:
                raise SummandError(
                    f"the adapters of its attention cannot be merged in a copy ({first_line(error)}){remedy(wrapper)}"
                ) from error
            if wrapper.disable_adapters:
                copied.unmerge()
            else:
                copied.merge(adapter_names=[name for name in copied.active_adapters if name in copied.lora_A])
            made = copied.get_base_layer()
            self.in_proj_weight = made.in_proj_weight.detach().to(base.in_proj_weight)
            self.out_proj = _Layer(made.out_proj.weight.detach().to(base.out_proj.weight), base.out_proj.bias)
        self.in_proj_bias: Tensor | None = base.in_proj_bias


class _Layer:
    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self.weight, self.bias = weight, bias


def _third(fused: Tensor, which: int) -> Tensor:
    """The query's, the key's or the value's part; one view where `chunk` makes three."""
    return fused.narrow(0, which * (len(fused) // 3), len(fused) // 3)
