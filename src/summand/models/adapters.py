"""What people wrap a CLIP in: taken off where it adds nothing, else refused with what to pass instead."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import SummandError, listed
from ..towers import tower_of
from ..towers.eager import can_run_eagerly, is_compiled
from ..towers.hf import KINDS
from .findings import findings

__all__ = ["device_of", "findings", "image_dtype", "unwrapped"]

_HANDS_ON = (
    *("DataParallel", "DistributedDataParallel", "AveragedModel", "ModelEma", "ModelEmaV2", "ModelEmaV3"),
    *("_FabricModule", "DeepSpeedEngine"),
)
"""Classes that compute what their `module` computes."""
_WHOLE = (
    "gather it (torch.distributed.checkpoint.state_dict.get_model_state_dict with "
    "StateDictOptions(full_state_dict=True)), load that into the same model without sharding, and wrap that"
)


def unwrapped(model: Any) -> nn.Module:
    """The CLIP inside what a training library put around it; a model without wrapping comes back as it is.

    Taken off: DataParallel and DDP, `torch.compile`, peft's models (adapters stay where they are and are read),
    averaged models, Fabric, several of them around each other. Raises `SummandError`, with the way out, for weights
    that are not here (sharded, offloaded, on meta), for TorchScript, and for a module that holds a CLIP among other
    things.
    """
    if not isinstance(model, nn.Module):
        raise SummandError(f"expected a CLIP as a torch.nn.Module, got {type(model).__name__}{_inside(model)}")
    while True:
        _refuse(model)
        inner = _inner(model)
        if inner is None:
            break
        model = inner
    _check_tensors(model)
    _check_activations(model)
    if is_clip(model):
        if not can_run_eagerly() and any(is_compiled(module) for module in model.modules()):
            raise SummandError(
                f"{type(model).__name__} has compiled modules, which torch {torch.__version__} cannot run with hooks; "
                "use torch 2.6 or later, or wrap the model from before torch.compile"
            )
        return model
    # transformers' models for other tasks are refused by their names
    held = [] if type(model).__module__.startswith("transformers.") else list(_held(model))
    if held:
        pass_on = " or ".join(f"summand.wrap(module.{name})" for name in held[:3])
        raise SummandError(
            f"{type(model).__name__} is no CLIP but holds one as {listed((f'`.{name}`' for name in held), 3)}; what it "
            f"does around it would not be explained: pass {pass_on}"
        )
    return model


def is_clip(model: nn.Module) -> bool:
    """Whether a module looks like a model with an image tower of open_clip, CLIP or transformers."""
    if any(ancestor.__name__ in KINDS for ancestor in type(model).__mro__):
        return True
    return getattr(model, "visual", None) is not None


def _named(model: nn.Module, *names: str) -> bool:
    return any(ancestor.__name__ in names for ancestor in type(model).__mro__)


def _inner(model: Any) -> nn.Module | None:
    """What is inside a wrapper that adds nothing; None for no wrapper."""
    found = None
    if type(model).__name__ == "OptimizedModule":
        found = model._orig_mod
    elif _named(model, *_HANDS_ON):
        found = getattr(model, "module", None)
    elif _named(model, "PeftModel", "PeftMixedModel"):
        found = model.get_base_model() if "get_base_model" in dir(type(model)) else model.base_model
    elif _named(model, "BaseTuner"):
        found = model.model
    return found if isinstance(found, nn.Module) and found is not model else None


def _inside(thing: Any) -> str:
    """What to pass in place of something that is no module, as the end of a sentence."""
    if isinstance(thing, (tuple, list)):
        place = next((i for i, each in enumerate(thing) if isinstance(each, nn.Module)), None)
        return "" if place is None else f"; pass its element {place}, and preprocess= and tokenizer= by name"
    for name in ("ema", "module", "model", "clip"):
        if isinstance(getattr(thing, name, None), nn.Module):
            return f"; pass its `.{name}`"
    return ""


def _refuse(model: nn.Module) -> None:
    """Raises `SummandError` for what cannot be read whatever is inside."""
    name = type(model).__name__
    scripted = next((key for key, module in model.named_modules() if isinstance(module, torch.jit.ScriptModule)), None)
    if scripted is not None:
        raise SummandError(
            f"{name} is {f'in part ({scripted}) ' if scripted else ''}compiled by TorchScript, whose parts cannot be "
            "watched; wrap the model that it was scripted or traced from, or load it with jit=False"
        )
    if isinstance(model, torch.fx.GraphModule):
        raise SummandError(f"{name} is a traced graph without its modules; wrap the model that it was traced from")
    if _named(model, "FullyShardedDataParallel") or any(_named(m, "FullyShardedDataParallel") for m in model.modules()):
        raise SummandError(f"{name} is sharded by FSDP, so its weights are not here as they are: {_WHOLE}")


def _check_tensors(model: nn.Module) -> None:
    """Raises `SummandError` where weights are on other devices or processes."""
    name = type(model).__name__
    tensors = [(key, t) for key, t in (*model.named_parameters(), *model.named_buffers())]
    sharded = next((key for key, t in tensors if _is_sharded(t)), None)
    if sharded is not None:
        raise SummandError(f"{name} is sharded ({sharded} is only a part of the weight): {_WHOLE}")
    absent = next((key for key, t in tensors if t.is_meta), None)
    if absent is not None:
        if any(hasattr(module, "_hf_hook") for module in model.modules()):
            raise SummandError(
                f"{name} is offloaded by accelerate ({absent} is not in memory but fetched for each layer); load the "
                "model without device_map=, or with enough memory for all of it on one device"
            )
        tower_of(model)  # what is no supported model says that instead
        raise SummandError(f"{name} has no weights yet ({absent} is on the meta device); load them, then wrap it")
    placed = getattr(model, "hf_device_map", None) or {}
    devices = list(dict.fromkeys(str(device) for device in placed.values()))
    if len(devices) > 1:
        raise SummandError(
            f"{name} is spread over several devices by device_map ({', '.join(devices)}); load it without device_map= "
            "and put it on one with .to(device)"
        )


def _check_activations(model: nn.Module) -> None:
    """Raises `SummandError` where torch's own quantised layers round what passes, by a range that they take from the
    whole batch: no term of such a model is a number of its own image."""
    for key, module in model.named_modules():
        origin = type(module).__module__
        packed: Any = getattr(module, "_packed_params", None)
        if ".nn.quantized." in origin and isinstance(packed, nn.Module) and packed.dtype != torch.float16:
            raise SummandError(
                f"{type(model).__name__} has activations quantised to eight bits (at {key}), so no sum of terms is "
                "exact; wrap the model from before quantisation"
            )


def _is_sharded(tensor: Tensor) -> bool:
    if any(ancestor.__name__ in ("DTensor", "ShardedTensor") for ancestor in type(tensor).__mro__):
        return True
    return hasattr(tensor, "ds_id") and tensor.numel() == 0  # DeepSpeed ZeRO-3


def _held(model: nn.Module) -> Iterator[str]:
    """Names of the outermost CLIPs below a module."""
    found: list[str] = []
    for name, module in model.named_modules():
        if name and not any(name.startswith(f"{above}.") for above in found):
            inner = _inner(module)
            if is_clip(module) or (inner is not None and is_clip(inner)):
                found.append(name)
                yield name


def device_of(module: nn.Module) -> torch.device:
    """Where a module's tensors are; the CPU for one that keeps them where torch does not look (packed weights)."""
    for tensor in chain(module.parameters(), module.buffers()):  # the first one, of thousands
        return tensor.device
    return torch.device("cpu")


def image_dtype(module: nn.Module) -> torch.dtype:
    """What an image tower computes in: the precision of its first convolution or linear layer. Its LayerNorms and
    positions may be kept in fp32 beside bf16 weights, and quantised layers have no floating-point weight at all."""
    for each in module.modules():
        weight = getattr(each, "weight", None) if isinstance(each, (nn.Conv2d, nn.Linear)) else None
        if isinstance(weight, Tensor) and weight.dtype.is_floating_point:
            return weight.dtype
    for tensor in chain(module.parameters(), module.buffers()):
        if tensor.dtype.is_floating_point:
            return tensor.dtype
    return torch.float32
