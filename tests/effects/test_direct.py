from __future__ import annotations

import pytest
import torch

import summand
from tests.counting import Products
from tests.oracles import literal_even_split, literal_vit
from tests.towers.test_towers import small_resnet, small_vit


@pytest.mark.parametrize("vision", [{}, {"ls_init_value": 0.3, "image_size": (16, 24)}])
def test_the_papers_even_split_equals_the_literal_formula(vision):
    clip = small_vit(**vision)
    model = summand.wrap(clip)
    x = torch.randn(2, 3, *model.tower.image_size, dtype=torch.float64)
    parts = model.decompose(x, parity="paper")
    everything = parts.toward(torch.eye(24, dtype=torch.float64))
    for i in range(2):
        truth = literal_even_split(clip.visual, x[i])
        torch.testing.assert_close(everything[i], truth["tokens"], rtol=0, atol=1e-12)
        torch.testing.assert_close(parts.heads()[i], truth["tokens"].sum(dim=2), rtol=0, atol=1e-12)
        torch.testing.assert_close(parts.tokens()[i], truth["tokens"].sum(dim=(0, 1)), rtol=0, atol=1e-12)
        torch.testing.assert_close(parts.tokens_toward(torch.eye(24).double()[:3]), parts.tokens()[..., :3])
        torch.testing.assert_close(parts.mlps()[i], truth["mlps"], rtol=0, atol=1e-12)
        torch.testing.assert_close(parts.embedding()[i], truth["embedding"], rtol=0, atol=1e-12)
    terms = [parts.heads().sum(dim=(1, 2)), parts.mlps().sum(dim=1), parts.embedding(), parts.bias()]
    torch.testing.assert_close(parts.sums(), torch.stack(terms, dim=1), rtol=0, atol=1e-12)
    assert parts.residual() <= 1e-12
    assert not parts.bias().any()


def test_the_two_splits_differ_only_along_gamma_beta_and_the_output_biases():
    clip = small_vit()
    visual, model = clip.visual, summand.wrap(clip)
    x = torch.randn(3, 3, 32, 32, dtype=torch.float64)
    ours, paper = model.decompose(x), model.decompose(x, parity="paper")
    gain, shift = visual.ln_post.weight @ visual.proj, visual.ln_post.bias @ visual.proj
    for layer, block in enumerate(visual.transformer.resblocks):
        bias = (block.attn.out_proj.bias * visual.ln_post.weight) @ visual.proj
        span = torch.linalg.qr(torch.stack([gain, shift, bias]).T)[0]
        gap = (ours.heads() - paper.heads())[:, layer]
        assert gap.abs().max() > 1e-3
        assert (gap - gap @ span @ span.T).abs().max() <= 1e-12
    span = torch.linalg.qr(torch.stack([gain, shift]).T)[0]
    for gap in (ours.mlps() - paper.mlps(), ours.embedding() - paper.embedding()):
        assert (gap - gap @ span @ span.T).abs().max() <= 1e-12


def test_parity_is_refused_where_the_paper_does_not_define_it():
    x = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    with pytest.raises(summand.SummandError, match="not for a ModifiedResNet"):
        summand.wrap(small_resnet()).decompose(x, parity="paper")
    x = torch.randn(1, 3, 32, 32, dtype=torch.float64)
    with pytest.raises(summand.SummandError, match="class token"):
        summand.wrap(small_vit(pool_type="avg")).decompose(x, parity="paper")
    with pytest.raises(summand.SummandError, match="class token"):
        summand.wrap(small_vit(scale_attn=True)).decompose(x, parity="paper")


@pytest.mark.usefixtures("unchecked")
def test_an_unknown_parity_is_refused():
    x = torch.randn(1, 3, 32, 32, dtype=torch.float64)
    with pytest.raises(summand.SummandError, match="None or 'paper', got 'papers'"):
        summand.wrap(small_vit()).decompose(x, parity="papers")


