"""What a question dispatches beside the model's own pass, counted; on a GPU each of these is a kernel or a wait."""

from __future__ import annotations

import pytest
import torch
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer

import summand
from tests.border import CLIP
from tests.counting import Operations
from tests.towers.test_variants import TIMM, timm_clip

VISION = {"image_size": 56, "patch_size": 14, "width": 128, "layers": 6, "head_width": 32}
TEXT = {"context_length": 16, "vocab_size": 100, "width": 64, "heads": 2, "layers": 1}
QUESTIONS = {
    "heads": (2.0, lambda model, x, texts: model.decompose(x).heads()),
    "maps": (2.0, lambda model, x, texts: model.decompose(x).tokens_toward(texts)),
    "second order": (2.3, lambda model, x, texts: model.second_order(x, 3).coefficients),
}


@pytest.fixture(scope="module", params=[torch.bfloat16, torch.float32], ids=["bf16", "fp32"])
def given(request):
    torch.manual_seed(0)
    clip = CLIP(64, VISION, TEXT).eval().to(request.param)
    return clip, summand.wrap(clip), torch.randn(4, 3, 56, 56).to(request.param), torch.randn(100, 64)


@pytest.mark.parametrize("name", QUESTIONS)
@torch.no_grad()
def test_a_question_takes_at_most_twice_the_operations_of_the_prediction(given, name):
    clip, model, x, texts = given
    bound, ask = QUESTIONS[name]
    clip.encode_image(x)
    with Operations(clip) as plain:
        clip.encode_image(x)
    for _ in range(2):  # what is made of weights is kept
        ask(model, x, texts)
    with Operations(clip) as seen:
        ask(model, x, texts)
    assert plain.count > 40
    assert seen.count <= bound * plain.count, seen.names()
    assert not seen.casts, "weights are cast in every pass"
    assert not seen.reads, "a number is read on the host in the middle of a question"
    if x.dtype != torch.float32:
        assert not seen.wide, "products over all tokens are made in fp32"


def of_timm(trunk):
    clip = CLIP(64, VISION, TEXT)
    clip.visual = timm_clip(trunk).visual
    return clip


