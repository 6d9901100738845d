"""transformers' CLIP, SigLIP and SigLIP 2, as objects that the caller holds."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import summand
from summand.border import foreign
from summand.towers.hf import KINDS as SUPPORTED
from tests.oracles import perturb
from tests.towers.test_variants import check

transformers = pytest.importorskip("transformers")

VISION = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4}
TEXT = {**VISION, "num_hidden_layers": 1, "vocab_size": 20, "max_position_embeddings": 8, "projection_size": 32}
SQUARE = {**VISION, "image_size": 24, "patch_size": 8}


def made(kind: str, config: object) -> Any:
    torch.manual_seed(0)
    model = getattr(transformers, kind)(config)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    return perturb(model).double().eval()


def config_of(kind: str) -> Any:
    family = kind.removesuffix("Model").removesuffix("VisionModelWithProjection").removesuffix("Vision")
    vision = {**VISION, "num_patches": 9, "patch_size": 8} if family == "Siglip2" else SQUARE
    if "Vision" in kind:
        more = {"projection_dim": 24} if "Projection" in kind else {}
        return getattr(transformers, f"{family}VisionConfig")(**vision, **more)
    text = {**TEXT, "pad_token_id": 1, "project_dim": 20} if family == "AltCLIP" else TEXT
    more = {} if family.startswith("Siglip") else {"projection_dim": 24}
    return getattr(transformers, f"{family}Config")(text_config=text, vision_config=vision, **more)


def model_of(kind: str) -> Any:
    return made(kind, config_of(kind))


KINDS = [kind for kind in SUPPORTED if hasattr(transformers, kind)]
CLIPS = [kind for kind in KINDS if "Siglip" not in kind]
IDS = torch.tensor([[3, 5, 7, 9, 19, 1, 1, 1], [3, 6, 2, 1, 1, 1, 1, 1], [3, 8, 11, 19, 2, 1, 1, 1]])


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_terms_sum_to_the_embedding(kind, attention):
    clip = model_of(kind)
    clip.set_attn_implementation(attention)
    # transformers' eager attention takes its softmax in fp32 whatever the model's precision.
    model = check(clip, within=1e-12 if attention == "sdpa" else 1e-6)
    pooled = "Siglip" in kind
    assert model.tower.grid == (3, 3)
    assert model.tower.prefix == (0 if pooled else 1)
    assert model.tower.layers == (1 if pooled else 3)
    clip.float()
    assert model.decompose(torch.randn(2, 3, 24, 24)).residual() <= 1e-5


@pytest.mark.parametrize("kind", CLIPS)
@torch.no_grad()
def test_neurons_equal_those_of_clip_with_the_same_weights(kind):
    """The image towers of all of them are CLIP's; CLIP's own is checked against literal formulas elsewhere."""
    clip = model_of(kind)
    twin = made("CLIPVisionModelWithProjection", transformers.CLIPVisionConfig(**SQUARE, projection_dim=24))
    state = {name: value for name, value in clip.state_dict().items() if name.startswith("vis")}
    twin.load_state_dict(state)
    x = torch.randn(2, 3, 24, 24, dtype=torch.float64)
    model, truth = summand.wrap(clip), summand.wrap(twin)
    torch.testing.assert_close(model.decompose(x).heads(), truth.decompose(x).heads(), rtol=0, atol=1e-12)
    for layer in (0, 1):
        found, wanted = model.second_order(x, layer).vectors(), truth.second_order(x, layer).vectors()
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
    torch.testing.assert_close(model.first_order(x, 2).vectors(), truth.first_order(x, 2).vectors(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "Siglip" in kind])
def test_pairs_of_a_pool_sum_to_its_heads(kind):
    model = summand.wrap(model_of(kind))
    x = torch.randn(2, 3, 24, 24, dtype=torch.float64)
    pairs = model.pairs(x)
    total = pairs.vectors().sum(dim=(1, 2)) + pairs.rest
    torch.testing.assert_close(total, model.encode_image(x), rtol=0, atol=1e-12)


# Texts


@pytest.mark.parametrize("kind", ["CLIPModel", "MetaClip2Model", "SiglipModel", "Siglip2Model"])
@torch.no_grad()
def test_texts_are_a_sum(kind):
    clip = model_of(kind)
    model = summand.wrap(clip, tokenizer=lambda texts: IDS[: len(texts)])
    found = clip.get_text_features(input_ids=IDS)
    truth = found if isinstance(found, torch.Tensor) else found.pooler_output
    parts = model.decompose_text(["a", "b", "c"])
    torch.testing.assert_close(parts.total(), truth, rtol=0, atol=1e-12)
    torch.testing.assert_close(parts.tokens().sum(dim=1), parts.heads().sum(dim=(1, 2)), rtol=0, atol=1e-12)


@pytest.mark.skipif(not hasattr(transformers, "MetaClip2Model"), reason="an older transformers")
def test_metaclip2_ends_at_its_first_end_token_which_is_2():
    """transformers' CLIP takes an end token 2 for a mistake of old configurations, and reads the largest id."""
    config = config_of("MetaClip2Model")
    config.text_config.eos_token_id = 2
    model = summand.wrap(made("MetaClip2Model", config), tokenizer=lambda texts: IDS[: len(texts)])
    parts = model.decompose_text(["a", "b", "c"])
    assert parts.residual() < 1e-12
    written = parts.tokens().abs().amax(dim=-1) > 0
    ends = [0, 2, 4]  # without an end token the first token is read
    assert [int(row.nonzero().max()) for row in written] == ends


