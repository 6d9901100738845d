"""What a model says to input that it cannot read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import summand
from summand.models.tokens import count_tokens
from tests import tiny
from tests.border import open_clip


@pytest.fixture(scope="module")
def clip() -> Any:
    return tiny.clip()


@pytest.fixture
def model(clip, unchecked) -> summand.Model:
    return summand.wrap(clip, tokenizer=open_clip.SimpleTokenizer(context_length=16), name="tiny")


GOOD = torch.zeros(2, 3, 32, 32)


@pytest.mark.parametrize(
    ("pixels", "match"),
    [
        (torch.zeros(3, 32, 32), r"\[image, 3, 32, 32\], got \[3, 32, 32\]"),
        (torch.zeros(2, 1, 32, 32), r"got \[2, 1, 32, 32\]"),
        (torch.zeros(2, 3, 32, 40), r"got \[2, 3, 32, 40\]"),
        (np.zeros((2, 3, 32, 32)), "got ndarray"),
        (Image.new("RGB", (32, 32)), "got Image.*model.preprocess makes them"),
        (GOOD[:0], "empty batch"),
        (GOOD.double(), "computes in torch.float32, got pixels in torch.float64"),
        (GOOD.to(torch.uint8), "got pixels in torch.uint8"),
        (torch.full_like(GOOD, torch.nan), "NaN or infinite"),
        (GOOD - torch.inf, "NaN or infinite"),
        (GOOD.to("meta"), "is on cpu, the pixels are on meta"),
    ],
)
@pytest.mark.parametrize("verb", ["decompose", "encode_image"])
def test_pixels_that_cannot_be_read(model, pixels, match, verb):
    with pytest.raises(summand.SummandError, match=match):
        getattr(model, verb)(pixels)


@pytest.mark.parametrize("verb", ["decompose", "encode_image"])
def test_training_mode_of_the_image_tower(model, clip, verb):
    clip.visual.train()
    try:
        with pytest.raises(summand.SummandError, match=r"training mode.*eval\(\)"):
            getattr(model, verb)(GOOD)
        assert model.encode_text("a star").shape == (1, 16)  # the text tower is not
    finally:
        clip.eval()


@pytest.mark.parametrize("verb", ["decompose_text", "encode_text", "text_batch"])
def test_texts_that_cannot_be_read(model, clip, verb):
    ask = getattr(model, verb)
    for texts, match in (
        ([], "at least one text"),
        ("", "non-empty string, got ''"),
        (["a star", "  "], "non-empty string"),
        (["a star", 3], "non-empty string, got 3"),
        ("star " * 15, "needs 17 tokens, the model reads 16; shorten it: 'star star"),
    ):
        with pytest.raises(summand.SummandError, match=match):
            ask(texts)
    clip.transformer.train()
    try:
        with pytest.raises(summand.SummandError, match="training mode"):
            ask("a star")
    finally:
        clip.eval()


def test_a_text_that_just_fits(model):
    tokenizer = open_clip.SimpleTokenizer(context_length=16)
    assert count_tokens(tokenizer, "star " * 14) == 16
    assert model.encode_text(["star " * 14, "a"]).shape == (2, 16)


def test_a_long_text_of_every_tokenizer(tmp_path, unchecked):
    from open_clip.tokenizer import HFTokenizer

    tiny.write_tokenizer(tmp_path, sep_token="</s>", cls_token="<s>")
    clip = tiny.clip(custom_text=True, text={"vocab_size": 12})
    for mode, most in ((None, 14), ("clips", 13)):
        tokenizer = HFTokenizer(str(tmp_path), context_length=16, tokenizer_mode=mode)
        made = summand.wrap(clip, tokenizer=tokenizer)
        made.encode_text("red " * most)
        with pytest.raises(summand.SummandError, match="needs 17 tokens, the model reads 16"):
            made.encode_text(["red", "red " * (most + 1)])
    scenes = summand.load("scenes-vit", random_init=True)
    with pytest.raises(summand.SummandError, match="longer than the 30"):
        scenes.encode_text("red " * 31)
    with pytest.raises(summand.SummandError, match="zeppelin"):
        scenes.encode_text("a red zeppelin")


def test_a_tokenizer_of_the_callers_own(clip, unchecked):
    def tokenize(texts):
        return torch.tensor([[49406, 320, 49407, *[0] * 13]] * len(texts))

    made = summand.wrap(clip, tokenizer=tokenize)
    assert made.encode_text(["anything", "at all"]).shape == (2, 16)
    assert made.decompose_text("anything").words()[0][:3] == ["49406", "320", "49407"]
    made = summand.wrap(clip, tokenizer=lambda texts: [1, 2])
    with pytest.raises(summand.SummandError, match=r"token ids \[1, token\], got list"):
        made.encode_text("a")


def test_what_is_missing_is_asked_for_only_when_used(clip, unchecked):
    bare = summand.wrap(clip)
    assert bare.decompose(GOOD).residual() < 1e-5
    with pytest.raises(summand.SummandError, match="pass tokenizer="):
        bare.encode_text("a star")
    with pytest.raises(summand.SummandError, match="pass tokenizer="):
        bare.decompose_text("a star")
    with pytest.raises(summand.SummandError, match="pass preprocess="):
        bare.preprocess(Image.new("RGB", (9, 9)))


def test_preprocess_takes_pictures_and_arrays_only(clip, unchecked):
    made = summand.load("scenes-vit", random_init=True)
    for wrong in ("photo.jpg", np.zeros((64, 64, 3)), np.zeros((1, 3, 64, 64), np.uint8)):
        with pytest.raises(summand.SummandError, match="expected a PIL image"):
            made.preprocess(wrong)
    grey = made.preprocess(Image.new("L", (64, 64), 128))
    assert grey.shape == (3, 64, 64)


def test_toward_checks_its_directions(model):
    with pytest.raises(summand.SummandError, match=r"\[direction, 16\].*got \[1, 5\]"):
        model.decompose_text("a star").toward(torch.zeros(1, 5))


def test_wrap_refuses_what_is_no_clip(unchecked):
    with pytest.raises(summand.SummandError, match="no image tower"):
        summand.wrap(torch.nn.Linear(2, 2))


def test_a_fine_tuned_model_in_memory(clip):
    tuned = tiny.clip(seed=9)
    made = summand.wrap(tuned)
    before = made.decompose(GOOD).heads()
    with torch.no_grad():
        tuned.visual.proj.mul_(3)
    torch.testing.assert_close(made.decompose(GOOD).heads(), 3 * before)
    assert made.clip is tuned


def test_a_wrapped_models_tower_is_built_once(clip, monkeypatch):
    """Only a processor of transformers must know the size of the pictures before there is a model."""

    def again(*_):
        raise AssertionError("built for nothing")

    monkeypatch.setattr("summand.models.wrapping.tower_of", again)
    made = summand.wrap(clip, preprocess=lambda picture: torch.zeros(3, 32, 32))
    assert made.tower.image_size == (32, 32)
