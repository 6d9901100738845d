"""Every configuration of open_clip at a size that a test can run, with every structural switch kept."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from functools import cache
from typing import Any

import timm
import torch
from open_clip import timm_model as open_clip_timm
from timm.models.vitamin import VitCfg

import summand
from tests.border import configuration, open_clip
from tests.oracles import perturb

EMBED = 24
_TEXT = {"context_length": 8, "vocab_size": 20, "width": 16, "heads": 2, "layers": 1}
_MULTIMODAL = {**_TEXT, "mlp_ratio": 1, "dim_head": 8, "n_queries": 6}
_TIMM_WIDTH = {"embed_dim": 64, "num_heads": 4}


def shrink(config: dict[str, Any]) -> dict[str, Any]:
    """The image tower of a configuration as {vision, timm, quick_gelu, coca}; equal towers become equal."""
    vision = {k: v for k, v in config["vision_cfg"].items() if k not in ("timm_model_pretrained", "timm_drop_path")}
    small: dict[str, Any] = {"quick_gelu": config.get("quick_gelu", False), "coca": "multimodal_cfg" in config}
    name = vision.get("timm_model_name")
    if name is not None:
        return {**small, "vision": {**vision, "image_size": 48}, "timm": _shrink_timm(name)}
    if isinstance(vision["layers"], list):
        heads = vision["width"] * 32 // vision.get("head_width", 64)
        small["vision"] = {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "head_width": 32 if heads % 3 else 16}
        return small
    patch = 8
    vision |= {"image_size": 3 * patch, "patch_size": patch, "layers": 3, "width": 48, "head_width": 12}
    if vision.get("attentional_pool"):
        vision |= {"attn_pooler_heads": 4, "attn_pooler_queries": 5}
    return {**small, "vision": vision}


def _shrink_timm(name: str) -> dict[str, Any]:
    if name.startswith("vitamin"):
        return {**_TIMM_WIDTH, "depth": 2, "img_size": 48, "embed_cfg": "vitamin"}
    if "mci" in name:  # the convolutional stem fixes the width
        return {"depth": 2, "img_size": 48}
    patch = re.search(r"patch(\d+)", name)
    assert patch is not None
    return {**_TIMM_WIDTH, "depth": 2, "img_size": 3 * int(patch[1])}


@cache
def shrunk() -> dict[str, tuple[dict[str, Any], tuple[str, ...]]]:
    """Each distinct shrunk tower that can be taken apart, by its first name, and all the names it stands for.

    Two towers are the same where their modules print the same and their configurations differ in nothing structural.
    """
    found: dict[str, tuple[dict[str, Any], list[str]]] = {}
    for name in open_clip.list_models():
        if not summand.towers.describe_configuration(name)["exact"]:
            continue
        small = shrink(configuration(name))
        vision = {k: v for k, v in small["vision"].items() if k != "timm_model_name"}
        key = json.dumps([vision, small["coca"], small["quick_gelu"] and "timm" not in small], sort_keys=True)
        if "timm" in small:
            key += _printed(small["vision"]["timm_model_name"], json.dumps(small))
        found.setdefault(key, (small, []))[1].append(name)
    return {names[0]: (small, tuple(names)) for small, names in found.values()}


@cache
def _printed(trunk: str, small: str) -> str:
    with torch.device("meta"):
        return repr(_visual(json.loads(small)))


def build(small: dict[str, Any], seed: int = 0) -> Any:
    """A CLIP with this tower and a tiny text tower, in fp64, for evaluation. Random weights, none of them trivial:
    every gain and bias is moved and every matrix drawn so that all terms of the sum have the same order of size."""
    torch.manual_seed(seed)
    made: dict[str, Any] = {"embed_dim": EMBED, "quick_gelu": small["quick_gelu"], "text_cfg": _TEXT}
    with _small_trunk(small.get("timm", {})):
        if small["coca"]:
            clip = open_clip.CoCa(**made, vision_cfg=small["vision"], multimodal_cfg=_MULTIMODAL)
        else:
            clip = open_clip.CLIP(**made, vision_cfg=small["vision"])
    for parameter in clip.visual.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    return perturb(clip).double().eval()


def _visual(small: dict[str, Any]) -> Any:
    with _small_trunk(small["timm"]):
        return open_clip.model._build_vision_tower(EMBED, small["vision"])


@contextmanager
def _small_trunk(overrides: dict[str, Any]):
    """TimmModel passes no sizes on to timm, so the tests hand them over at the call."""
    overrides = dict(overrides)
    if overrides.get("embed_cfg") == "vitamin":
        overrides["embed_cfg"] = VitCfg(embed_dim=(8, 16, 64), depths=(1, 1, 1), stem_width=8, head_type="1d")
    original = timm.create_model

    def create(name: str, **kwargs: Any) -> Any:
        return original(name, **kwargs, **overrides)

    open_clip_timm.timm.create_model = create
    try:
        yield
    finally:
        open_clip_timm.timm.create_model = original