@pytest.mark.parametrize("kind", ["ChineseCLIPModel", "AltCLIPModel"])
@torch.no_grad()
def test_a_bert_is_told_where_its_padding_is_and_is_not_taken_apart(kind):
    config = config_of(kind)
    config.text_config.pad_token_id = 1
    clip = made(kind, config)
    model = summand.wrap(clip, tokenizer=lambda texts: IDS[: len(texts)])
    rows = model.encode_text(["a", "b"])
    for row, ids in zip(rows, ([3, 5, 7, 9, 19], [3, 6, 2]), strict=True):  # each alone, without padding
        found = clip.get_text_features(input_ids=torch.tensor([ids]))
        found = found if isinstance(found, torch.Tensor) else found.pooler_output
        torch.testing.assert_close(row, torch.nn.functional.normalize(found[0], dim=-1), rtol=0, atol=1e-6)
    with pytest.raises(summand.SummandError, match=rf"of {kind} cannot.*it is a BERT.*encode_text works"):
        model.decompose_text("a")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "Vision" in kind])
def test_an_image_tower_alone_says_that_it_reads_no_texts(kind):
    model = summand.wrap(model_of(kind), tokenizer=lambda texts: IDS[: len(texts)])
    for ask in (model.encode_text, model.decompose_text):
        with pytest.raises(summand.SummandError, match=rf"{kind} is an image tower without a text tower"):
            ask("a star")


# What configurations can say


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_that_come_back_as_tuples(kind):
    clip = model_of(kind)
    x = torch.randn(2, 3, 24, 24, dtype=torch.float64)
    truth = summand.wrap(clip).encode_image(x)
    for config in (clip.config, getattr(clip.config, "vision_config", clip.config)):
        config.return_dict = False
    model = summand.wrap(clip)
    if "VisionModelWith" in kind and transformers.__version__ >= "5":  # transformers' own class cannot run so
        with pytest.raises(AttributeError):
            clip(pixel_values=x)
        with pytest.raises(summand.SummandError, match=r"cannot run with return_dict=False.*set return_dict = True"):
            model.encode_image(x)
        return
    assert torch.equal(model.encode_image(x), truth)
    assert model.decompose(x).residual() <= 1e-12


def test_text_outputs_that_come_back_as_tuples():
    clip = model_of("CLIPModel")
    model = summand.wrap(clip, tokenizer=lambda texts: IDS[: len(texts)])
    truth = model.encode_text(["a", "b"])
    clip.config.return_dict = clip.config.text_config.return_dict = False
    assert torch.equal(model.encode_text(["a", "b"]), truth)


