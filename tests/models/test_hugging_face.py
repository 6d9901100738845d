"""`hf:` models on folders that the tests write with transformers itself."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import summand
from summand.models.hugging_face import KINDS
from tests import tiny
from tests.oracles import perturb

transformers = pytest.importorskip("transformers")
LENGTH = 9
TEXTS = ["a red star", "the blue ring on the left"]


def image_features(clip: Any, pixels: torch.Tensor, **settings: Any) -> torch.Tensor:
    found = getattr(clip, "get_image_features", clip)(pixel_values=pixels, **settings)
    if isinstance(found, torch.Tensor):
        return found
    embeds = getattr(found, "image_embeds", None)
    return found.pooler_output if embeds is None else embeds


def photograph(width: int = 60, height: int = 40) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


SMALL = {"hidden_size": 24, "num_attention_heads": 3, "num_hidden_layers": 2, "intermediate_size": 40}
SQUARE = {**SMALL, "image_size": 32, "patch_size": 16}


def write_kind(folder: Path, kind: str, look: Any = None, text: dict[str, Any] | None = None, **vision: Any) -> Any:
    """A folder of any supported class, as save_pretrained writes it. look: its image processor."""
    if not hasattr(transformers, kind):
        pytest.skip("an older transformers")
    text = {
        **SMALL,
        "vocab_size": len(tiny.WORDS),
        "max_position_embeddings": LENGTH,
        "eos_token_id": 11,
        **(text or {}),
    }
    text |= {"bos_token_id": 1, "pad_token_id": 0}
    family = kind.removesuffix("Model").removesuffix("VisionModelWithProjection").removesuffix("Vision")
    vision = {**SQUARE, **vision}
    if family == "Siglip2":
        vision |= {"num_patches": (vision.pop("image_size") // vision["patch_size"]) ** 2}
    if "Vision" in kind:
        config = getattr(transformers, f"{family}VisionConfig")(**vision)
    else:
        config = getattr(transformers, f"{family}Config")(text_config=text, vision_config=vision)
    torch.manual_seed(0)
    clip = perturb(getattr(transformers, kind)(config)).eval()
    clip.save_pretrained(folder)
    size = {"height": 32, "width": 32}
    (look or transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=size)).save_pretrained(folder)
    tiny.write_tokenizer(folder)
    return clip


def write(folder: Path, kind: str = "clip") -> Any:
    """A model folder as save_pretrained writes it."""
    text = {"hidden_size": 24, "num_attention_heads": 3, "num_hidden_layers": 2, "intermediate_size": 40}
    text |= {"vocab_size": len(tiny.WORDS), "max_position_embeddings": LENGTH, "eos_token_id": 11, "bos_token_id": 1}
    vision = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 20}
    vision |= {"image_size": 32, "patch_size": 16}
    torch.manual_seed(0)
    if kind == "clip":
        config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)
        clip = perturb(transformers.CLIPModel(config))
        look = transformers.CLIPImageProcessor(
            size={"shortest_edge": 32},
            crop_size={"height": 32, "width": 32},
            image_mean=[0.1, 0.2, 0.3],
            image_std=[0.4, 0.5, 0.6],
        )
    else:
        config = transformers.SiglipConfig(text_config={**text, "projection_size": 16}, vision_config=vision)
        clip = perturb(transformers.SiglipModel(config))
        look = transformers.SiglipImageProcessor(
            size={"height": 32, "width": 32}, image_mean=[0.5] * 3, image_std=[0.5] * 3
        )
    clip.eval().save_pretrained(folder)
    look.save_pretrained(folder)
    tiny.write_tokenizer(folder)
    return clip


@pytest.mark.parametrize("kind", ["clip", "siglip"])
@torch.no_grad()
def test_a_folder(tmp_path, kind):
    clip = write(tmp_path / "m", kind)
    model = summand.load(f"hf:{tmp_path / 'm'}")
    ids = torch.zeros(2, LENGTH, dtype=torch.long)
    ids[0, :5] = torch.tensor([1, 3, 4, 6, 11])
    ids[1, :8] = torch.tensor([1, 9, 5, 7, 8, 9, 10, 11])
    found = clip.get_text_features(input_ids=ids)
    features = found if isinstance(found, torch.Tensor) else found.pooler_output
    torch.testing.assert_close(model.encode_text(TEXTS), nn.functional.normalize(features, dim=-1), rtol=0, atol=0)
    parts = model.decompose_text(TEXTS)
    torch.testing.assert_close(parts.total(), features, rtol=0, atol=1e-5)
    assert parts.words()[0] == ["<start>", "a", "red", "star", "<end>", *["<pad>"] * 4]
    x = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(model.encode_image(x), image_features(clip, x), rtol=0, atol=0)
    assert model.decompose(x).residual() <= 1e-5
    assert not model.clip.training
    with pytest.raises(summand.SummandError, match="needs 10 tokens, the model reads 9"):
        model.encode_text("red " * 8)


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_preprocessing_is_the_processors(tmp_path, kind):
    write(tmp_path / "m", kind)
    model = summand.load(f"hf:{tmp_path / 'm'}")
    array = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    got = model.preprocess(Image.fromarray(array))
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path / "m")
    truth = processor(images=Image.fromarray(array), return_tensors="pt")["pixel_values"][0]
    assert torch.equal(got, truth)
    assert got.shape == (3, 32, 32)
    grey = model.preprocess(np.full((1, 40, 40, 3), 128, np.uint8))
    mean, std = (0.1, 0.4) if kind == "clip" else (0.5, 0.5)
    assert float(grey[0, 0, 5, 5]) == pytest.approx((128 / 255 - mean) / std, abs=1e-5)
    assert (model.picture(grey) == 128).all()


def test_the_hub_cache_offline(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    snapshot = tiny.hub_snapshot(tmp_path, "org/tiny", absent=())
    write(snapshot)
    model = summand.load("hf:org/tiny")
    assert model.name == "hf:org/tiny"
    assert model.encode_text("a red star").shape == (1, 16)


def test_low_precision(tmp_path):
    write(tmp_path / "m")
    model = summand.load(f"hf:{tmp_path / 'm'}", precision="bf16")
    assert model.dtype == torch.bfloat16
    rows = model.encode_text(TEXTS)
    assert rows.dtype == torch.float32
    torch.testing.assert_close(rows.norm(dim=-1), torch.ones(2))
    assert model.decompose_text(TEXTS).residual() < 0.05


def test_only_safetensors_are_read(tmp_path):
    clip = write(tmp_path / "m")
    (tmp_path / "m" / "model.safetensors").unlink()
    torch.save(clip.state_dict(), tmp_path / "m" / "pytorch_model.bin")
    with pytest.raises(summand.SummandError, match="only safetensors"):
        summand.load(f"hf:{tmp_path / 'm'}")


def test_missing_weights_are_not_random(tmp_path):
    from safetensors.torch import load_file, save_file

    write(tmp_path / "m")
    file = tmp_path / "m" / "model.safetensors"
    state = load_file(file)
    del state["text_projection.weight"]
    save_file(state, file, metadata={"format": "pt"})
    with pytest.raises(summand.SummandError, match=r"missing and would be random: text_projection\.weight"):
        summand.load(f"hf:{tmp_path / 'm'}")


def test_other_models_are_refused(tmp_path):
    transformers.BertConfig().save_pretrained(tmp_path)
    with pytest.raises(summand.SummandError, match="is a bert model; supported are clip"):
        summand.load(f"hf:{tmp_path}")
    for name, match in (("hf:nothing", "neither a folder nor"), ("hf:./nowhere/x", "neither a folder nor")):
        with pytest.raises(summand.SummandError, match=match):
            summand.load(name)
    with pytest.raises(summand.SummandError, match="leave out pretrained='openai'"):
        summand.load("hf:org/name", "openai")


def test_without_transformers_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(summand.SummandError, match=r"pip install 'summand-clip\[hf\]'"):
        summand.load(f"hf:{tmp_path}")


def test_without_a_tokenizer_images_still_work(tmp_path):
    write(tmp_path / "m")
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        (tmp_path / "m" / name).unlink(missing_ok=True)
    model = summand.load(f"hf:{tmp_path / 'm'}")
    assert model.encode_image(torch.zeros(1, 3, 32, 32)).shape == (1, 16)
    with pytest.raises(summand.SummandError, match="tokenizer could not be loaded"):
        model.encode_text("a red star")


# Every supported class


CLASSES = list(KINDS.values())


@pytest.mark.parametrize("kind", [kind for kind in CLASSES if "Siglip2" not in kind])
@torch.no_grad()
def test_a_folder_of_every_class(tmp_path, kind):
    clip = write_kind(tmp_path / "m", kind)
    model = summand.load(f"hf:{tmp_path / 'm'}")
    assert type(model.clip).__name__ == kind
    x = model.preprocess(photograph())[None]
    truth = image_features(clip, x)
    torch.testing.assert_close(model.encode_image(x), truth, rtol=1e-5, atol=1e-5)
    assert (model.decompose(x).total() - truth).abs().max() <= 1e-5 * truth.abs().max()
    if "Vision" in kind:
        for ask in (model.encode_text, model.decompose_text):
            with pytest.raises(summand.SummandError, match=r"reads images alone.*load the whole model"):
                ask("a star")
    else:
        assert model.encode_text(TEXTS).shape == (2, model.tower.embed)


@pytest.mark.parametrize("kind", ["ChineseCLIPModel", "AltCLIPModel"])
@torch.no_grad()
def test_texts_of_a_bert_do_not_depend_on_their_padding(tmp_path, kind):
    clip = write_kind(tmp_path / "m", kind, text={"max_position_embeddings": 30})
    model = summand.load(f"hf:{tmp_path / 'm'}")
    ids = torch.tensor([[1, 3, 4, 6, 11]])
    found = clip.get_text_features(input_ids=ids, attention_mask=torch.ones_like(ids))
    truth = nn.functional.normalize(found if isinstance(found, torch.Tensor) else found.pooler_output, dim=-1)
    torch.testing.assert_close(model.encode_text("a red star"), truth, rtol=0, atol=1e-6)
    torch.testing.assert_close(model.encode_text(TEXTS)[:1], truth, rtol=0, atol=1e-6)
    longest = 27 if kind == "AltCLIPModel" else 28  # RoBERTa has no position for the padding's number
    model.encode_text("red " * longest)
    with pytest.raises(summand.SummandError, match=rf"needs {longest + 3} tokens, the model reads {longest + 2}"):
        model.encode_text("red " * (longest + 1))


def test_a_tokenizer_that_pads_otherwise_than_the_model(tmp_path):
    clip = write_kind(tmp_path / "m", "ChineseCLIPModel")
    clip.config.text_config.pad_token_id = 4
    clip.save_pretrained(tmp_path / "m")
    model = summand.load(f"hf:{tmp_path / 'm'}")
    with pytest.raises(summand.SummandError, match="it pads with token 0, the model takes token 4 for padding"):
        model.encode_text("a star")


@pytest.mark.parametrize("kind", ["CLIPModel", "SiglipModel"])
def test_long_texts(tmp_path, kind):
    write_kind(tmp_path / "m", kind, text={"max_position_embeddings": 248})
    model = summand.load(f"hf:{tmp_path / 'm'}")
    texts = ["a red star", "red " * 246]
    parts = model.decompose_text(texts)
    assert parts.tokens().shape[1] == 248
    assert parts.residual() < 1e-5
    written = parts.tokens().abs().amax(dim=-1)
    assert (written[1] > 0).all()  # the last word is read as the first is
    with pytest.raises(summand.SummandError, match="needs 249 tokens, the model reads 248"):
        model.encode_text("red " * 247)


@pytest.mark.parametrize("kind", [kind for kind in CLASSES if "Siglip2" not in kind])
@torch.no_grad()
def test_another_size_is_what_transformers_interpolates(tmp_path, kind):
    clip = write_kind(tmp_path / "m", kind)
    model = summand.load(f"hf:{tmp_path / 'm'}", image_size=64)
    assert (model.tower.image_size, model.tower.grid) == ((64, 64), (4, 4))
    x = model.preprocess(photograph())[None]
    assert x.shape == (1, 3, 64, 64)
    truth = image_features(clip, x, interpolate_pos_encoding=True)
    torch.testing.assert_close(model.encode_image(x), truth, rtol=0, atol=1e-6)
    assert model.decompose(x).residual() <= 1e-5
    with pytest.raises(summand.SummandError, match=r"expects pixels \[image, 3, 64, 64\]"):
        model.decompose(x[..., :32, :32])
    same = summand.load(f"hf:{tmp_path / 'm'}", image_size=32)
    torch.testing.assert_close(same.encode_image(x[..., :32, :32]), image_features(clip, x[..., :32, :32]))


@pytest.mark.parametrize(
    ("size", "match"), [(50, "multiple of it, such as 48 or 64"), ((64, 32), "reads squares"), (9, "such as 16; got 9")]
)
def test_sizes_that_cannot_be_read(tmp_path, size, match):
    write_kind(tmp_path / "m", "CLIPModel")
    with pytest.raises(summand.SummandError, match=match):
        summand.load(f"hf:{tmp_path / 'm'}", image_size=size)


def test_a_processor_of_another_size_is_asked_for_the_towers(tmp_path):
    write_kind(tmp_path / "m", "CLIPModel", transformers.CLIPImageProcessor())  # 224 pixels
    model = summand.load(f"hf:{tmp_path / 'm'}")
    x = model.preprocess(photograph())
    assert x.shape == (3, 32, 32)
    fitting = transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    assert torch.equal(x, torch.as_tensor(fitting(images=photograph(), return_tensors="pt")["pixel_values"][0]))


def test_configurations_that_ask_for_tuples(tmp_path):
    clip = write_kind(tmp_path / "m", "CLIPVisionModelWithProjection")
    clip.config.return_dict = False
    clip.save_pretrained(tmp_path / "m")
    model = summand.load(f"hf:{tmp_path / 'm'}")
    assert model.decompose(torch.zeros(1, 3, 32, 32)).residual() <= 1e-5


# SigLIP 2, whose processor cuts pictures into patches of any grid


def naflex(**settings: Any) -> Any:
    if not hasattr(transformers, "Siglip2ImageProcessor"):
        pytest.skip("an older transformers")
    return transformers.Siglip2ImageProcessor(patch_size=16, max_num_patches=4, **settings)


@pytest.mark.parametrize("kind", [kind for kind in CLASSES if "Siglip2" in kind])
@pytest.mark.parametrize("size", [None, 48, (48, 32)])
def test_siglip2_reads_any_picture_on_one_grid(tmp_path, kind, size):
    write_kind(tmp_path / "m", kind, naflex(), text={"projection_size": 24})
    model = summand.load(f"hf:{tmp_path / 'm'}", image_size=size)
    height, width = size if isinstance(size, tuple) else (size or 32,) * 2
    assert model.tower.grid == (height // 16, width // 16)
    for picture in (photograph(), photograph(31, 77)):
        x = model.preprocess(picture)
        assert x.shape == (3, height, width)
        assert model.decompose(x[None]).residual() <= 1e-5
    grey = model.preprocess(Image.new("RGB", (50, 20), (128, 128, 128)))[None]
    assert (model.picture(grey) == 128).all()


@torch.no_grad()
def test_a_square_picture_is_what_its_own_processor_makes(tmp_path):
    clip = write_kind(tmp_path / "m", "Siglip2Model", naflex(), text={"projection_size": 24})
    model = summand.load(f"hf:{tmp_path / 'm'}")
    picture = photograph(32, 32)
    cut = naflex()(images=[picture], return_tensors="pt")
    found = clip.get_image_features(**cut)
    truth = found if isinstance(found, torch.Tensor) else found.pooler_output
    torch.testing.assert_close(model.encode_image(model.preprocess(picture)[None]), truth, rtol=1e-5, atol=1e-5)


# Processors and tokenizers as the caller holds them


def test_flat_patches_are_refused_by_what_they_are(tmp_path, unchecked):
    clip = write_kind(tmp_path / "m", "Siglip2Model", naflex(), text={"projection_size": 24})
    flat = naflex()(images=[photograph(32, 32)], return_tensors="pt")["pixel_values"]
    with pytest.raises(summand.SummandError, match=r"got \[1, 4, 768\], flat patches.*as preprocess="):
        summand.wrap(clip).decompose(flat)
    model = summand.wrap(clip, preprocess=naflex())
    assert model.decompose(model.preprocess(photograph())[None]).residual() <= 1e-5


@pytest.mark.parametrize("kind", ["CLIPModel", "SiglipModel", "ChineseCLIPModel"])
@torch.no_grad()
def test_wrap_takes_transformers_own_processor_and_tokenizer(tmp_path, kind):
    clip = write_kind(tmp_path / "m", kind)
    loaded = summand.load(f"hf:{tmp_path / 'm'}")
    look = transformers.AutoImageProcessor.from_pretrained(tmp_path / "m")
    words = transformers.AutoTokenizer.from_pretrained(tmp_path / "m")
    both = transformers.CLIPProcessor(image_processor=look, tokenizer=words)
    for model in (
        summand.wrap(clip, preprocess=look, tokenizer=words),
        summand.wrap(clip, preprocess=both, tokenizer=both),
    ):
        assert torch.equal(model.preprocess(photograph()), loaded.preprocess(photograph()))
        assert torch.equal(model.encode_text(TEXTS), loaded.encode_text(TEXTS))


# Folders of something else


def test_siblings_say_what_they_are(tmp_path):
    for name, config, reason in (
        ("XCLIPModel", transformers.XCLIPConfig(), "X-CLIP reads videos"),
        ("CLIPVisionModel", transformers.CLIPVisionConfig(), "without the projection"),
        ("CLIPForImageClassification", transformers.CLIPConfig(), "it classifies"),
        ("BlipModel", transformers.BlipConfig(), "BLIP writes captions"),
        ("SiglipTextModel", transformers.SiglipTextConfig(), "a text tower alone"),
        ("FlavaModel", transformers.FlavaConfig(), "FLAVA"),
    ):
        config.architectures = [name]
        config.save_pretrained(tmp_path)
        with pytest.raises(summand.SummandError, match=rf"is a {name} .*{reason}.*; supported are clip, "):
            summand.load(f"hf:{tmp_path}")


def test_the_other_kind_of_folder_is_named(tmp_path):
    tiny.write_folder(tmp_path / "open", tiny.clip())
    write(tmp_path / "hugging")
    with pytest.raises(summand.SummandError, match=rf"load it as local-dir:{tmp_path / 'open'}"):
        summand.load(f"hf:{tmp_path / 'open'}")
    with pytest.raises(summand.SummandError, match=rf"load it as hf:{tmp_path / 'hugging'}"):
        summand.load(f"local-dir:{tmp_path / 'hugging'}")
    with pytest.raises(summand.SummandError, match="needs a folder or a name behind it"):
        summand.load("hf:")


def test_loading_draws_no_progress_bars(tmp_path, capfd):
    write(tmp_path / "m")
    capfd.readouterr()
    summand.load(f"hf:{tmp_path / 'm'}")
    assert capfd.readouterr().err == ""
