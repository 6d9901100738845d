"""A stand-in for OpenAI's `clip.model`: the same names, layout and habits, written anew and as short as they allow.

Tokens come first, not images; the causal mask is kept in the blocks; sizes are called input_resolution; nothing takes
`normalize`. The convolutions of the ResNet are a stem that makes the same grid, as only the pool is read.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class LayerNorm(nn.LayerNorm):
    def forward(self, x: Tensor) -> Tensor:
        """In fp32 where the tokens are in fp16."""
        wide = x.float() if x.dtype == torch.float16 else x
        return super().forward(wide).to(x.dtype)


class QuickGELU(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * (1.702 * x).sigmoid()


class ResidualAttentionBlock(nn.Module):
    def __init__(self, width: int, heads: int, mask: Tensor | None) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads)
        self.ln_1, self.ln_2 = LayerNorm(width), LayerNorm(width)
        parts = (("c_fc", nn.Linear(width, 4 * width)), ("gelu", QuickGELU()), ("c_proj", nn.Linear(4 * width, width)))
        self.mlp = nn.Sequential(OrderedDict(parts))
        self.attn_mask = mask  # not a buffer

    def attention(self, x: Tensor) -> Tensor:
        mask = None if self.attn_mask is None else self.attn_mask.to(x)
        return self.attn(x, x, x, need_weights=False, attn_mask=mask)[0]

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    def __init__(self, width: int, layers: int, heads: int, mask: Tensor | None = None) -> None:
        super().__init__()
        self.resblocks = nn.Sequential(*(ResidualAttentionBlock(width, heads, mask) for _ in range(layers)))

    def forward(self, x: Tensor) -> Tensor:
        return self.resblocks(x)


class VisionTransformer(nn.Module):
    def __init__(self, resolution: int, patch: int, width: int, layers: int, heads: int, embed: int) -> None:
        super().__init__()
        self.input_resolution, self.output_dim = resolution, embed
        self.conv1 = nn.Conv2d(3, width, patch, patch, bias=False)
        self.class_embedding = nn.Parameter(torch.randn(width) * width**-0.5)
        self.positional_embedding = nn.Parameter(torch.randn((resolution // patch) ** 2 + 1, width) * width**-0.5)
        self.ln_pre, self.ln_post = LayerNorm(width), LayerNorm(width)
        self.transformer = Transformer(width, layers, heads)
        self.proj = nn.Parameter(torch.randn(width, embed) * width**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        patches = self.conv1(x).flatten(2).transpose(1, 2)
        first = self.class_embedding.to(patches).expand(len(patches), 1, -1)
        tokens = self.ln_pre(torch.cat([first, patches], dim=1) + self.positional_embedding.to(patches))
        tokens = self.transformer(tokens.transpose(0, 1))
        return self.ln_post(tokens[0]) @ self.proj


class AttentionPool2d(nn.Module):
    def __init__(self, side: int, width: int, heads: int, embed: int) -> None:
        super().__init__()
        self.positional_embedding = nn.Parameter(torch.randn(side**2 + 1, width) * width**-0.5)
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(width, width) for _ in range(3))
        self.c_proj, self.num_heads = nn.Linear(width, embed), heads

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(2).permute(2, 0, 1)
        x = torch.cat([x.mean(dim=0, keepdim=True), x]) + self.positional_embedding[:, None].to(x)
        maps = {f"{name}_weight": getattr(self, name).weight for name in ("q_proj", "k_proj", "v_proj")}
        bias = torch.cat([self.q_proj.bias, self.k_proj.bias, self.v_proj.bias])
        fixed = (x.shape[-1], self.num_heads, None, bias, None, None, False, 0.0, self.c_proj.weight, self.c_proj.bias)
        found, _ = F.multi_head_attention_forward(
            x[:1], x, x, *fixed, use_separate_proj_weight=True, need_weights=False, training=False, **maps
        )
        return found[0]


class ModifiedResNet(nn.Module):
    def __init__(self, embed: int, heads: int, resolution: int, width: int) -> None:
        super().__init__()
        self.input_resolution, self.output_dim = resolution, embed
        self.conv1 = nn.Conv2d(3, width, 3, 2, 1, bias=False)
        self.layer4 = nn.Sequential(nn.ReLU(), nn.AvgPool2d(16), nn.Conv2d(width, 4 * width, 1), nn.ReLU())
        self.attnpool = AttentionPool2d(resolution // 32, 4 * width, heads, embed)

    def forward(self, x: Tensor) -> Tensor:
        return self.attnpool(self.layer4(self.conv1(x.type(self.conv1.weight.dtype))))


class CLIP(nn.Module):
    def __init__(self, visual: Any, embed: int, context: int = 9, vocabulary: int = 49408) -> None:
        super().__init__()
        self.visual, self.context_length = visual, context
        mask = torch.full((context, context), float("-inf")).triu_(1)
        self.transformer = Transformer(24, 2, 3, mask)
        self.token_embedding = nn.Embedding(vocabulary, 24)
        self.positional_embedding = nn.Parameter(0.1 * torch.randn(context, 24))
        self.ln_final = LayerNorm(24)
        self.text_projection = nn.Parameter(torch.randn(24, embed) * 24**-0.5)
        self.logit_scale = nn.Parameter(torch.ones([]) * 2.659)

    @property
    def dtype(self) -> torch.dtype:
        return self.visual.conv1.weight.dtype

    def encode_image(self, image: Tensor) -> Tensor:
        return self.visual(image.type(self.dtype))

    def encode_text(self, text: Tensor) -> Tensor:
        x = (self.token_embedding(text) + self.positional_embedding).type(self.dtype)
        x = self.ln_final(self.transformer(x.transpose(0, 1)).transpose(0, 1)).type(self.dtype)
        return x[torch.arange(len(x)), text.argmax(dim=-1)] @ self.text_projection


def vit(embed: int = 16) -> Any:
    return CLIP(VisionTransformer(32, 8, 48, 3, 4, embed), embed)


def resnet(embed: int = 16) -> Any:
    return CLIP(ModifiedResNet(embed, 4, 64, 8), embed)


def half(clip: Any) -> Any:
    """As the package loads its weights on a GPU: convolutions, linear maps and projections in fp16, norms in fp32."""
    for module in clip.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear, nn.MultiheadAttention)):
            module.half()
        for name in ("text_projection", "proj"):
            parameter = getattr(module, name, None)
            if isinstance(parameter, nn.Parameter):
                parameter.data = parameter.data.half()
    return clip
