"""open_clip's own attention module, as its main branch has it in place of torch's: read by its parameters' names."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import summand
from tests.oracles import literal_vit, perturb
from tests.towers.test_towers import small_vit
from tests.towers.test_variants import check


class Attention(nn.Module):
    """The interface and nothing else: a fused in_proj_weight and in_proj_bias, out_proj, num_heads; tokens come batch
    first. The switches are parts that are there or not. Written for the test, head by head."""

    def __init__(self, width: int, heads: int, switches: tuple[str, ...], as_torch: bool) -> None:
        super().__init__()
        self.num_heads, channels = heads, width // heads
        self.in_proj_weight = nn.Parameter(torch.randn(3 * width, width) * width**-0.5)
        self.in_proj_bias = None if "no_bias" in switches else nn.Parameter(torch.randn(3 * width))
        self.out_proj = nn.Linear(width, width)
        normalised = "qk_norm" in switches
        self.ln_q = nn.LayerNorm(channels) if normalised else nn.Identity()
        self.ln_k = nn.LayerNorm(channels) if normalised else nn.Identity()
        self.logit_scale = nn.Parameter(torch.ones(heads, 1, 1)) if "scaled_cosine" in switches else None
        self.logit_scale_max = 2.0
        self.head_scale = nn.Parameter(1 + torch.rand(heads, 1, 1)) if "scale_heads" in switches else None
        self.ln_inner = nn.LayerNorm(width) if "inner_norm" in switches else nn.Identity()
        self.as_torch = as_torch

    def forward(self, x: Tensor, *_: Tensor, **__: object) -> Tensor | tuple[Tensor, None]:
        outputs = []
        q, k, v = (part.chunk(self.num_heads, dim=-1) for part in self._projected(x))
        for head in range(self.num_heads):
            query, key, strength = self.ln_q(q[head]), self.ln_k(k[head]), q[head].shape[-1] ** -0.5
            if self.logit_scale is not None:
                query, key = F.normalize(query, dim=-1), F.normalize(key, dim=-1)
                strength = self.logit_scale[head].clamp(max=self.logit_scale_max).exp()
            weights = (query @ key.mT * strength).softmax(dim=-1)
            size = 1 if self.head_scale is None else self.head_scale[head]
            outputs.append(weights @ v[head] * size)
        out = self.out_proj(self.ln_inner(torch.cat(outputs, dim=-1)))
        return (out, None) if self.as_torch else out

    def _projected(self, x: Tensor) -> tuple[Tensor, ...]:
        return F.linear(x, self.in_proj_weight, self.in_proj_bias).chunk(3, dim=-1)


def swapped(switches: tuple[str, ...] = (), block: str = "custom", **vision) -> Any:
    """A VisionTransformer whose blocks hold the stand-in."""
    clip = small_vit(block_type=block, **vision)
    for i, resblock in enumerate(clip.visual.transformer.resblocks):
        torch.manual_seed(i)
        resblock.attn = perturb(Attention(48, 4, switches, as_torch=block == "default")).double()
    return clip.eval()


SWITCHES = [(), ("no_bias",), ("qk_norm",), ("scaled_cosine",), ("scale_heads",), ("inner_norm",)]


@pytest.mark.parametrize("switches", [*SWITCHES, ("qk_norm", "scale_heads", "inner_norm")])
def test_own_attention_is_read_by_name(switches):
    check(swapped(switches))


@pytest.mark.parametrize("block", ["default", "custom"])
def test_own_attention_equals_the_literal_formula(block):
    clip = swapped(block=block, image_size=(16, 24))
    model = summand.wrap(clip)
    x = torch.randn(2, 3, 16, 24, dtype=torch.float64)
    everything = model.decompose(x).toward(torch.eye(24, dtype=torch.float64))
    for i in range(2):
        torch.testing.assert_close(everything[i], literal_vit(clip.visual, x[i])["tokens"], rtol=0, atol=1e-12)
    check(clip)


def test_own_attention_in_an_averaged_tower():
    check(swapped(("scale_heads", "inner_norm"), pool_type="avg", scale_attn=True))
