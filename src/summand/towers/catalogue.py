"""What each of open_clip's configurations is a sum of, told from one block on torch's meta device, without weights."""

from __future__ import annotations

import json
from functools import cache
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import SummandError, first_line, nearest
from .border import foreign
from .dispatch import name_of, tower_of_visual
from .layout import patch_size
from .timm import REASONS


def describe_configuration(name: str) -> dict[str, Any]:
    """What `load(name)` would find: {model, tower, terms, exact, reason}.

    terms: the names of the sum's terms. exact: the terms sum to `encode_image`; where they cannot, reason says why
    and terms is empty. Raises `SummandError` for a name that open_clip does not know.

    >>> describe_configuration("RN50")["terms"]
    ['heads', 'bias']
    """
    import open_clip

    config = open_clip.get_model_config(name)
    if config is None:
        raise SummandError(f"unknown model {name!r}{nearest(name, open_clip.list_models())}")
    vision = config.get("vision_cfg")
    if not isinstance(vision, dict):
        towers = [key.removesuffix("_cfg") for key, value in config.items() if key.endswith("_cfg") and value]
        has = ", ".join(tower for tower in towers if tower != "vision") or "no tower at all"
        return {"model": name, **_refused("none", f"it has no image tower (its configuration has: {has})")}
    vision = {key: value for key, value in vision.items() if key not in _SIZES}
    return {"model": name, **_describe(config.get("embed_dim", 1), json.dumps(vision, sort_keys=True))}


def patch_of(name: str) -> tuple[int, int]:
    """Pixels of one patch of a configuration that can be taken apart."""
    import open_clip

    config = open_clip.get_model_config(name) or {}
    vision = {key: value for key, value in config["vision_cfg"].items() if key not in _SIZES}
    return patch_size(tower_of_visual(_sketch(config["embed_dim"], vision), _no_pass))


_SMALL_TEXT = {"context_length": 1, "vocab_size": 1, "width": 8, "heads": 1, "layers": 1}
_SIZES = ("image_size", "mlp_ratio", "patch_dropout", "timm_drop", "timm_drop_path")


@cache
def _describe(embed: int, vision: str) -> dict[str, Any]:
    config = json.loads(vision)
    try:
        family = _timm_family(config)
        if family is not None:
            return _refused(f"timm {family}", REASONS[family])
        visual = _sketch(embed, config)
    except _UNBUILDABLE as error:
        tower = f"timm {config['timm_model_name']}" if config.get("timm_model_name") else "unknown"
        return _refused(tower, f"open_clip {version('open_clip_torch')} cannot build it: {_said(error)}")
    try:
        tower = tower_of_visual(visual, _no_pass)
    except SummandError as error:
        reason = str(error).partition("cannot be taken apart: ")[2].partition(" (supported:")[0]
        return _refused(name_of(visual), reason or str(error))
    return {"tower": tower.kind, "terms": list(tower.terms), "exact": True, "reason": None}


def _refused(tower: str, reason: str) -> dict[str, Any]:
    return {"tower": tower, "terms": [], "exact": False, "reason": reason}


def _said(error: BaseException) -> str:
    return f"{error} is not known" if isinstance(error, KeyError) else first_line(error)


# What a configuration of a newer release, or of somebody's own, makes open_clip and timm raise.
_UNBUILDABLE = (TypeError, KeyError, ValueError, AttributeError, AssertionError, RuntimeError, ImportError, IndexError)


def _timm_family(config: dict[str, Any]) -> str | None:
    """The class of a trunk that is refused whatever its options, told by the timm module that registers its name."""
    if not config.get("timm_model_name"):
        return None
    import timm

    module = timm.models.model_entrypoint(config["timm_model_name"]).__module__.rsplit(".", 1)[-1]
    return _REFUSED_MODULES.get(module)


_REFUSED_MODULES = {
    "convnext": "ConvNeXt",
    "fastvit": "FastVit",
    "swin_transformer": "SwinTransformer",
    "naflexvit": "NaFlexVit",
}


def _sketch(embed: int, config: dict[str, Any]) -> nn.Module:
    """The tower with one block and no storage. For timm, what open_clip's TimmModel puts together from `config`."""
    if not config.get("timm_model_name"):
        import open_clip

        layers = [1, 1, 1, 1] if isinstance(config.get("layers"), list) else 1
        with torch.device("meta"):
            return foreign(open_clip.CLIP)(embed, {**config, "layers": layers}, _SMALL_TEXT).visual
    import timm
    from open_clip.timm_model import TimmModel

    pool, projection = config.get("timm_pool", "avg"), config.get("timm_proj", "linear")
    made: dict[str, Any] = {"depth": 1, "device": "meta"}
    if projection not in ("linear", "mlp"):
        made |= {"num_classes": 0 if projection == "none" else embed, "global_pool": pool}
    trunk = foreign(timm.create_model(config["timm_model_name"], **made))
    if projection in ("linear", "mlp"):
        trunk.reset_classifier(0, **({"global_pool": pool} if pool else {}))
    sketch = TimmModel.__new__(TimmModel)
    nn.Module.__init__(sketch)
    sketch.trunk, sketch.head = trunk, nn.Sequential()
    if projection == "linear":
        sketch.head.add_module("proj", nn.Linear(trunk.num_features, embed, bias=False, device="meta"))
    elif projection == "mlp":
        sketch.head.add_module("mlp", nn.Identity())
    return sketch


def _no_pass(pixels: Tensor) -> Tensor:
    raise SummandError("a configuration without weights cannot encode")
