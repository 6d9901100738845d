"""A pass that is made block by block is the model's own, bit by bit; one that is begun before the model is looked at
is a pass of the model that was decomposed, or none."""

from __future__ import annotations

import threading
from contextlib import contextmanager

import pytest
import timm
import torch
from open_clip.transformer import ResidualAttentionBlock

import summand
from summand.models import ahead, image_verbs
from summand.models.state import State
from summand.towers import stream
from summand.towers.pool import PoolTower
from summand.towers.residual import ResidualTower
from summand.towers.walk import Parts
from tests.counting import Passes
from tests.towers.test_towers import small_resnet, small_vit
from tests.towers.test_variants import TIMM, timm_clip

TERMS = ("values", "scale", "embedding", "mlps", "bias")


def of_timm(**options):
    clip = small_vit()
    clip.visual = timm_clip(timm.models.vision_transformer.VisionTransformer(**TIMM, **options)).visual
    return clip


def tokens_first():
    clip = small_vit()
    clip.visual.transformer.batch_first = False
    for block in clip.visual.transformer.resblocks:
        block.attn.batch_first = False
    return clip


WALKED = {
    "open_clip": small_vit,
    "layer scale": lambda: small_vit(ls_init_value=0.3),
    "mean, norm before": lambda: small_vit(pool_type="avg"),
    "mean, norm behind": lambda: small_vit(pool_type="avg", final_ln_after_pool=True),
    "tokens first": tokens_first,
    "timm": lambda: of_timm(global_pool="token"),
    "timm, layer scale, registers, mean": lambda: of_timm(global_pool="avg", init_values=0.5, reg_tokens=2),
    "timm, stochastic depth": lambda: of_timm(global_pool="token", drop_path_rate=0.3),
    "timm, normed queries": lambda: of_timm(global_pool="token", qk_norm=True),
}


def tower_of(model) -> ResidualTower:
    assert isinstance(model.tower, ResidualTower)
    return model.tower


def by_its_own_forward(model, work):
    tower = tower_of(model)
    parts, tower.parts = tower.parts, None
    try:
        return work()
    finally:
        tower.parts = parts


def pixels(model, count=3):
    x = torch.randn(count, 3, *model.tower.image_size, generator=torch.Generator().manual_seed(1))
    return x.to(model.dtype)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=["fp64", "bf16"])
@pytest.mark.parametrize("name", WALKED)
@torch.no_grad()
def test_a_pass_block_by_block_is_the_models_own(monkeypatch, name, dtype):
    model = summand.wrap(WALKED[name]().to(dtype))
    tower, x = tower_of(model), pixels(model)
    seen = {"walked": [], "listened": []}

    def visitor(found):
        return lambda layer, view: found.append((layer, view.row.clone(), view.values().clone()))

    found = tower.run(x), tower.run(x, visitor(seen["walked"]))
    monkeypatch.setattr(stream, "walked", None)  # would be called
    assert tower.parts is not None
    assert not tower.always_checked
    tower.parts = None
    want = tower.run(x), tower.run(x, visitor(seen["listened"]))
    for one, other in zip(found, want, strict=True):
        for term in TERMS:
            torch.testing.assert_close(getattr(one, term), getattr(other, term), rtol=0, atol=0)
    for one, other in zip(seen["walked"], seen["listened"], strict=True):
        assert one[0] == other[0]
        torch.testing.assert_close(one[1:], other[1:], rtol=0, atol=0)


@torch.no_grad()
def test_no_block_is_called_as_a_whole(monkeypatch):
    model = summand.wrap(small_vit())
    x, called = pixels(model), []
    model.decompose(x).heads()
    forward = ResidualAttentionBlock.__call__

    def counted(self, *args, **kwargs):
        called.append(self)
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(ResidualAttentionBlock, "__call__", counted)
    tower = model._image.last[1]
    tower.run(x)
    assert len(called) == 1  # the first one, where the pass is left
    tower.parts = None
    tower.run(x)
    assert len(called) == 1 + 3


