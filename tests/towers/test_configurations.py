"""Every configuration of open_clip: exact at a small size, or refused with a reason."""

from __future__ import annotations

import json
import re

import pytest
import torch

import summand
import summand.models.load
from summand.towers import describe_configuration
from tests.border import configuration, open_clip
from tests.towers.shrink import build, shrunk


@pytest.mark.parametrize("name", shrunk())
def test_the_terms_sum_to_the_embedding(name):
    small, names = shrunk()[name]
    clip = build(small)
    model = summand.wrap(clip)
    x = torch.randn(2, 3, *model.tower.image_size, dtype=torch.float64)
    truth = model.encode_image(x)
    size = truth.abs().max()
    parts = model.decompose(x)
    assert (parts.total() - truth).abs().max() <= 1e-12 * size
    heads = parts.heads()  # of a pass that never saw a token's values
    everything = parts.toward(torch.eye(model.tower.embed, dtype=torch.float64))
    assert (everything.sum(dim=3) - heads).abs().max() <= 1e-12 * size
    assert (parts.tokens().sum(dim=1) - heads.sum(dim=(1, 2))).abs().max() <= 1e-12 * size
    few = everything[..., :1]  # one direction goes another way through the products than many do
    assert (parts.toward(torch.eye(model.tower.embed, dtype=torch.float64)[:1]) - few).abs().max() <= 1e-12 * size
    rows, columns = model.tower.grid
    assert parts.tokens().shape[1] == model.tower.prefix + rows * columns
    for term in describe_configuration(name)["terms"]:  # no term is so small that a wrong one would pass
        assert getattr(parts, term)().abs().max() > 1e-4 * size, term
    assert all(describe_configuration(alike)["tower"] == model.tower.kind for alike in names)
    assert list(model.tower.terms) == describe_configuration(name)["terms"]
    clip.float()
    assert model.decompose(x.float()).residual() <= 1e-5


def test_every_name_is_described():
    described = [describe_configuration(name) for name in open_clip.list_models()]
    standing = {name for _, names in shrunk().values() for name in names}
    for row in described:
        assert row["exact"] == (row["model"] in standing) == (row["reason"] is None) == bool(row["terms"])
    refused = {row["tower"] for row in described if not row["exact"]}
    assert refused == {"timm ConvNeXt", "timm FastVit", "timm SwinTransformer"}
    with pytest.raises(summand.SummandError, match="did you mean"):
        describe_configuration("ViT-B-33")


@pytest.mark.parametrize("name", ["convnext_tiny", "MobileCLIP-S1", "swin_base_patch4_window7_224"])
def test_a_refused_tower_says_which_and_why(name):
    with torch.device("meta"):
        config = configuration(name)
        clip = open_clip.CLIP(config["embed_dim"], config["vision_cfg"], {"layers": 1, "width": 64, "heads": 1})
    row = describe_configuration(name)
    with pytest.raises(summand.SummandError, match="supported: open_clip's VisionTransformer") as refusal:
        summand.wrap(clip)
    assert row["tower"] in str(refusal.value)
    assert row["reason"] in str(refusal.value)


# Configurations of other releases, or of somebody's own


BASE = configuration("ViT-B-32")
STRANGE = {
    "no vision": ({k: v for k, v in BASE.items() if k != "vision_cfg"}, "no image tower .*has: text"),
    "audio": ({"embed_dim": 8, "audio_cfg": {"a": 1}, "text_cfg": BASE["text_cfg"]}, "no image tower .*audio, text"),
    "vision is null": ({**BASE, "vision_cfg": None}, "no image tower"),
    "nothing": ({}, "no image tower .*no tower at all"),
    "unknown key": ({**BASE, "vision_cfg": {**BASE["vision_cfg"], "naflex": True}}, "cannot build it: .*naflex"),
    "unknown trunk": ({**BASE, "vision_cfg": {"timm_model_name": "vit_of_2030"}}, "cannot build it: .*vit_of_2030"),
    "no width": ({**BASE, "vision_cfg": {**BASE["vision_cfg"], "width": 7}}, "cannot build it"),
    "no text": ({k: v for k, v in BASE.items() if k != "text_cfg"}, None),
    "no embedding": ({k: v for k, v in BASE.items() if k != "embed_dim"}, None),
    "unknown tower": ({**BASE, "audio_cfg": {"a": 1}, "anything": 3}, None),
}


@pytest.mark.parametrize("name", STRANGE)
def test_strange_configurations_are_described_and_refused(name, monkeypatch):
    config, reason = STRANGE[name]
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, name, config)
    row = next(row for row in summand.models.load.catalogue() if row["model"] == name)
    assert row["exact"] == (reason is None) == bool(row["terms"])
    if reason is not None:
        assert re.search(reason, row["reason"])
        with pytest.raises(summand.SummandError, match=f"{name} cannot be taken apart: .*{reason}"):
            summand.load(name, random_init=True)
    else:
        with pytest.raises(summand.SummandError, match=f"could not load {name}"):
            summand.load(name, random_init=True)


def test_a_configuration_that_is_added_in_public(tmp_path, monkeypatch):
    before = dict(open_clip.factory._MODEL_CONFIGS), list(open_clip.factory._MODEL_CONFIG_PATHS)
    config = {**BASE, "vision_cfg": {**BASE["vision_cfg"], "layers": 1, "width": 64}}
    (tmp_path / "mine.json").write_text(json.dumps(config))
    (tmp_path / "soundless.json").write_text(json.dumps({**config, "vision_cfg": None}))
    open_clip.add_model_config(tmp_path)
    try:
        assert describe_configuration("mine")["exact"]
        assert "no image tower" in describe_configuration("soundless")["reason"]
        assert summand.load("mine", random_init=True).tower.layers == 1
    finally:
        open_clip.factory._MODEL_CONFIG_PATHS[:] = before[1]
        open_clip.factory._MODEL_CONFIGS.clear()
        open_clip.factory._MODEL_CONFIGS.update(before[0])