@pytest.mark.parametrize("parity", [None, "paper"])
def test_token_effects_are_the_literal_terms_of_every_token(parity):
    clip = small_vit(image_size=16)
    x = torch.randn(3, 3, 16, 16, dtype=torch.float64)
    parts = summand.wrap(clip).decompose(x, parity=parity)
    effects = parts.token_effects([2, 0])
    assert effects.units == ("layer", "head", "token")
    literal = literal_vit if parity is None else literal_even_split
    for i in range(3):
        truth = literal(clip.visual, x[i])["tokens"][[2, 0]]
        torch.testing.assert_close(effects.vectors()[i], truth, rtol=0, atol=1e-12)
    torch.testing.assert_close(parts.token_effects().vectors().sum(dim=3), parts.heads(), rtol=0, atol=1e-12)


def test_statistics_of_token_effects_keep_a_heads_directions_once(tmp_path):
    clip = small_vit(image_size=16)
    x = torch.randn(6, 3, 16, 16, dtype=torch.float64)
    effects = summand.wrap(clip).decompose(x).token_effects()
    vectors = effects.vectors()
    moments = summand.Moments().update(effects)
    torch.testing.assert_close(moments.variance(), vectors.var(dim=0, correction=0).sum(dim=-1))
    torch.testing.assert_close(moments.mean_vectors(), vectors.mean(dim=0))
    torch.testing.assert_close(effects.norms(), vectors.norm(dim=-1), rtol=1e-7, atol=1e-12)
    top = summand.TopImages(2, moments.mean).update(effects, range(6))
    norms = (vectors - vectors.mean(dim=0)).norm(dim=-1)
    torch.testing.assert_close(top.norms.movedim(-1, 0), norms.sort(dim=0, descending=True).values[:2])
    moments.save(tmp_path / "tokens.npz", top=top)
    read = summand.Moments.load(tmp_path / "tokens.npz")
    assert read.basis.shape == effects.basis.shape
    assert read.basis.factors()[0].numel() * 5 == effects.directions.numel()  # once, not for each of 5 tokens
    torch.testing.assert_close(read.merge(moments).variance(), moments.variance())
    assert (summand.rank_one(top).project(top).abs() <= top.norms * (1 + 1e-9)).all()


def test_a_layer_that_does_not_exist_is_refused():
    parts = summand.wrap(small_vit()).decompose(torch.randn(1, 3, 32, 32, dtype=torch.float64))
    for wrong in ([3], [-1], []):
        with pytest.raises(summand.SummandError, match="has layers 0 to 2"):
            parts.token_effects(wrong)


def test_what_is_kept_for_the_last_texts_follows_texts_and_weights():
    """Texts are changed, in place and not, and then a weight: each answer is that of whole vectors, made afresh."""
    clip = small_vit()
    model = summand.wrap(clip)
    x, texts = torch.randn(2, 3, 32, 32, dtype=torch.float64), torch.randn(5, 24, dtype=torch.float64)

    def right() -> bool:
        parts = model.decompose(x)
        found, truth = parts.tokens_toward(texts), parts.tokens() @ texts.T
        whole = parts.toward(texts).sum(dim=(1, 2))
        return bool(torch.allclose(found, truth, atol=1e-12) and torch.allclose(whole, truth, atol=1e-12))

    assert right()
    maps = model.tower.head_maps()
    assert maps.along(texts) is maps.along(texts.clone())
    texts[2] += 1
    assert right()
    texts = texts[:3]
    assert right()
    with torch.no_grad():
        clip.visual.transformer.resblocks[1].attn.out_proj.weight.mul_(1.5)
    assert right()