@pytest.mark.parametrize("ask", ["second_order", "first_order"])
@torch.no_grad()
def test_who_listens_to_parts_of_blocks_hears_such_a_pass(ask):
    model = summand.wrap(small_vit())
    x = pixels(model)
    found = getattr(model, ask)(x, 0)
    want = by_its_own_forward(model, lambda: getattr(model, ask)(x, 0))
    torch.testing.assert_close(found.coefficients, want.coefficients, rtol=0, atol=0)
    assert found.coefficients.abs().max() > 1e-3


class Masked(torch.nn.Module):
    """Blocks that are handed more than their tokens."""

    def __init__(self, transformer):
        super().__init__()
        self.resblocks, self.batch_first = transformer.resblocks, transformer.batch_first

    def forward(self, x, attn_mask=None):
        mask = torch.zeros(x.shape[1], x.shape[1], dtype=x.dtype)
        for block in self.resblocks:
            x = block(x, attn_mask=mask)
        return x


@torch.no_grad()
def test_blocks_that_are_handed_more_are_passed_by_the_models_own_forward():
    clip = small_vit()
    want = summand.wrap(clip).decompose(x := torch.randn(2, 3, 32, 32).double()).heads()
    clip.visual.transformer = Masked(clip.visual.transformer).eval()
    model = summand.wrap(clip)
    torch.testing.assert_close(model.decompose(x).heads(), want, rtol=0, atol=1e-12)
    tower = tower_of(model)
    assert tower.parts is not None
    assert stream.walked(tower, x) is None


class Own(ResidualAttentionBlock):
    pass


def test_other_blocks_are_not_taken_apart(monkeypatch):
    block = small_vit().visual.transformer.resblocks[0]
    assert Parts.of(block) is not None
    with monkeypatch.context() as patch:
        patch.setattr(ResidualAttentionBlock, "forward", lambda self, q_x, **_: q_x)
        assert Parts.of(block) is None
    block.forward = lambda x: x
    assert Parts.of(block) is None
    del block.forward
    block.__class__ = Own
    assert Parts.of(block) is None
    assert Parts.of(timm.models.eva.EvaBlock(32, 4)) is None


@torch.no_grad()
def test_hooks_of_the_user_are_called_by_the_models_own_forward():
    clip, called = small_vit(), []
    clip.visual.transformer.resblocks[1].register_forward_hook(lambda *_: called.append(1))
    model = summand.wrap(clip)
    x = pixels(model)
    model.decompose(x).heads()
    called.clear()
    model.decompose(x).heads()
    assert called


@pytest.fixture
def begun(monkeypatch):
    """As on a GPU: whatever is asked for is begun before the look. Counts what was."""
    found = []

    def counted(begin):
        def beginning(self, x):
            found.append(begin(self, x))
            return found[-1]

        return beginning

    monkeypatch.setattr(ahead, "works_by_itself", lambda device: True)
    for kind in (ResidualTower, PoolTower):
        monkeypatch.setattr(kind, "begin", counted(kind.begin))
    return found


QUESTIONS = {
    "heads": lambda parts, texts: parts.heads(),
    "tokens": lambda parts, texts: parts.tokens(),
    "maps": lambda parts, texts: parts.tokens_toward(texts),
    "heads, then tokens": lambda parts, texts: torch.cat([parts.heads().sum(dim=(1, 2))[:, None], parts.tokens()], 1),
    "residual": lambda parts, texts: torch.tensor(parts.residual()),
}


@pytest.mark.parametrize("parity", [None, "paper"])
@pytest.mark.parametrize("question", QUESTIONS)
@torch.no_grad()
def test_a_pass_that_was_begun_is_the_same_pass(begun, question, parity):
    clip = small_vit()
    model, plain = summand.wrap(clip), summand.wrap(clip)
    x, texts = pixels(model), torch.randn(4, 24, dtype=torch.float64)
    want = QUESTIONS[question](plain.decompose(x, parity), texts)
    model.decompose(x).heads()
    count = len(begun)
    with Passes() as seen:
        found = QUESTIONS[question](model.decompose(x, parity), texts)
    assert [each is not None for each in begun[count:]] == [True]
    torch.testing.assert_close(found, want, rtol=0, atol=1e-14)  # torch has other kernels while passes are counted
    assert seen.batches == [3] * {"heads, then tokens": 2, "residual": 2}.get(question, 1)


