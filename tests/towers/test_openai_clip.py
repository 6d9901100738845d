"""Models of OpenAI's `clip` package: a stand-in with its layout, and the package itself where it is installed."""

from __future__ import annotations

import functools
import sys
import types
from typing import Any

import pytest
import torch
from torch import nn

import summand
from summand.maps.baselines import METHODS, baseline_maps
from summand.maps.neuron_maps import neuron_map, second_order_maps
from tests.border import open_clip
from tests.oracles import perturb
from tests.towers import openai_clip
from tests.towers.test_variants import check

IDS = torch.tensor([[49406, 320, 736, 1565, 49407, 0, 0, 0, 0], [49406, 518, 49407, 0, 0, 0, 0, 0, 0]])
EYE = torch.eye(16, dtype=torch.float64)


def stand_in(kind: str) -> Any:
    torch.manual_seed(0)
    return perturb(getattr(openai_clip, kind)()).double().eval()


def same_in_open_clip(clip: Any) -> Any:
    """open_clip's own class with the very weights."""
    vision = {"image_size": 32, "patch_size": 8, "layers": 3, "width": 48, "head_width": 12}
    text = {"context_length": 9, "vocab_size": 49408, "width": 24, "heads": 3, "layers": 2}
    made = open_clip.CLIP(16, vision, text, quick_gelu=True).double().eval()
    made.load_state_dict(clip.state_dict())
    return made


@torch.no_grad()
def test_every_term_equals_that_of_open_clips_class_with_the_same_weights():
    clip = stand_in("vit")
    other = same_in_open_clip(clip)
    model, truth = check(clip), summand.wrap(other)
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    torch.testing.assert_close(model.encode_image(x), other.encode_image(x), rtol=0, atol=1e-12)
    torch.testing.assert_close(model.decompose(x).toward(EYE), truth.decompose(x).toward(EYE), rtol=0, atol=1e-12)
    for layer in (0, 1):
        found, wanted = model.second_order(x, layer).vectors(), truth.second_order(x, layer).vectors()
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
    torch.testing.assert_close(model.first_order(x, 2).vectors(), truth.first_order(x, 2).vectors(), rtol=0, atol=1e-12)
    torch.testing.assert_close(model.activations(x, 1), truth.activations(x, 1), rtol=0, atol=1e-12)
    means = model.mean_activations([x], 1)
    found, wanted = (made.indirect(x, 1, [0, 7], means).coefficients for made in (model, truth))
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
    assert model.tower.grid == (4, 4)
    assert model.tower.prefix == 1


@pytest.mark.parametrize("method", [*METHODS, "second order", "one neuron"])
def test_every_map_equals_that_of_open_clips_class(method):
    clip = stand_in("vit")
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    texts, found = torch.randn(2, 16, dtype=torch.float64), []
    for made in (summand.wrap(clip), summand.wrap(same_in_open_clip(clip))):
        if method == "second order":
            found.append(second_order_maps(made, x, texts, [0, 1]))
        elif method == "one neuron":
            found.append(torch.stack([neuron_map(made, x, 2, neuron) for neuron in (0, 5)]))
        else:
            torch.manual_seed(0)
            found.append(baseline_maps(made, x, texts, method).detach())
    torch.testing.assert_close(found[0], found[1], rtol=1e-9, atol=1e-9)


def test_a_resnet_and_its_pairs():
    clip = stand_in("resnet")
    model = check(clip)
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    pairs = model.pairs(x)
    total = pairs.vectors().sum(dim=(1, 2)) + pairs.rest
    torch.testing.assert_close(total, clip.encode_image(x).detach(), rtol=0, atol=1e-12)
    assert model.tower.grid == (2, 2)
    assert model.tower.image_size == (64, 64)


