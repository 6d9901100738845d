"""timm's vision transformers in the words of a CLIP: the map against numpy's least squares, and the sum."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch.nn import functional as F

import summand
from summand import SummandError
from summand.models.aligned import fit, needed
from summand.studies.align.options import read_settings
from summand.studies.align.result import beyond

SMALL = {"img_size": 64, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2}


def network(**changes):
    torch.manual_seed(0)
    return timm.create_model("vit_tiny_patch16_224", **{**SMALL, "num_classes": 5, **changes}).eval()


def test_the_map_is_that_of_least_squares():
    made = np.random.default_rng(0)
    x = made.normal(size=(400, 6)) @ made.normal(size=(6, 6)) + 3
    y = x @ made.normal(size=(6, 4)) + made.normal(size=4) + 0.1 * made.normal(size=(400, 4))
    y /= np.linalg.norm(y, axis=1, keepdims=True)
    found = fit(torch.from_numpy(x), torch.from_numpy(y), ridges=[0.0])
    own = [i for i in range(400) if i % 10 not in (5, 9)]
    want = np.linalg.lstsq(np.c_[x[own], np.ones(len(own))], y[own], rcond=None)[0]
    np.testing.assert_allclose(found.weight.numpy(), want[:-1], atol=1e-5)
    np.testing.assert_allclose(found.bias.numpy(), want[-1], atol=1e-4)
    assert found.reported == tuple(range(9, 400, 10))
    mapped = torch.from_numpy(x[9::10] @ want[:-1] + want[-1])
    assert found.cosine == pytest.approx(float(F.cosine_similarity(mapped, torch.from_numpy(y[9::10]), dim=1).mean()))
    assert found.cosine > found.of_mean
    missed = ((mapped.numpy() - y[9::10]) ** 2).sum() / ((y[own].mean(axis=0) - y[9::10]) ** 2).sum()
    assert found.explained == pytest.approx(1 - missed, abs=1e-6)


def test_a_ridge_is_chosen_where_features_are_noise():
    made = torch.Generator().manual_seed(0)
    x, y = torch.randn(200, 60, generator=made), torch.randn(200, 8, generator=made) + 2
    assert fit(x, y).ridge >= 1
    with pytest.raises(SummandError, match="149 images are too few for a map of 60 features: give at least 150"):
        fit(x[:149], y[:149])
    assert needed(60) == 150


@pytest.mark.parametrize(
    "changes",
    [{}, {"class_token": False, "global_pool": "avg"}, {"init_values": 0.1, "reg_tokens": 2}],
    ids=["class token", "mean, no class token", "LayerScale and registers"],
)
def test_an_aligned_model_is_a_sum_in_the_words_of_its_clip(vit, pixels, changes):
    vision: Any = network(**changes)
    model = summand.align(vision, vit, "scenes:count=70,seed=3", pixels="clip", progress=False)
    with torch.no_grad():
        features = vision.forward_head(vision.forward_features(pixels), pre_logits=True)
    proj: Any = model.clip.visual.head[0]
    want = features @ proj.weight.T + proj.bias
    torch.testing.assert_close(model.encode_image(pixels), want, rtol=1e-4, atol=1e-5)
    parts = model.decompose(pixels)
    assert parts.residual() < 1e-5
    assert parts.heads().shape[1:] == (2, 2, 128)
    torch.testing.assert_close(
        model.encode_text(["a red star"]), vit.encode_text(["a red star"]), rtol=0, atol=1e-6
    )  # one may come from a batch
    assert model.world is vit.world
    assert isinstance(vision.head, torch.nn.Linear)
    report = model.alignment.rows.to_dict("records")[0]
    assert report["images"] == 56
    answers = {row["classes"]: row for row in model.alignment.answers}
    assert list(answers) == ["shape", *(name for name in summand.scenes.ATTRIBUTES if name != "shape")]
    assert {report[name] == answers["shape"][name] for name in ("agreement", "chance")} == {True}


def test_zero_shot_answers_are_those_of_the_prompts_and_beside_chance(vit):
    """Seven held-out images, by hand: prompts of the world, the answer of either model, and the commonest one."""
    model = summand.align(network(), vit, "scenes:count=70,seed=3", pixels="clip", progress=False)
    pixels = vit.preprocess(summand.scenes.sample(70, seed=3).images[9::10])
    for row in model.alignment.answers:
        texts = summand.scenes.prompts(row["classes"]).values()
        values = F.normalize(torch.stack([vit.encode_text(list(some)).mean(dim=0) for some in texts]), dim=1)
        mine, own = ((each.encode_image(pixels) @ values.T).argmax(dim=1) for each in (model, vit))
        assert row["agreement"] == pytest.approx(float((mine == own).float().mean()))
        assert row["chance"] == pytest.approx(own.bincount().max().item() / 7)
    said = " ".join(model.alignment.notes)
    lost = [row["classes"] for row in model.alignment.answers if not row["beyond"]]
    assert lost
    assert f"of {', '.join(lost)} it tells no more than chance" in said


def test_agreement_beyond_chance_is_two_standard_errors():
    assert beyond(0.61, 0.5, 100)
    assert not beyond(0.59, 0.5, 100)
    assert not beyond(0.61, 0.5, 50)


def test_kept_in_a_folder_and_loaded_again(tmp_path, vit, pixels):
    settings = ",".join(f"{name}={value}" for name, value in SMALL.items())
    made = summand.align("vit_tiny_patch16_224", vit, "scenes:count=70,seed=3", vision_settings=settings,
                         random_vision=True, pixels="clip", progress=False)  # fmt: skip
    made.alignment.save(tmp_path / "kept")
    again = summand.load(f"aligned:{tmp_path / 'kept'}")
    torch.testing.assert_close(again.encode_image(pixels), made.encode_image(pixels))
    assert again.origin is not None
    assert again.random_weights
    assert again.world is vit.world
    with pytest.raises(SummandError, match="comes with its own weights; leave out pretrained='x'"):
        summand.load(f"aligned:{tmp_path / 'kept'}", "x")
    with pytest.raises(SummandError, match="is no folder of summand align"):
        summand.load(f"aligned:{tmp_path}")


@pytest.mark.slow
def test_a_network_of_another_size_than_its_weights_reads_pictures_of_its_own_size(vit):
    made = summand.align(network(img_size=32), vit, "scenes:count=70,seed=3", progress=False)
    x = made.preprocess(summand.scenes.sample(2, seed=1).images)
    assert x.shape == (2, 3, 32, 32)
    torch.testing.assert_close(made.decompose(x).total(), made.encode_image(x), rtol=1e-4, atol=1e-5)


def test_pixels_that_one_preprocessing_made_are_for_two_models_that_read_the_same(vit):
    pixels = vit.preprocess(summand.scenes.sample(70, seed=3).images)
    given = summand.align(network(), vit, pixels, pixels="clip", progress=False).alignment
    drawn = summand.align(network(), vit, "scenes:count=70,seed=3", pixels="clip", progress=False).alignment
    assert given.rows.to_dict("records")[0] == pytest.approx(drawn.rows.to_dict("records")[0])
    for small in (network(), network(img_size=32)):
        with pytest.raises(SummandError, match=r"tensors of 12,288 numbers.* give pictures .*, or say pixels='clip'"):
            summand.align(small, vit, list(pixels), progress=False)
    with pytest.raises(SummandError, match=r"of 6,912 numbers.*, or 12,288 numbers an image, which both read"):
        summand.align(network(), vit, pixels[:, :, 8:56, 8:56], pixels="clip", progress=False)


def test_settings_in_words_are_those_of_python():
    said = read_settings("img_size=64, init_values=1e-5,class_token=False,global_pool=avg,embed_layer=None")
    want = {"img_size": 64, "init_values": 1e-5, "class_token": False, "global_pool": "avg", "embed_layer": None}
    assert said == want
    assert read_settings({"img_size": 64}) == {"img_size": 64}
    assert read_settings(None) == {}
    for given in ("num_classes=3", {"num_classes": 3}):
        with pytest.raises(SummandError, match="vision_settings has no place for num_classes"):
            read_settings(given)
    with pytest.raises(SummandError, match="must be name=value with commas between, got 'img_size'"):
        read_settings("img_size")


def test_what_cannot_be_aligned_says_why(vit, unchecked):
    scenes = "scenes:count=40,seed=3"
    with pytest.raises(SummandError, match="40 images are too few for a map of 24 features: give at least 60"):
        summand.align(network(), vit, scenes, pixels="clip")
    with pytest.raises(
        SummandError,
        match=r"vision is a timm model of type Vision.*; got Linear.*, such as vit_small_patch14_dinov2",
    ):
        summand.align(torch.nn.Linear(2, 2), vit, scenes)
    with pytest.raises(SummandError, match=r"vision is a timm model of type .* got VisionTransformerDistilled"):
        summand.align(timm.create_model("deit_tiny_distilled_patch16_224"), vit, scenes)
    with pytest.raises(SummandError, match=r"pixels='clip' makes .* say pixels='own'"):
        summand.align(network(img_size=32), vit, "scenes:count=70,seed=3", pixels="clip")
    with pytest.raises(SummandError, match="vision reads images of 1 channels; three are needed"):
        summand.align(network(in_chans=1), vit, scenes)
    with pytest.raises(SummandError, match=r"clip must be a model, such as summand.load.* got the str 'scenes-vit'"):
        summand.align(network(), "scenes-vit", scenes)
    with pytest.raises(SummandError, match="batch_size must be a whole number of at least 1, got 0"):
        summand.align(network(), vit, "scenes:count=70", batch_size=0)
    with pytest.raises(SummandError, match="go with the name of a timm model"):
        summand.align(network(), vit, scenes, random_vision=True)
    with pytest.raises(SummandError, match=r"'vit_tiny_patch16_224' with vision_settings embed_dim=17: .*; mind these"):
        summand.align("vit_tiny_patch16_224", vit, scenes, vision_settings="embed_dim=17", random_vision=True)
    with pytest.raises(SummandError, match="timm cannot make 'no_such_vit'"):
        summand.align("no_such_vit", vit, scenes)
    loose = network()
    made = summand.align(loose, vit, "scenes:count=70,seed=3", pixels="clip", progress=False)
    with pytest.raises(SummandError, match="handed over as a module; give its name"):
        made.alignment.save_more(None)