def test_images_that_are_no_whole_number_of_patches():
    """google/siglip-so400m-patch14-384 has 27 × 27 patches of 14 pixels, and 384 pixels."""
    clip = made("SiglipVisionModel", transformers.SiglipVisionConfig(**{**SQUARE, "image_size": 29}))
    tower = foreign(check(clip).tower)
    assert (tower.image_size, tower.grid, tower.covered) == ((29, 29), (3, 3), (24, 24))
    clip = made("CLIPModel", transformers.CLIPConfig(vision_config={**SQUARE, "image_size": 31}, text_config=TEXT))
    tower = foreign(check(clip).tower)
    assert (tower.image_size, tower.grid, tower.covered) == ((31, 31), (3, 3), (24, 24))


def test_positions_that_are_no_square_are_refused():
    config = transformers.Siglip2VisionConfig(**VISION, patch_size=8, num_patches=12)
    clip = made("Siglip2VisionModel", config)
    with pytest.raises(summand.SummandError, match=r"num_patches=12, which is no square number.*cannot run"):
        summand.wrap(clip)
    with pytest.raises(RuntimeError):  # neither as 3 × 4 nor otherwise
        clip(
            torch.zeros(1, 12, 192, dtype=torch.float64),
            torch.ones(1, 12, dtype=torch.long),
            torch.tensor([[3, 4]]),
        )


def siblings() -> dict[str, Any]:
    both = {"text_config": TEXT, "vision_config": SQUARE}
    stages = {"depths": [1, 1, 1], "num_group_tokens": [4, 2, 0], "num_output_groups": [4, 2, 0]}
    frames = {
        "mit_hidden_size": 32,
        "mit_intermediate_size": 8,
        "mit_num_hidden_layers": 1,
        "mit_num_attention_heads": 4,
    }
    t = transformers
    return {
        "XCLIPModel": (lambda: t.XCLIPConfig(text_config=TEXT, vision_config={**SQUARE, **frames}), "videos"),
        "CLIPSegModel": (lambda: t.CLIPSegConfig(**both), "paints masks"),
        "OwlViTModel": (lambda: t.OwlViTConfig(**both), "finds objects"),
        "Owlv2Model": (lambda: t.Owlv2Config(**both), "finds objects"),
        "BlipModel": (lambda: t.BlipConfig(**both), "captions"),
        "GroupViTModel": (lambda: t.GroupViTConfig(text_config=TEXT, vision_config={**SQUARE, **stages}), "groups"),
        "CLIPVisionModel": (lambda: t.CLIPVisionConfig(**SQUARE), "without the projection"),
        "MetaClip2VisionModel": (lambda: t.MetaClip2VisionConfig(**SQUARE), "without the projection"),
        "ChineseCLIPVisionModel": (lambda: t.ChineseCLIPVisionConfig(**SQUARE), "without the projection"),
        "AltCLIPVisionModel": (lambda: t.AltCLIPVisionConfig(**SQUARE), "without the projection"),
        "CLIPTextModelWithProjection": (lambda: t.CLIPTextConfig(**TEXT), "a text tower alone"),
        "CLIPForImageClassification": (lambda: t.CLIPConfig(**both), "it classifies"),
        "SiglipForImageClassification": (lambda: t.SiglipConfig(**both), "it classifies"),
        "ViTModel": (lambda: t.ViTConfig(**SQUARE), "no image tower called"),
    }


@pytest.mark.parametrize("kind", siblings())
def test_siblings_say_what_they_are_and_what_is_supported(kind):
    config, reason = siblings()[kind]
    if not hasattr(transformers, kind):
        pytest.skip("an older transformers")
    with pytest.raises(summand.SummandError, match=rf"{kind}.*{reason}.*supported: .*CLIPModel.*Siglip2VisionModel"):
        summand.wrap(getattr(transformers, kind)(config()).eval())


def test_a_namesake_of_the_callers_own():
    """Many a tutorial calls its own class CLIPModel."""

    class CLIPModel(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.image_encoder = torch.nn.Linear(2, 2)

    with pytest.raises(summand.SummandError, match="CLIPModel has no image tower called `visual`"):
        summand.wrap(CLIPModel())


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
