"""Every method against its formula written out for one image and one text."""

from __future__ import annotations

import pytest
import torch

from summand import SummandError
from summand.maps.baselines import METHODS, Capture, baseline_maps

from . import literal


@pytest.mark.parametrize("name", literal.BY_NAME)
def test_the_maps_follow_the_formula(name, small, small_pixels, texts):
    maps = baseline_maps(small, small_pixels, texts, name)
    assert maps.shape == (3, 2, 4, 4)
    for image in range(3):
        for text in range(2):
            expected = literal.BY_NAME[name](small.clip.visual, small_pixels[image], texts[text])
            torch.testing.assert_close(maps[image, text].flatten(), expected, atol=1e-11, rtol=1e-7)


def test_formulas_and_chance_are_all_methods():
    relevance = {"lrp", "partial-lrp", "transformer-attribution"}  # in test_lrp
    assert set(METHODS) == {*literal.BY_NAME, *relevance, "random"}
    assert all(name == found.name and found.source for name, found in METHODS.items())


@pytest.mark.parametrize("name", METHODS)
def test_one_capture_serves_all_and_images_do_not_see_each_other(name, small, small_pixels, texts):
    alone = baseline_maps(small, small_pixels, texts, name)
    shared = Capture(small, small_pixels, graph_from=0)
    torch.testing.assert_close(baseline_maps(small, small_pixels, texts, name, shared=shared), alone)
    pieces = [baseline_maps(small, small_pixels[i : i + 1], texts[:1], name) for i in range(3)]
    if name != "random":
        torch.testing.assert_close(torch.cat(pieces), alone[:, :1])
    assert not alone.requires_grad


@pytest.mark.parametrize("name", [name for name in METHODS if name != "random"])
def test_each_image_may_have_a_text_of_its_own(name, small, small_pixels, texts):
    which = torch.tensor([1, 0, 1])
    found = baseline_maps(small, small_pixels, torch.stack([texts[which], texts[1 - which]]), name)
    alone = [
        baseline_maps(small, small_pixels[i : i + 1], texts[[int(which[i]), 1 - int(which[i])]], name) for i in range(3)
    ]
    torch.testing.assert_close(found, torch.cat(alone))
    with pytest.raises(SummandError, match=r"\[text, 16\] or \[text, 3, 16\]"):
        baseline_maps(small, small_pixels, texts[None], name)


def test_texts_are_cut_into_pieces_that_fit(small, small_pixels, texts, monkeypatch):
    from summand.maps.baselines import gradients, lrp

    names = ("chefer", "transformer-attribution", "gradcam", "lrp")
    whole = {name: baseline_maps(small, small_pixels, texts.repeat(3, 1), name) for name in names}
    monkeypatch.setattr(gradients, "_AT_ONCE", 1)
    monkeypatch.setattr(lrp, "_AT_ONCE", 1)
    for name in names:
        torch.testing.assert_close(baseline_maps(small, small_pixels, texts.repeat(3, 1), name), whole[name])


def test_options_are_the_formulas_variants(small, small_pixels, texts):
    visual, image, text = small.clip.visual, small_pixels[0], texts[0]

    def one(name, **options):
        return baseline_maps(small, small_pixels[:1], texts[:1], name, **options)[0, 0].flatten()

    plain = literal.dense(visual, image, text, "identity", residual=False, mlp=False)
    torch.testing.assert_close(one("maskclip", residual=False, mlp=False), plain)
    a, gradient = literal.attention_gradient(visual, image, text, 2)
    last = torch.stack([(gradient[h] * a[h]).clamp(min=0) / len(a) for h in range(len(a))]).sum(dim=0)[0, 1:]
    torch.testing.assert_close(one("chefer", first_layer=-1), last)
    heads = torch.stack([gradient[h, 0, 1:].mean() * a[h, 0, 1:] for h in range(len(a))]).sum(dim=0)
    torch.testing.assert_close(one("gradcam", features="attention", relu=False), heads)
    torch.testing.assert_close(one("gradcam", features="attention"), heads.clamp(min=0))


def test_feature_surgery_subtracts_what_the_texts_share(small, small_pixels, texts):
    image = small_pixels[0]
    seen = literal.walk(small.clip.visual, image)
    units = torch.nn.functional.normalize(texts, dim=1)
    share = torch.stack([2 * literal.cosine(seen.output, t) for t in units]).softmax(dim=0)
    weights = share / share.mean()
    each = [weights[t] * literal.clip_surgery(small.clip.visual, image, units[t]) for t in range(2)]
    found = baseline_maps(small, small_pixels[:1], texts, "clip-surgery", feature_surgery=True)[0].flatten(1)
    torch.testing.assert_close(found, torch.stack([part - (each[0] + each[1]) / 2 for part in each]))