@pytest.mark.parametrize("name", WALKED)
@torch.no_grad()
def test_other_towers_begin_the_same_pass(begun, name):
    clip = WALKED[name]()
    model = summand.wrap(clip)
    x = pixels(model)
    model.decompose(x).heads()
    found, want = model.decompose(x), by_its_own_forward(model, lambda: model.decompose(x).trace)
    assert begun[-2] is not None or name.endswith(("before", "mean"))  # the second pass of two
    for term in TERMS:
        torch.testing.assert_close(getattr(found.trace, term), getattr(want, term), rtol=0, atol=0)


POOLS = {
    "ResNet": small_resnet,
    "pooler of CoCa": lambda: small_vit(attentional_pool=True, attn_pooler_queries=4, attn_pooler_heads=4),
    "SigLIP": lambda: of_timm(global_pool="map", class_token=False),
}


@pytest.mark.parametrize("name", POOLS)
@torch.no_grad()
def test_a_pass_is_begun_up_to_an_attention_pool(begun, name):
    clip = POOLS[name]()
    model, plain = summand.wrap(clip), summand.wrap(clip)
    x, texts = pixels(model), torch.randn(4, model.tower.embed, dtype=torch.float64)
    want = plain.decompose(x).heads(), plain.decompose(x).tokens_toward(texts)
    model.decompose(x).heads()
    for question, truth in zip(("heads", "tokens_toward"), want, strict=True):
        count = len(begun)
        with Passes() as seen:
            parts = model.decompose(x)
            found = parts.heads() if question == "heads" else parts.tokens_toward(texts)
        torch.testing.assert_close(found, truth, rtol=0, atol=1e-13)
        assert [each is not None for each in begun[count:]] == [True]
        assert seen.batches == [3]
    late = model.decompose(x)
    next(clip.visual.parameters()).mul_(1.5)
    with pytest.raises(summand.SummandError, match="was changed after it was decomposed"):
        late.heads()
    torch.testing.assert_close(model.decompose(x).heads(), summand.wrap(clip).decompose(x).heads(), rtol=0, atol=1e-13)


@torch.no_grad()
def test_a_played_pass_is_begun_as_a_whole(begun):
    clip = small_vit()
    model, plain = summand.wrap(clip).compile(batch_size=2), summand.wrap(clip)
    for _ in range(3):
        x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
        torch.testing.assert_close(model.decompose(x).heads(), plain.decompose(x).heads(), rtol=0, atol=1e-13)
        torch.testing.assert_close(model.decompose(x).tokens(), plain.decompose(x).tokens(), rtol=0, atol=1e-13)
    assert begun[-2] is not None
    assert begun[-2].numbers is not None or begun[-1].numbers is not None


EDITS = {
    "counted": lambda block: block.mlp.c_fc.weight.mul_(1.5),
    "past the count": lambda block: block.mlp.c_fc.weight.data.mul_(1.5),
    "another parameter": lambda block: setattr(block.mlp.c_fc, "weight", torch.nn.Parameter(block.mlp.c_fc.weight * 2)),
    "another module": lambda block: setattr(block, "mlp", torch.nn.Sequential(block.mlp, torch.nn.Tanh()).eval()),
    "a setting": lambda block: setattr(block.ln_2, "eps", 0.5),
}


@pytest.mark.parametrize("at", [0, 2])
@pytest.mark.parametrize("name", EDITS)
@torch.no_grad()
def test_an_edit_before_is_seen_and_one_behind_is_refused(begun, name, at):
    clip = small_vit()
    model, blocks = summand.wrap(clip), clip.visual.transformer.resblocks
    x = pixels(model)
    before = model.decompose(x).heads()
    late = model.decompose(x)
    EDITS[name](blocks[at])
    parts = model.decompose(x)
    found = parts.heads()
    torch.testing.assert_close(found, summand.wrap(clip).decompose(x).heads(), rtol=0, atol=1e-13)
    assert (found - before).abs().max() > 1e-4
    assert parts.residual() < 1e-12
    with pytest.raises(summand.SummandError, match="was changed after it was decomposed"):
        late.heads()
    with pytest.raises(summand.SummandError, match="was changed after it was decomposed"):
        late.tokens()