OTHER_TOWERS = {
    "averaged": lambda: CLIP(64, {**VISION, "pool_type": "avg"}, TEXT),
    "ResNet": lambda: CLIP(64, {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16, "patch_size": None}, TEXT),
    "SigLIP": lambda: of_timm(VisionTransformer(**TIMM, global_pool="map", class_token=False)),
    "rope": lambda: of_timm(Eva(**TIMM, global_pool="token", use_rot_pos_emb=True, dynamic_img_size=False)),
    "rope, averaged": lambda: of_timm(Eva(**TIMM, global_pool="avg", use_rot_pos_emb=True, dynamic_img_size=False)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHER_TOWERS)
@torch.no_grad()
def test_other_towers_cast_no_weight_twice(name):
    torch.manual_seed(0)
    clip = OTHER_TOWERS[name]().eval().bfloat16()
    model = summand.wrap(clip)
    x = torch.randn(2, 3, *model.tower.image_size).bfloat16()
    ask = {
        "heads": lambda: model.decompose(x).heads(),
        "maps": lambda: model.decompose(x).tokens_toward(torch.ones(2, model.tower.embed)),
    }
    for question in ask.values():
        for _ in range(2):
            question()
        with Operations(clip.visual) as seen:
            question()
        assert not seen.casts, seen.names()
    before = ask["heads"]()
    for each in clip.visual.modules():
        if isinstance(each, torch.nn.Linear) or hasattr(each, "v_proj"):
            for parameter in each.parameters():
                parameter.data.mul_(1.25)  # past torch's count
    now = ask["heads"]()
    fresh = summand.wrap(clip).decompose(x).heads()
    torch.testing.assert_close(now, fresh, rtol=0, atol=0)
    assert (now - before).abs().max() > 0.05 * before.abs().max()


@torch.no_grad()
def test_a_text_tower_casts_no_weight_twice():
    torch.manual_seed(0)
    clip = CLIP(64, VISION, {**TEXT, "layers": 3}).eval().bfloat16()
    tokens = torch.randint(1, 98, (2, 16))
    tokens[:, 9] = 99
    model = summand.wrap(clip, tokenizer=lambda texts, context_length=16: tokens[: len(texts)])
    for _ in range(2):
        model.decompose_text(["one", "two"]).heads()
    with Operations(clip) as seen:
        before = model.decompose_text(["one", "two"]).heads()
    assert not seen.casts
    clip.transformer.resblocks[1].attn.in_proj_weight.data.mul_(1.5)  # past torch's count
    clip.text_projection.data.mul_(1.5)
    now = model.decompose_text(["one", "two"]).heads()
    fresh = summand.wrap(clip, tokenizer=lambda texts, context_length=16: tokens[: len(texts)])
    torch.testing.assert_close(now, fresh.decompose_text(["one", "two"]).heads(), rtol=0, atol=0)
    assert (now - before).abs().max() > 0.1 * before.abs().max()


@torch.no_grad()
def test_the_pass_itself_never_waits_for_the_device(given):
    _, model, x, _ = given
    model.decompose(x).heads()
    tower = model.tower
    with Operations(model.clip) as seen:
        tower.run(x)
    assert seen.count > 40
    assert not seen.reads
    assert not seen.compared


@torch.no_grad()
def test_what_is_counted():
    weight = torch.nn.Linear(128, 128).bfloat16()
    with Operations(weight) as seen:
        torch.ones(3).sum().item()
        torch.equal(torch.ones(1), torch.ones(1))
        weight.weight.float() @ torch.ones(128, 2)
        weight.weight.T[:3].expand(2, 3, 128)
    assert (len(seen.reads), len(seen.compared), len(seen.casts), len(seen.wide)) == (1, 1, 1, 1)
    assert seen.count == sum(seen.names().values()) == 9


@pytest.mark.parametrize("kept", [0, 100_000, 1 << 26], ids=["each at once", "some together", "all together"])
@torch.no_grad()
def test_values_that_are_made_at_the_end_are_those_made_as_they_are_read(monkeypatch, given, kept):
    """As on a GPU that writes products of halves in fp32, whose large layers are read one by one."""
    _, model, x, _ = given
    want = model.decompose(x).heads()
    products = []

    def addends(left, right):
        products.append(left.shape)
        return torch.stack(
            [left.to(right.dtype).float() @ right.float(), (left - left.to(right.dtype)) @ right.float()], 1
        )

    monkeypatch.setattr("summand.towers.plain.in_addends", lambda left, right: True)
    monkeypatch.setattr("summand.towers.plain.addends", addends)
    monkeypatch.setattr("summand.towers.stream.together", lambda tokens, maps: 1)
    monkeypatch.setattr("summand.towers.plain._MOST_READ", kept)
    found = model.decompose(x).heads()
    assert len(products) == VISION["layers"]
    assert (found - want).abs().max() <= 1e-4 * want.abs().max()


@pytest.mark.parametrize("layers", [12, 24])
@torch.no_grad()
def test_one_image_through_a_deep_tower_takes_few_steps_more_than_the_prediction(monkeypatch, layers):
    """As on a GPU, where layers of one image are finished together and every step is a launch."""
    torch.manual_seed(0)
    clip = CLIP(64, {**VISION, "layers": layers}, TEXT).eval()
    model, x = summand.wrap(clip), torch.randn(1, 3, 56, 56)
    monkeypatch.setattr("summand.towers.stream.together", lambda tokens, maps: layers)
    with Operations(clip) as plain:
        clip.encode_image(x)
    model.decompose(x).heads()
    want = model.decompose(x).heads()
    with Operations(clip) as seen:
        found = model.decompose(x).heads()
    assert plain.count > 8 * layers
    assert seen.count <= 1.25 * plain.count, seen.names()
    torch.testing.assert_close(found, want, rtol=0, atol=0)
    torch.testing.assert_close(model.decompose(x).total(), clip.encode_image(x), rtol=0, atol=1e-5)
