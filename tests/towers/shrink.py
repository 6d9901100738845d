"""Every configuration of open_clip at a size that a test can run, with every structural switch kept."""

from __future__ import annotations

import json
from contextlib import contextmanager
from functools import cache
from typing import Any

import open_clip
import timm
import torch
from open_clip import timm_model as open_clip_timm
from timm.models.vitamin import VitCfg

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
    model = _timm_on_meta(name)
    kind = type(model).__name__
    if kind not in ("VisionTransformer", "Eva", "VisionTransformerRelPos"):
        return {}
    if name.startswith("vitamin"):
        return {**_TIMM_WIDTH, "depth": 2, "img_size": 48, "embed_cfg": "vitamin"}
    if "mci" in name:  # the convolutional stem fixes the width
        return {"depth": 2, "img_size": 48}
    patch = model.patch_embed.patch_size[0]
    return {**_TIMM_WIDTH, "depth": 2, "img_size": 3 * patch}


@cache
def _timm_on_meta(name: str) -> torch.nn.Module:
    with torch.device("meta"):
        return timm.create_model(name)


@cache
def shrunk() -> dict[str, list[str]]:
    """Each distinct shrunk tower (as json) and the names it stands for; a timm trunk is told by what is in it."""
    found: dict[str, list[str]] = {}
    for name in open_clip.list_models():
        found.setdefault(_key(shrink(open_clip.get_model_config(name))), []).append(name)
    return found


def _key(small: dict[str, Any]) -> str:
    """Towers that differ in nothing but a width or depth that shrinking takes away share a key."""
    trunk = small["vision"].get("timm_model_name")
    if trunk is None or not small["timm"]:
        return json.dumps(small, sort_keys=True)
    model = _timm_on_meta(trunk)
    blocks = next(iter(model.blocks))
    structure = {
        "stem": str(type(model.patch_embed).__name__),
        "switches": [name for name, _ in blocks.named_parameters()],
        "kinds": sorted({f"{n.rsplit('.', 1)[-1]}:{type(m).__name__}" for n, m in model.named_modules()
                         if not n.startswith("patch_embed") and not n.rsplit(".", 1)[-1].isdigit()}),
        "prefix": model.num_prefix_tokens,
        "pool": small["vision"].get("timm_pool"),
        "proj": small["vision"].get("timm_proj"),
        "patch": small["timm"]["img_size"],
    }  # fmt: skip
    return json.dumps(structure, sort_keys=True)


def build(small: dict[str, Any], seed: int = 0) -> torch.nn.Module:
    """A CLIP with this tower and a tiny text tower; random weights, every gain and bias moved; fp64, evaluation."""
    torch.manual_seed(seed)
    with _small_trunk(small.get("timm", {})):
        made: dict[str, Any] = {"embed_dim": EMBED, "quick_gelu": small["quick_gelu"]}
        if small["coca"]:
            clip = open_clip.CoCa(**made, vision_cfg=small["vision"], text_cfg=_TEXT, multimodal_cfg=_MULTIMODAL)
        else:
            vision = {**small["vision"], "output_tokens": False}
            clip = open_clip.CLIP(**made, vision_cfg=vision, text_cfg=_TEXT)
    return perturb(clip).double().eval()


@contextmanager
def _small_trunk(overrides: dict[str, Any]):
    """TimmModel passes no sizes on to timm, so the tests hand them over at the call."""
    overrides = dict(overrides)
    if overrides.get("embed_cfg") == "vitamin":
        overrides["embed_cfg"] = VitCfg(embed_dim=(8, 16, 64), depths=(1, 1, 1), stem_width=8, head_type="1d")
    original = timm.create_model

    def create(name: str, **kwargs: Any) -> torch.nn.Module:
        return original(name, **kwargs, **overrides)

    open_clip_timm.timm.create_model = create
    try:
        yield
    finally:
        open_clip_timm.timm.create_model = original