@torch.no_grad()
def test_a_hook_that_only_looks_keeps_the_answer(begun):
    clip = small_vit()
    model = summand.wrap(clip)
    x = pixels(model)
    want = model.decompose(x).heads()
    parts, called = model.decompose(x), []
    clip.visual.transformer.resblocks[0].register_forward_hook(lambda *_: called.append(1))
    torch.testing.assert_close(parts.heads(), want, rtol=0, atol=1e-12)
    assert called


@torch.no_grad()
def test_pixels_that_are_written_to_afterwards_are_those_that_were_given(begun):
    model = summand.wrap(small_vit())
    x = pixels(model)
    want = model.decompose(x).heads()
    parts = model.decompose(x)
    x.zero_()
    torch.testing.assert_close(parts.heads(), want, rtol=0, atol=0)
    assert begun[-1] is not None


@torch.no_grad()
def test_how_products_are_computed_is_that_of_the_question(begun):
    clip = small_vit().float()
    model, plain = summand.wrap(clip), summand.wrap(clip)
    x = pixels(model)
    for each in (model, plain):
        each.decompose(x).heads()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            each.decompose(x).heads()
    parts, late = model.decompose(x), plain.decompose(x)
    begun.clear()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(parts.trace.values, by_its_own_forward(plain, lambda: late.trace.values))


@pytest.mark.parametrize(
    "x",
    [torch.zeros(0, 3, 32, 32).double(), torch.zeros(1, 3, 32, 31).double(), torch.full((1, 3, 32, 32), torch.nan)],
)
def test_pixels_that_cannot_be_read_are_said_as_ever(monkeypatch, begun, x):
    clip = small_vit()
    model = summand.wrap(clip)
    model.decompose(pixels(model)).heads()
    with pytest.raises(summand.SummandError) as raised:
        model.decompose(x)
    monkeypatch.setattr(ahead, "works_by_itself", lambda device: False)
    with pytest.raises(summand.SummandError) as plain:
        summand.wrap(clip).decompose(x)
    assert str(raised.value) == str(plain.value)


@torch.no_grad()
def test_threads_that_ask_one_decomposition_go_on_with_it_once(begun):
    model = summand.wrap(small_vit())
    x = pixels(model)
    want = model.decompose(x).heads()
    for _ in range(5):
        parts, found = model.decompose(x), []
        threads = [threading.Thread(target=lambda parts=parts, found=found: found.append(parts.heads()))] * 1
        threads += [threading.Thread(target=lambda parts=parts, found=found: found.append(parts.tokens()))]
        threads += [threading.Thread(target=lambda parts=parts, found=found: found.append(parts.heads()))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 3
        for each in found:
            sums = each.sum(dim=tuple(range(1, each.ndim - 1)))
            torch.testing.assert_close(sums, want.sum(dim=(1, 2)), rtol=0, atol=1e-12)


@torch.no_grad()
def test_a_model_that_holds_code_of_others_is_looked_at_first(begun):
    clip = small_vit()
    clip.visual.transformer.resblocks[0].register_forward_hook(lambda module, args, output: output * 1)
    model = summand.wrap(clip)
    x = pixels(model)
    model.decompose(x).heads()
    assert model.decompose(x).residual() < 1e-12
    assert not any(begun)


@torch.no_grad()
def test_the_look_waits_for_what_came_before_the_pass_and_not_for_the_pass(monkeypatch, begun):
    """As it must be on a GPU: what the look waits for is taken down before the first step of the pass is given out, and
    every step of the look is given out apart from the pass."""
    model = summand.wrap(small_vit())
    x, done = pixels(model), []
    model.decompose(x).heads()
    still, begin = State.still, ResidualTower.begin

    @contextmanager
    def apart():
        done.append("apart")
        yield
        done.append("back")

    def said(what, function):
        def saying(*args):
            done.append(what)
            return function(*args)

        return saying

    monkeypatch.setattr(ahead, "aside", lambda device: done.append("taken down") or apart())
    monkeypatch.setattr(ResidualTower, "begin", said("begun", begin))
    monkeypatch.setattr(State, "still", said("looked", still))
    monkeypatch.setattr(image_verbs, "check_pixels", said("pixels", image_verbs.check_pixels))
    parts = model.decompose(x)
    assert done == ["taken down", "begun", "apart", "pixels", "looked", "back"]
    parts.heads()
    assert done[6:] == ["looked"]
