"""The whole towers that people use, at full size: exact in fp32 and in fp64."""

from __future__ import annotations

import pytest
import torch

import summand
from tests.border import configuration, open_clip
from tests.depth import deep
from tests.oracles import perturb

pytestmark = pytest.mark.slow

_TEXT = {"context_length": 8, "vocab_size": 20, "width": 16, "heads": 2, "layers": 1}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ViT-B-32", "ViT-B-16", "RN50", "ViT-B-16-SigLIP"])
def test_full_size_towers_are_exact(name, record_property):
    config = configuration(name)
    assert config is not None
    torch.manual_seed(0)
    clip = open_clip.CLIP(embed_dim=config["embed_dim"], vision_cfg=config["vision_cfg"], text_cfg=_TEXT)
    model = summand.wrap(perturb(clip).eval())
    x = torch.randn(2, 3, *model.tower.image_size)
    precisions = deep(2, 1 if "B-16" in name else 2)  # in fp64 the largest take six seconds each
    for dtype, within in ((torch.float32, 1e-5), (torch.float64, 1e-12))[:precisions]:
        clip.to(dtype)
        pixels = x[: 2 if dtype == torch.float32 else 1].to(dtype)
        residual = model.decompose(pixels).residual()
        record_property(str(dtype), residual)
        print(f"{name} {dtype}: {residual:.1e}")
        assert residual <= within
