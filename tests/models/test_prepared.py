"""Preprocessing in two halves gives what it gives whole, to the bit."""

from __future__ import annotations

import numpy as np
import open_clip
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from torchvision.transforms import Compose, Normalize, ToTensor

import summand
from summand.models.prepared import cut_of, pixels_of
from tests.depth import deep

WAYS = [
    {"size": 32, "interpolation": way, "resize_mode": mode}
    for way in ("bicubic", "bilinear")
    for mode in ("shortest", "longest", "squash")
]


def transform(way: dict[str, object], **more: object) -> Compose:
    return image_transform_v2(PreprocessCfg(**{**way, **more}), is_train=False)  # type: ignore[arg-type]


@given(st.sampled_from(WAYS), st.integers(0, 2**16), st.sampled_from(["RGB", "L", "RGBA", "P", "CMYK"]))
def test_cut_and_finished_is_the_whole_preprocessing_to_the_bit(way, seed, mode):
    rng = np.random.default_rng(seed)
    sides = rng.integers(8, 90, 2)
    pictures = [Image.fromarray(rng.integers(0, 256, (*sides, 3), dtype=np.uint8)).convert(mode) for _ in range(3)]
    whole = transform(way, mean=(0.48, 0.46, 0.41), std=(0.27, 0.26, 0.28))
    cut = cut_of(whole)
    assert cut is not None
    read = [picture.convert("RGB") for picture in pictures]
    found = torch.stack([cut(picture) for picture in read])
    assert found.dtype == torch.uint8
    assert torch.equal(cut.finished(found), torch.stack([whole(picture) for picture in read]))


def test_every_preprocessing_of_open_clips_has_halves():
    known = ("mean", "std", "interpolation", "resize_mode")
    seen = set()
    for name, tag in open_clip.list_pretrained():
        own = open_clip.get_pretrained_cfg(name, tag)
        seen.add(
            tuple((key, tuple(own[key]) if isinstance(own[key], list) else own[key]) for key in known if key in own)
        )
    assert len(seen) > 3
    for way in seen:
        assert cut_of(transform({"size": 64, **dict(way)})) is not None, way


def test_what_is_not_known_to_have_halves_is_done_whole():
    class Other(ToTensor):
        def __call__(self, pic):
            return super().__call__(pic) * 2

    usual = Normalize((0.5,) * 3, (0.5,) * 3)
    assert cut_of(Compose([Other(), usual])) is None
    assert cut_of(Compose([ToTensor()])) is None
    assert cut_of(Compose([usual, ToTensor()])) is None
    assert cut_of(lambda picture: picture) is None
    assert cut_of(None) is None


@pytest.fixture(scope="module")
def model() -> summand.Model:
    torch.manual_seed(0)
    clip = open_clip.CLIP(
        16,
        {"image_size": 32, "patch_size": 16, "width": 32, "layers": 2, "head_width": 16},
        {"context_length": 8, "vocab_size": 50, "width": 16, "heads": 2, "layers": 1},
    ).eval()
    return summand.wrap(clip, preprocess=transform({"size": 32}))


def test_a_survey_is_the_same_whichever_way_its_pictures_came(model, tmp_path):
    """From files, of which bytes are handed over; from pixels that were preprocessed whole."""
    rng = np.random.default_rng(0)
    for number in range(deep(24, 8)):
        picture = Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8))
        picture.save(tmp_path / f"{number:02}.png")
    pictures = [Image.open(path) for path in sorted(tmp_path.iterdir())]
    pixels = torch.stack([model.preprocess(picture) for picture in pictures])
    assert model.prepared(pictures).dtype == torch.uint8
    assert torch.equal(pixels_of(model, pictures), pixels)
    options = {"units": "heads", "top": 2, "held_out": 0, "progress": False}
    found, expected = (summand.survey(model, images, **options) for images in (tmp_path, list(pixels)))
    for group in found.groups:
        assert torch.equal(found.moments(group).covariance, expected.moments(group).covariance)


def test_tensors_are_pixels_whatever_their_type(model):
    """Bytes that a caller gives as a tensor were never scaled by us: they stay the numbers that they are."""
    given = torch.arange(2 * 3 * 32 * 32, dtype=torch.uint8).reshape(2, 3, 32, 32)
    assert torch.equal(pixels_of(model, given), given.float())
