"""Which tensors of a checkpoint are the CLIP: training checkpoints, wrappers, averages, prefixes and towers alone."""

from __future__ import annotations

import re
import warnings
from typing import Any

from torch import Tensor

from ..errors import SummandError, SummandWarning, listed, nearest

_NESTED = ("state_dict", "model_state_dict", "model", "module", "clip", "network", "net", "weights", "params")
_WRAPPERS = frozenset(
    ("module", "_orig_mod", "_forward_module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_ddp_module")
)  # DistributedDataParallel, torch.compile, Fabric, FSDP, activation checkpointing
_OTHER_STATE = re.compile(r"optim|sched|scaler|callback|loop|hyper_?param|hparam|args|config|rng|loss_fn|metric")
_AVERAGED = re.compile(r"(^|[_.])(ema|swa|averaged?|moving_average)([_.]|$)", re.IGNORECASE)
_COUNTERS = frozenset(("n_averaged", "initted", "step", "num_updates", "decay", "global_step"))
_IMAGES = ("visual", "image_encoder")
_TEXTS = ("token_embedding.weight", "text.token_embedding.weight", "text.transformer", "text_encoder")
_TRUNK = ("trunk",)
# Names that an image tower has where its own name is left out (timm's, open_clip's), and what open_clip calls it.
_ALONE = (("patch_embed.proj.weight", "visual.trunk."), ("conv1.weight", "visual."))


def clip_tensors(found: Any, part: str | None, source: str) -> dict[str, Tensor]:
    """The tensors of one CLIP, by the names that open_clip gives them, from whatever a checkpoint file holds.

    part: which of several, else the only one. Raises `SummandError` that names the parts where there are several, and
    what else is among the weights. Warns where averaged weights (EMA) are read, or passed over.
    """
    if part is not None:
        found = _part(found, part, source)
    found = _without_wrappers(_state(found, part is not None, source))
    return _long_text(_root(found, part, source))


def _state(found: Any, asked: bool, source: str) -> dict[str, Any]:
    """The dict of names inside of a training checkpoint."""
    if not isinstance(found, dict) or not found:
        what = "nothing" if isinstance(found, dict) else type(found).__name__
        raise SummandError(f"{source} holds no weights by name but {what}; save model.state_dict()")
    for _ in range(4):
        inside = {key: value for key, value in found.items() if _is_state(key, value)}
        if not inside or any(isinstance(value, Tensor) and "." in str(key) for key, value in found.items()):
            break
        averaged = [key for key in inside if _AVERAGED.search(str(key))]
        plain = [key for key in inside if key not in averaged]
        usual = [key for key in _NESTED if key in plain]
        if usual or len(plain) == 1:
            key = (usual or plain)[0]
            if averaged and not asked:
                _say_passed_over(source, str(key), str(averaged[0]))
            if left := [str(other) for other in plain if other != key]:
                warnings.warn(
                    f"{source} holds other weights beside {key!r}, which are not read: {listed(left)}",
                    SummandWarning,
                    stacklevel=2,
                )
        elif not plain:
            key = averaged[0]
            _say_averaged(source, str(key))
        else:
            raise SummandError(f"{source} holds several sets of weights; say which: {_choices(source, plain)}")
        found = inside[key]
    return found


def _is_state(key: Any, value: Any) -> bool:
    """Whether it holds tensors, itself or one level below, and is not an optimizer's."""
    if not isinstance(value, dict) or not value or _OTHER_STATE.search(str(key).lower()):
        return False
    return any(
        isinstance(item, Tensor) or (isinstance(name, str) and _is_state(name, item)) for name, item in value.items()
    )


def _part(found: Any, part: str, source: str) -> Any:
    """What is under a key, else the tensors whose names begin so."""
    here, rest = found, part
    while isinstance(here, dict):
        if isinstance(here.get(rest), dict):
            return here[rest]
        head, _, below = rest.partition(".")
        if below and isinstance(here.get(head), dict):
            here, rest = here[head], below
            continue
        if inside := {name: value for name, value in here.items() if str(name).startswith(f"{rest}.")}:
            return {name.removeprefix(f"{rest}."): value for name, value in inside.items()}
        nested = next((key for key in _NESTED if isinstance(here.get(key), dict)), None)
        here = here[nested] if nested is not None else None
    firsts = dict.fromkeys(str(name).partition(".")[0] for name in _keys(found))
    raise SummandError(f"{source} has no part {part!r}{nearest(part, firsts)} (there are {listed(firsts)})")


def _keys(found: Any) -> list[str]:
    if not isinstance(found, dict):
        return []
    keys = [str(key) for key, value in found.items() if isinstance(value, (dict, Tensor))]
    return keys + [key for name in _NESTED for key in _keys(found.get(name))]


def _without_wrappers(found: dict[str, Any]) -> dict[str, Any]:
    short = [".".join(piece for piece in str(name).split(".") if piece not in _WRAPPERS) for name in found]
    return dict(zip(short, found.values(), strict=True)) if len(set(short)) == len(short) else found


