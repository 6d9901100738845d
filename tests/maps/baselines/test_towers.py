"""Towers of every kind: what applies, what is refused and why, and that nothing is left behind on the model."""

from __future__ import annotations

import pytest
import torch

import summand
from summand import SummandError
from summand.maps.baselines import METHODS, Capture, baseline_maps
from tests import tiny
from tests.towers.shrink import build, shrunk

POOLED = {"raw-attention", "maskclip", "chefer", "grad-eclip", "gradcam", "legrad", "random"}
SELF = {"sclip", "clearclip", "clip-surgery"}
RELEVANCE = {"lrp", "partial-lrp", "transformer-attribution"}
APPLIES = {
    "ViT-B-32": set(METHODS),
    "RN50": POOLED | SELF,
    "ViT-B-16-SigLIP": POOLED,
    "EVA02-B-16": set(METHODS) - RELEVANCE,
}


def shrunk_model(name: str) -> summand.Model:
    small = next(small for first, (small, names) in shrunk().items() if name in names)
    return summand.wrap(build(small))


@pytest.mark.parametrize("name", APPLIES)
def test_each_method_applies_or_says_why_not(name, unchecked):
    model = shrunk_model(name)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(2, 3, *model.tower.image_size, generator=generator).double()
    directions = torch.randn(2, model.tower.embed, generator=generator).double()
    before = {key: value.clone() for key, value in model.clip.state_dict().items()}
    flags = [(p.requires_grad, p.grad is None) for p in model.clip.parameters()]
    applied = set()
    for method in METHODS.values():
        reason = method.applies(model)
        if reason is not None:
            with pytest.raises(SummandError, match="does not apply"):
                baseline_maps(model, pixels, directions, method.name)
            continue
        applied.add(method.name)
        maps = method.maps(model, pixels, directions)
        assert maps.shape == (2, 2, *model.tower.grid)
        assert torch.isfinite(maps).all()
        assert float(maps.std()) > 0
    assert applied == APPLIES[name]
    assert all(torch.equal(value, before[key]) for key, value in model.clip.state_dict().items())
    assert [(p.requires_grad, p.grad is None) for p in model.clip.parameters()] == flags
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.clip.modules())


@pytest.mark.slow
@pytest.mark.parametrize("name", list(shrunk()))
def test_the_recomputed_pass_is_the_models_own(name, unchecked):
    small, _ = shrunk()[name]
    model = summand.wrap(build(small))
    pixels = torch.randn(2, 3, *model.tower.image_size, generator=torch.Generator().manual_seed(0)).double()
    if getattr(getattr(model.tower.visual, "trunk", None), "rope_mixed", False):
        with pytest.raises(SummandError, match="rotary"):
            Capture(model, pixels)
        return
    output = Capture(model, pixels, graph_from=-1).output.detach()
    torch.testing.assert_close(output, model.encode_image(pixels), atol=1e-9, rtol=1e-7)


def test_maskclip_of_a_resnet_is_the_value_path_of_its_pool(resnet):
    pixels = resnet.preprocess(summand.scenes.sample(2, seed=1).images)
    text = resnet.encode_text(["a star", "the sea"])
    seen = {}
    pool = resnet.clip.visual.attnpool
    hook = pool.register_forward_pre_hook(lambda _, args: seen.update(grid=args[0]))
    resnet.encode_image(pixels)
    hook.remove()
    patches = seen["grid"].flatten(2).transpose(1, 2) + pool.positional_embedding[1:]
    features = torch.nn.functional.normalize(pool.c_proj(pool.v_proj(patches)), dim=-1) @ text.T
    found = baseline_maps(resnet, pixels, text, "maskclip")
    torch.testing.assert_close(found.flatten(2), features.detach().transpose(1, 2), atol=1e-5, rtol=1e-4)