@pytest.mark.parametrize("kind", ["vit", "resnet"])
@torch.no_grad()
def test_texts(kind):
    clip = stand_in(kind)
    model = summand.wrap(clip, tokenizer=lambda texts: IDS[: len(texts)])
    parts, truth = model.decompose_text(["a", "b"]), clip.encode_text(IDS)
    torch.testing.assert_close(parts.total(), truth, rtol=0, atol=1e-12)
    torch.testing.assert_close(model.encode_text(["a", "b"]), nn.functional.normalize(truth, dim=-1), rtol=0, atol=0)
    words = parts.tokens()
    torch.testing.assert_close(words.sum(dim=1), parts.heads().sum(dim=(1, 2)), rtol=0, atol=1e-12)
    assert (words[1, 3:] == 0).all()  # what the end token cannot see
    if kind == "vit":
        other = summand.wrap(same_in_open_clip(clip), tokenizer=lambda texts: IDS[: len(texts)])
        torch.testing.assert_close(words, other.decompose_text(["a", "b"]).tokens(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["vit", "resnet"])
def test_fp16_weights_beside_fp32_norms(kind):
    clip = openai_clip.half(stand_in(kind).float())
    model = summand.wrap(clip, tokenizer=lambda texts: IDS[: len(texts)])
    assert model.dtype == torch.float16
    x = torch.randn(2, 3, *model.tower.image_size).half()
    assert model.decompose(x).residual() < 5e-3
    assert model.decompose_text(["a", "b"]).residual() < 5e-3
    with pytest.raises(summand.SummandError, match=r"computes in torch\.float16"):
        model.decompose(x.float())


def fake_tokenize(texts: list[str], context_length: int = 9, truncate: bool = False) -> torch.Tensor:
    if any(len(text.split()) > 7 for text in texts) and not truncate:
        raise RuntimeError(f"Input {texts[0]} is too long for context length {context_length}")
    return IDS[: len(texts)]


fake_tokenize.__name__, fake_tokenize.__module__ = "tokenize", "clip.clip"


@pytest.mark.parametrize("tokenizer", [fake_tokenize, functools.partial(fake_tokenize, truncate=True)])
def test_the_words_of_its_tokenizer(tokenizer, unchecked):
    model = summand.wrap(stand_in("vit"), tokenizer=tokenizer)
    assert model.decompose_text("a red star").words()[0] == ["<start>", "a", "red", "star", "<end>", *["<pad>"] * 4]


def test_a_text_that_its_tokenizer_refuses(unchecked):
    model = summand.wrap(stand_in("vit"), tokenizer=fake_tokenize)
    with pytest.raises(summand.SummandError, match=r"the tokenizer cannot read these texts: Input .* is too long"):
        model.encode_text("red " * 20)


# The same code, under other names


def test_copies_of_its_code_in_other_packages_and_subclasses():
    class CLIPVision(openai_clip.VisionTransformer):
        pass

    renamed = type("VisualTransformer", (openai_clip.VisionTransformer,), {})
    for made in (CLIPVision, renamed):
        clip = openai_clip.CLIP(made(32, 8, 48, 3, 4, 16), 16)
        check(perturb(clip).double().eval())


def test_a_namesake_that_is_something_else_is_refused():
    class VisionTransformer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patch_embed, self.blocks = nn.Linear(2, 2), nn.ModuleList()

    clip = stand_in("vit")
    clip.visual = VisionTransformer()
    with pytest.raises(summand.SummandError, match="image tower VisionTransformer cannot be taken apart"):
        summand.wrap(clip)
    clip.visual = None
    with pytest.raises(summand.SummandError, match="no image tower called `visual`"):
        summand.wrap(clip)


def test_a_tower_that_does_not_tell_its_size_is_refused():
    clip = stand_in("vit")
    del clip.visual.input_resolution
    with pytest.raises(summand.SummandError, match=r"does not say the size .*input_resolution"):
        summand.wrap(clip)
    clip = stand_in("resnet")
    clip.visual.input_resolution = 96
    with pytest.raises(summand.SummandError, match=r"positions for 2 × 2 columns of 32 pixels, its images are 96 × 96"):
        summand.wrap(clip)


# The package itself


def package() -> types.ModuleType:
    return pytest.importorskip("clip.model", exc_type=ImportError)


def of_package(kind: str) -> Any:
    made: Any = package().CLIP
    torch.manual_seed(0)
    if kind == "vit":
        return perturb(made(24, 32, 3, 128, 8, 77, 49408, 16, 2, 2)).eval()
    return perturb(made(24, 64, (1, 1, 1, 1), 8, None, 77, 49408, 16, 2, 2)).eval()


@pytest.mark.parametrize("kind", ["vit", "resnet"])
@torch.no_grad()
def test_the_package_itself(kind, monkeypatch):
    clip = of_package(kind)
    monkeypatch.setattr(package().LayerNorm, "forward", nn.LayerNorm.forward)  # its own casts to fp32
    check(clip.double())
    model = summand.wrap(clip, tokenizer=sys.modules["clip"].tokenize)
    texts = ["a red star", "the blue ring on the left"]
    truth = clip.encode_text(sys.modules["clip"].tokenize(texts))
    parts = model.decompose_text(texts)
    torch.testing.assert_close(parts.total(), truth, rtol=0, atol=1e-12)
    assert parts.words()[0][:5] == ["<start>", "a", "red", "star", "<end>"]


@pytest.mark.parametrize("kind", ["vit", "resnet"])
def test_the_packages_fp16_weights(kind):
    clip = of_package(kind)
    package().convert_weights(clip)
    model = summand.wrap(clip, tokenizer=sys.modules["clip"].tokenize)
    x = torch.randn(2, 3, *model.tower.image_size).half()
    assert model.decompose(x).residual() < 5e-3
    assert model.decompose_text("a red star").residual() < 5e-3