def _root(found: dict[str, Any], part: str | None, source: str) -> dict[str, Tensor]:
    """The tensors behind the prefix of the one CLIP, such as Lightning's `model.`."""
    _check_layout(found, source)
    tensors = {name: value for name, value in found.items() if isinstance(value, Tensor)}
    roots = _roots(tensors)
    averaged = [root for root in roots if _AVERAGED.search(root)]
    plain = [root for root in roots if root not in averaged]
    if len(plain) > 1:
        said = _choices(source, [root.removesuffix(".") for root in plain if root], part)
        raise SummandError(f"{source} holds several CLIPs under the names {_quoted(plain)}; say which: {said}")
    root = (plain or averaged or [""])[0]
    if averaged and not plain:
        _say_averaged(source, root.removesuffix("."))
    if "n_averaged" in found and part is None:
        _say_averaged(source, "torch.optim.swa_utils.AveragedModel")
    chosen = {n.removeprefix(root): value for n, value in found.items() if n.startswith(root) and n not in _COUNTERS}
    passed = [n for n in found if root and not n.startswith(root) and _AVERAGED.search(n.rpartition(".")[0])]
    others = [n for n in found if not n.startswith(root) and n not in passed and n not in _COUNTERS]
    if others:
        raise SummandError(
            f"{source} holds more than a CLIP under {root!r}: {listed(others, most=4)}. To leave that out on purpose, "
            f"say which part is meant: {_choices(source, [root.removesuffix('.')], part)}"
        )
    if passed and part is None:
        _say_passed_over(source, root.removesuffix("."), passed[0].partition(".")[0])
    strange = next((name for name, value in chosen.items() if not isinstance(value, Tensor)), None)
    if strange is not None:
        raise SummandError(
            f"{source} holds more than weights ({strange!r} is {type(chosen[strange]).__name__}); "
            f"save model.state_dict() alone"
        )
    return _named(chosen)


def _check_layout(names: Any, source: str) -> None:
    """Raise `SummandError` for weights that are no open_clip model's, and say whose."""
    pieces = {piece for name in names for piece in str(name).split(".")}
    if pieces & {"vision_model", "text_model"}:
        raise SummandError(
            f"{source} is in the layout of transformers; save that model with save_pretrained(FOLDER) and load "
            f"hf:FOLDER"
        )
    if any(piece.startswith(("lora_", "modules_to_save", "ia3_")) or piece == "base_layer" for piece in pieces):
        raise SummandError(
            f"{source} holds an adapter that is not merged (LoRA or its like); save the state_dict of "
            f"model.merge_and_unload()"
        )
    if "parametrizations" in pieces:
        raise SummandError(
            f"{source} holds parametrised weights; take them off with "
            f"torch.nn.utils.parametrize.remove_parametrizations before model.state_dict() is saved"
        )


def _roots(tensors: dict[str, Tensor]) -> list[str]:
    """Prefixes behind which the names of a CLIP, or of one of its towers, begin."""
    for anchors in (_IMAGES, _TEXTS, _TRUNK):
        found = dict.fromkeys(root for name in tensors for root in _before(name, anchors))
        if found:
            whole = [root for root in found if any(f"{root}{text}" in tensors for text in _TEXTS[:2])]
            return whole if anchors is _IMAGES and len(whole) == 1 else list(found)
    for marker, _ in _ALONE:
        ends = [name.removesuffix(marker) for name in tensors if f".{name}".endswith(f".{marker}")]
        if ends:
            return [min(ends, key=len)]
    return []


def _before(name: str, anchors: tuple[str, ...]) -> list[str]:
    """What stands before the first of these anchors in a name.

    >>> _before("model.visual.conv1.weight", ("visual",))
    ['model.']
    """
    padded = f".{name}."
    places = [padded.find(f".{anchor}.") for anchor in anchors]
    places = [place for place in places if place >= 0]
    return [name[: min(places)]] if places else []


def _named(chosen: dict[str, Tensor]) -> dict[str, Tensor]:
    """An image tower alone, saved without `visual.`, gets its name back."""
    if any(name.split(".")[0] in (*_IMAGES, "text") or name in _TEXTS for name in chosen):
        return chosen
    if any(name.startswith("trunk.") for name in chosen):
        return {f"visual.{name}": value for name, value in chosen.items()}
    for marker, prefix in _ALONE:
        if marker in chosen:
            return {prefix + name: value for name, value in chosen.items()}
    return chosen


def _long_text(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Long-CLIP adds one table of positions at the first 20 words and another one behind them: one table does the
    same."""
    first, rest = tensors.get("positional_embedding"), tensors.get("positional_embedding_res")
    if first is None or rest is None or first.shape != rest.shape:
        return tensors
    joined = first.clone()
    joined[20:] = rest[20:]
    kept = {name: value for name, value in tensors.items() if name != "positional_embedding_res"}
    return {**kept, "positional_embedding": joined}


def _choices(source: str, parts: list[Any], above: str | None = None) -> str:
    before = f"{above}." if above else ""
    return " or ".join(f"checkpoint='{source}#{before}{part}'" for part in parts[:4])


def _quoted(names: list[str]) -> str:
    return ", ".join(f"{name!r}" if name else "no prefix" for name in names)


def _say_averaged(source: str, key: str) -> None:
    warnings.warn(f"{source} holds averaged weights alone ({key}): these were read", SummandWarning, stacklevel=2)


def _say_passed_over(source: str, key: str, averaged: str) -> None:
    warnings.warn(
        f"{source} holds averaged weights too ({averaged}); those of {key or 'training'} were read. To read the "
        f"averaged ones: checkpoint='{source}#{averaged}'",
        SummandWarning,
        stacklevel=2,
    )