def test_mistakes_are_named(vit, pixels, unchecked):
    text = vit.encode_text(["a star"])
    with pytest.raises(SummandError, match="did you mean 'gradcam'"):
        baseline_maps(vit, pixels, text, "gradcamm")
    with pytest.raises(SummandError, match="no option 'layers'"):
        baseline_maps(vit, pixels, text, "legrad", layers=3)
    with pytest.raises(SummandError, match=r"expected directions \[text, 128\]"):
        baseline_maps(vit, pixels, text[:, :5], "legrad")
    with pytest.raises(SummandError, match="expected directions"):
        baseline_maps(vit, pixels, text[0], "legrad")
    with pytest.raises(SummandError, match="is zero"):
        baseline_maps(vit, pixels, text * 0, "legrad")
    with pytest.raises(SummandError, match="NaN"):
        baseline_maps(vit, pixels, text * float("nan"), "legrad")
    with pytest.raises(SummandError, match="expects pixels"):
        baseline_maps(vit, pixels[:, :, :10], text, "legrad")
    with pytest.raises(SummandError, match="at least two directions"):
        baseline_maps(vit, pixels, text, "clip-surgery", feature_surgery=True)
    with pytest.raises(SummandError, match="'tokens' or 'attention'"):
        baseline_maps(vit, pixels, text, "gradcam", features="values")
    with pytest.raises(SummandError, match="6 attention layers"):
        baseline_maps(vit, pixels, text, "gradcam", layer=6)
    with pytest.raises(SummandError, match="'mean' or 'tower'"):
        baseline_maps(vit, pixels, text, "legrad", pool="max")
    with pytest.raises(SummandError, match="graph_from=0"):
        baseline_maps(vit, pixels, text, "chefer", shared=Capture(vit, pixels, graph_from=-1))
    with pytest.raises(SummandError, match="another batch"):
        baseline_maps(vit, pixels, text, "rollout", shared=Capture(vit, pixels[:2]))


def test_chance_belongs_to_the_image_and_the_seed(vit, pixels):
    text = vit.encode_text(["a star", "a ring"])
    found = baseline_maps(vit, pixels, text, "random")
    torch.testing.assert_close(baseline_maps(vit, pixels[2:3], text, "random"), found[2:3])
    assert not torch.equal(found[0], found[1])
    assert not torch.equal(found, baseline_maps(vit, pixels, text, "random", seed=1))
    assert 0.45 < float(found.mean()) < 0.55


def test_half_precision_gives_the_same_maps(unchecked):
    """Weights in bf16: attention, norms and gradients are taken in fp32, so the maps differ by rounding only."""
    half = summand.wrap(tiny.clip().bfloat16())
    whole = summand.wrap(tiny.clip().bfloat16().float())
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(2, 3, 32, 32, generator=generator).bfloat16()
    directions = torch.randn(2, 16, generator=generator)
    for name in METHODS:
        found = baseline_maps(half, pixels, directions, name)
        expected = baseline_maps(whole, pixels.float(), directions, name)
        assert found.dtype == torch.float32
        if name not in ("random", "lrp", "partial-lrp", "transformer-attribution"):  # quotients of near-zero sums
            both = torch.stack([found.flatten(), expected.flatten()])
            assert float(torch.corrcoef(both)[0, 1]) > 0.97, name


@pytest.mark.parametrize("kind", ["CLIPModel", "SiglipModel"])
def test_the_models_of_transformers_are_read_too(kind, unchecked):
    test_hf = pytest.importorskip("tests.towers.test_hf")
    model = summand.wrap(test_hf.model_of(kind))
    pixels = torch.randn(2, 3, 24, 24, generator=torch.Generator().manual_seed(0)).double()
    torch.testing.assert_close(Capture(model, pixels).output, model.encode_image(pixels), atol=1e-9, rtol=1e-7)
    directions = torch.randn(2, model.tower.embed).double()
    for name in ("chefer", "maskclip", *(["lrp"] if kind == "CLIPModel" else [])):
        assert torch.isfinite(baseline_maps(model, pixels, directions, name)).all()
