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
from tests import tiny
from tests.oracles import perturb

transformers = pytest.importorskip("transformers")
LENGTH = 9
TEXTS = ["a red star", "the blue ring on the left"]


def image_features(clip: Any, pixels: torch.Tensor) -> torch.Tensor:
    found = clip.get_image_features(pixel_values=pixels)
    return found if isinstance(found, torch.Tensor) else found.pooler_output


def write(folder: Path, kind: str = "clip") -> nn.Module:
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
    with pytest.raises(summand.SummandError, match=r"pip install 'summand\[hf\]'"):
        summand.load(f"hf:{tmp_path}")


def test_without_a_tokenizer_images_still_work(tmp_path):
    write(tmp_path / "m")
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        (tmp_path / "m" / name).unlink(missing_ok=True)
    model = summand.load(f"hf:{tmp_path / 'm'}")
    assert model.encode_image(torch.zeros(1, 3, 32, 32)).shape == (1, 16)
    with pytest.raises(summand.SummandError, match="tokenizer could not be loaded"):
        model.encode_text("a red star")
