"""transformers' CLIP, SigLIP and SigLIP 2, as objects that the caller holds."""

from __future__ import annotations

import pytest
import torch

import summand
from tests.oracles import perturb
from tests.towers.test_variants import check

transformers = pytest.importorskip("transformers")

VISION = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4}
TEXT = {**VISION, "num_hidden_layers": 1, "vocab_size": 20, "max_position_embeddings": 8, "projection_size": 32}
SQUARE = {**VISION, "image_size": 24, "patch_size": 8}


def made(kind: str, config: object) -> torch.nn.Module:
    torch.manual_seed(0)
    model = getattr(transformers, kind)(config)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    return perturb(model).double().eval()


def model_of(kind: str) -> torch.nn.Module:
    if kind == "CLIPModel":
        return made(kind, transformers.CLIPConfig(text_config=TEXT, vision_config=SQUARE, projection_dim=24))
    if kind == "CLIPVisionModelWithProjection":
        return made(kind, transformers.CLIPVisionConfig(**SQUARE, projection_dim=24))
    if kind == "SiglipModel":
        return made(kind, transformers.SiglipConfig(text_config=TEXT, vision_config=SQUARE))
    if kind == "SiglipVisionModel":
        return made(kind, transformers.SiglipVisionConfig(**SQUARE))
    patches = {**VISION, "num_patches": 9, "patch_size": 8}
    if kind == "Siglip2Model":
        return made(kind, transformers.Siglip2Config(text_config=TEXT, vision_config=patches))
    return made(kind, transformers.Siglip2VisionConfig(**patches))


KINDS = list(summand.towers.hf.KINDS)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_terms_sum_to_the_embedding(kind, attention):
    clip = model_of(kind)
    clip.set_attn_implementation(attention)
    # transformers' eager attention takes its softmax in fp32 whatever the model's precision.
    model = check(clip, within=1e-12 if attention == "sdpa" else 1e-6)
    assert model.tower.grid == (3, 3)
    assert model.tower.prefix == (1 if "CLIP" in model.tower.kind else 0)
    assert model.tower.layers == (3 if "CLIP" in model.tower.kind else 1)
    clip.float()
    assert model.decompose(torch.randn(2, 3, 24, 24)).residual() <= 1e-5


def test_the_embedding_is_what_transformers_gives():
    clip = model_of("CLIPModel")
    x = torch.randn(2, 3, 24, 24, dtype=torch.float64)
    truth = clip.visual_projection(clip.vision_model(pixel_values=x).pooler_output)
    assert torch.equal(summand.wrap(clip).encode_image(x), truth)


def test_siglip2_reads_pixels_as_its_processor_cuts_them():
    clip = model_of("Siglip2Model")
    image = torch.randint(0, 256, (3, 24, 24), dtype=torch.uint8)
    processor = transformers.Siglip2ImageProcessor(patch_size=8, max_num_patches=9, do_resize=False)
    cut = processor(images=[image], return_tensors="pt")
    pixels = (image.double() / 255 - 0.5) / 0.5
    cut["pixel_values"] = cut["pixel_values"].double()
    with torch.no_grad():
        truth = clip.get_image_features(**cut)
    truth = truth if isinstance(truth, torch.Tensor) else truth.pooler_output
    torch.testing.assert_close(summand.wrap(clip).encode_image(pixels[None]), truth, rtol=1e-5, atol=1e-5)


def test_a_siglip_without_its_head_is_refused():
    clip = made("SiglipVisionModel", transformers.SiglipVisionConfig(**SQUARE, vision_use_head=False))
    with pytest.raises(summand.SummandError, match="without its pooling head"):
        summand.wrap(clip)
