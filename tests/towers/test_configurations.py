"""Every configuration of open_clip: exact at a small size, or refused with a reason."""

from __future__ import annotations

import open_clip
import pytest
import torch

import summand
from summand.towers import describe_configuration
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
        config = open_clip.get_model_config(name)
        clip = open_clip.CLIP(config["embed_dim"], config["vision_cfg"], {"layers": 1, "width": 64, "heads": 1})
    row = describe_configuration(name)
    with pytest.raises(summand.SummandError, match="supported: open_clip's VisionTransformer") as refusal:
        summand.wrap(clip)
    assert row["tower"] in str(refusal.value)
    assert row["reason"] in str(refusal.value)