@pytest.mark.parametrize("way", ["again", "inference", "edited", "switched", "other", "parity", "pooled"])
def test_few_directions_twice_are_the_tokens_toward_them(way):
    """What is kept of the first time is that of these directions and these weights."""
    clip = small_vit(pool_type="avg") if way == "pooled" else small_vit()
    model, x = summand.wrap(clip), torch.randn(2, 3, 32, 32, dtype=torch.float64)
    parity = "paper" if way == "parity" else None
    few = torch.randn(3, 24, dtype=torch.float64)
    attention, scale = clip.visual.transformer.resblocks[1].attn, {"by": 1.0}
    if way == "switched":

        class Scaled(torch.nn.Module):
            def forward(self, weight):
                return weight * scale["by"]

        torch.nn.utils.parametrize.register_parametrization(attention, "in_proj_weight", Scaled())
    with torch.inference_mode(way == "inference"):
        first = model.decompose(x, parity=parity).tokens_toward(few)
    if way == "edited":
        with torch.no_grad():
            attention.in_proj_weight[48:].mul_(2)
    if way == "switched":
        scale["by"] = 2.0
    few = few.flip(0) if way == "other" else few.clone()
    parts = model.decompose(x, parity=parity)
    again = parts.tokens_toward(few)
    torch.testing.assert_close(again, parts.tokens() @ few.T, rtol=0, atol=1e-12)
    torch.testing.assert_close(again, parts.toward(few).sum(dim=(1, 2)), rtol=0, atol=1e-12)
    if way in ("edited", "switched", "other"):
        assert (again - first).abs().max() > 1e-3


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("first", ["maps", "heads", "sums"])
@pytest.mark.parametrize("vision", [{}, {"pool_type": "avg"}, {"ls_init_value": 0.3}])
def test_the_four_sums_are_those_of_the_terms_whatever_is_asked_first(vision, first, dtype):
    model = summand.wrap(small_vit(**vision).to(dtype))
    x = torch.randn(3, 3, *model.tower.image_size).to(dtype)
    parts, texts = model.decompose(x), torch.randn(2, 24)
    asked = {"maps": lambda: parts.tokens_toward(texts), "heads": parts.heads, "sums": parts.sums}[first]()
    alone = model.decompose(x)
    terms = [alone.heads().sum(dim=(1, 2)), alone.mlps().sum(dim=1), alone.embedding(), alone.bias()]
    torch.testing.assert_close(parts.sums(), torch.stack(terms, dim=1), rtol=0, atol=1e-5)
    torch.testing.assert_close(parts.heads(), alone.heads(), rtol=0, atol=1e-5)
    assert torch.equal(
        asked, {"maps": lambda: alone.tokens_toward(texts), "heads": alone.heads, "sums": parts.sums}[first]()
    )


def test_the_sums_of_an_ablated_model_are_its_own():
    model = summand.wrap(small_vit())
    x = torch.randn(3, 3, *model.tower.image_size, dtype=torch.float64)
    for steered in ({"1.0": 0}, {"0:3": 2.0}):
        steering = model.steer(steered)
        parts = steering.decompose(x)
        heads = parts.heads().sum(dim=(1, 2))
        torch.testing.assert_close(parts.sums()[:, 0], heads, rtol=0, atol=1e-12)
        assert (heads - model.decompose(x).sums()[:, 0]).abs().max() > 1e-4
        torch.testing.assert_close(parts.sums().sum(dim=1), steering.encode_image(x), rtol=0, atol=1e-12)


def test_maps_of_texts_drawn_before_read_no_value_map():
    clip = small_vit(width=864, head_width=108, layers=2).float()  # layers so large that each is read where it lies
    model = summand.wrap(clip)
    x = torch.randn(1, 3, *model.tower.image_size)
    texts = torch.randn(2, 24)
    model.decompose(x).tokens_toward(texts)
    own = clip.visual.transformer.resblocks[0].attn.in_proj_weight

    def read(*asked):
        parts = model.decompose(x)
        with Products(own[2 * len(own) // 3 :]) as seen:
            for ask in asked:
                ask(parts)
        return seen.count

    maps = lambda parts: parts.tokens_toward(texts)  # noqa: E731
    assert read(maps, lambda parts: parts.sums()) == 0
    assert read(maps, lambda parts: parts.heads()) == read(lambda parts: parts.heads()) == 1
