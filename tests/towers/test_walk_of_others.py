"""Passes that are made block by block or begun early, of models that are hooked, steered, in training mode, edited by
their own passes, or asked in another way than they were decomposed."""

from __future__ import annotations

import threading
import time
from contextlib import nullcontext
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import timm
import torch
from torch.nn import functional as F

import summand
from summand.models import ahead
from summand.towers import recorded
from summand.towers.residual import ResidualTower
from summand.towers.walk import Parts
from tests.towers.test_towers import small_resnet, small_vit
from tests.towers.test_walk import by_its_own_forward, pixels, tower_of


@pytest.fixture
def begun(monkeypatch):
    """As on a GPU: whatever is asked for is begun before the look. The passes that were, or None."""
    found = []
    begin = ResidualTower.begin

    def kept(self, x):
        found.append(begin(self, x))
        return found[-1]

    monkeypatch.setattr(ahead, "works_by_itself", lambda device: True)
    monkeypatch.setattr(ResidualTower, "begin", kept)
    return found


class WithinActivations(torch.overrides.TorchFunctionMode):
    """Does something else in the middle of a pass, as a mode of the user's may."""

    def __init__(self, work):
        super().__init__()
        self.work, self.within, self.count = work, False, 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is F.gelu and not self.within:
            self.within, self.count = True, self.count + 1
            with self:
                self.work()
            self.within = False
        return function(*args, **(kwargs or {}))


@torch.no_grad()
def test_a_steered_model_is_asked_as_ever(begun):
    model = summand.wrap(small_vit()).steer({"1.2": 0.0})
    x = pixels(model)
    want = model.decompose(x).heads()
    torch.testing.assert_close(model.decompose(x).heads(), want, rtol=0, atol=1e-13)
    assert model.decompose(x).residual() < 1e-12


@pytest.mark.parametrize("asked", [True, False], ids=["asked in it", "decomposed in it"])
@torch.no_grad()
def test_inference_mode_at_one_end_alone(begun, asked):
    model = summand.wrap(small_vit())
    x = pixels(model)
    want = model.decompose(x).heads()
    with torch.inference_mode(not asked):
        parts = model.decompose(x)
    with torch.inference_mode(asked):
        torch.testing.assert_close(parts.heads(), want, rtol=0, atol=1e-13)
    assert begun[-1] is not None


@pytest.mark.parametrize("name", ["", "ls_1", "ls_2", "mlp.gelu"])
@torch.no_grad()
def test_hooks_of_a_library_are_called_where_they_were(name):
    clip, hook = small_vit(), Mock(return_value=None)  # of Python itself, so no code of others
    clip.visual.transformer.resblocks[1].get_submodule(name).register_forward_hook(hook)
    model = summand.wrap(clip)
    x = pixels(model)
    want = model.decompose(x).heads()
    assert not tower_of(model).always_checked
    hook.reset_mock()
    torch.testing.assert_close(model.decompose(x).heads(), want, rtol=0, atol=1e-13)
    assert hook.call_count == 1


def test_blocks_of_the_same_name_are_told_apart():
    other = timm.models.beit.Block(32, 4, init_values=0.5)  # scales by weights of its own
    assert Parts.of(other) is None
    assert Parts.of(timm.models.vision_transformer.Block(32, 4)) is not None


@pytest.mark.parametrize("ask", ["pairs", "heads"])
@torch.no_grad()
def test_no_pass_of_a_model_in_training_mode_is_made(ask):
    clip = small_resnet()
    model = summand.wrap(clip)
    x = pixels(model)
    parts = model.decompose(x)
    model.pairs(x)
    clip.train()
    before = {name: tensor.clone() for name, tensor in clip.state_dict().items()}
    with pytest.raises(summand.SummandError, match=r"training mode|was changed"):
        model.pairs(x) if ask == "pairs" else parts.heads()
    for name, tensor in clip.state_dict().items():
        assert torch.equal(tensor, before[name]), name


@torch.no_grad()
def test_no_pass_of_a_model_in_training_mode_is_begun(begun):
    clip = small_vit()
    model = summand.wrap(clip)
    x = pixels(model)
    model.decompose(x).heads()
    clip.train()
    count = len(begun)
    with pytest.raises(summand.SummandError, match="training mode"):
        model.decompose(x)
    assert len(begun) == count


TRACED = {
    "heads": lambda model, x: model.decompose(x).heads(),
    "at once": lambda model, x: model.at_once(lambda: model.decompose(x).heads()),
    "second order": lambda model, x: model.second_order(x, 0).vectors(),
}


@pytest.mark.parametrize("asked", TRACED)
@torch.no_grad()
def test_nothing_is_computed_in_a_trace(begun, asked):
    model = summand.wrap(small_vit())
    x = pixels(model)
    TRACED[asked](model, x)
    count = len(begun)
    with pytest.raises(summand.SummandError, match="outside of tracing"):
        torch.jit.trace(lambda given: TRACED[asked](model, given), x)
    assert len(begun) == count


@pytest.mark.slow
@pytest.mark.parametrize("ask", ["second_order", "first_order", "activations"])
@torch.no_grad()
def test_an_edit_in_front_of_the_first_question_of_a_kind(ask):
    """Its passes write to it (adapters on attentions are merged and taken out again), so a check settles what they
    leave behind: not on what was edited meanwhile."""
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(target_modules=["attn"], init_lora_weights=False)
    clip = peft.get_peft_model(small_vit(), config).base_model.model.double().eval()
    model = summand.wrap(clip)
    x = pixels(model)
    model.decompose(x).heads()
    clip.visual.proj.mul_(1.5)
    clip.visual.transformer.resblocks[0].mlp.c_fc.weight.mul_(1.5)
    found, want = getattr(model, ask)(x, 0), getattr(summand.wrap(clip), ask)(x, 0)
    if ask != "activations":
        found, want = found.vectors(), want.vectors()
    torch.testing.assert_close(found, want, rtol=0, atol=1e-12)
    assert model.decompose(x).residual() < 1e-12


WITHIN = {
    "a pass": lambda model, other: model.clip.visual(other),
    "heads": lambda model, other: model.decompose(other).heads(),
    "second order": lambda model, other: model.second_order(other, 0),
}
ASKED = {
    "second order": lambda model, x: model.second_order(x, 0).vectors(),
    "first order": lambda model, x: model.first_order(x, 1).vectors(),
    "first order, last layer": lambda model, x: model.first_order(x, 2).vectors(),
    "activations": lambda model, x: model.activations(x, 0),
    "tokens": lambda model, x: model.decompose(x).tokens(),
}


@pytest.mark.parametrize("within", WITHIN)
@pytest.mark.parametrize("asked", ASKED)
@torch.no_grad()
def test_a_pass_within_a_pass_is_not_listened_to(begun, asked, within):
    model = summand.wrap(small_vit())
    x, other = pixels(model), pixels(model).flip(0) * 2
    want = ASKED[asked](model, x)
    WITHIN[within](model, other)
    with WithinActivations(lambda: WITHIN[within](model, other)) as mode:
        found = ASKED[asked](model, x)
    torch.testing.assert_close(found, want, rtol=0, atol=1e-12)
    assert mode.count


@torch.no_grad()
def test_a_pass_that_is_begun_within_another_is_not_listened_to(begun):
    clip = small_vit()
    model, inner = summand.wrap(clip), summand.wrap(clip)
    x, other = pixels(model), pixels(model).flip(0) * 2
    want = model.first_order(x, 0).vectors()
    inner.decompose(other).heads()
    model.decompose(x).heads()

    def ask():
        with WithinActivations(lambda: inner.decompose(other)) as mode:
            found = model.first_order(x, 0).vectors()
        assert mode.count
        return found

    count = len(begun)
    torch.testing.assert_close(by_its_own_forward(model, ask), want, rtol=0, atol=1e-12)
    assert any(begun[count:])


class Doubling(torch.overrides.TorchFunctionMode):
    def __torch_function__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        return found * 2 if function is F.gelu else found


@pytest.mark.parametrize("asked", [True, False], ids=["asked in it", "decomposed in it"])
@torch.no_grad()
def test_a_mode_at_one_end_alone(begun, asked):
    model = summand.wrap(small_vit())
    x = pixels(model)
    model.decompose(x).heads()
    with Doubling():
        doubled = model.decompose(x).mlps()
    plain = model.decompose(x).mlps()
    with nullcontext() if asked else Doubling():
        parts = model.decompose(x)
    with Doubling() if asked else nullcontext():
        found = parts.mlps()
    torch.testing.assert_close(found, doubled if asked else plain, rtol=0, atol=1e-12)
    assert (doubled - plain).abs().max() > 1e-3


@torch.no_grad()
def test_pixels_that_are_written_to_while_it_is_begun(monkeypatch, begun):
    model = summand.wrap(small_vit())
    x = pixels(model)
    want = model.decompose(x).heads()
    begin = ResidualTower.begin

    def and_write(self, given):
        found = begin(self, given)
        x.zero_()  # by another thread
        return found

    monkeypatch.setattr(ResidualTower, "begin", and_write)
    parts = model.decompose(x)
    torch.testing.assert_close(parts.heads(), want, rtol=0, atol=1e-13)
    torch.testing.assert_close(parts.tokens().sum(dim=1), want.sum(dim=(1, 2)), rtol=0, atol=1e-12)


def test_threads_that_play_one_graph_have_their_own_answers(monkeypatch):
    """A graph reads and writes the same memory whenever it is played. Here one that takes its time."""
    found = []

    def work(given):
        found[:] = [given * 2]
        return tuple(found)

    def replay():
        time.sleep(0.05)
        found[0].copy_(given[0] * 2)

    given = []
    stream = SimpleNamespace(wait_stream=lambda other: None, wait_event=lambda event: None)
    cuda = SimpleNamespace(
        Stream=lambda device: stream,
        current_stream=lambda device: stream,
        stream=lambda each: nullcontext(),
        CUDAGraph=lambda: SimpleNamespace(replay=replay),
        graph=lambda graph: nullcontext(),
        device=lambda each: nullcontext(),
        Event=lambda: SimpleNamespace(record=lambda stream: None),
    )
    monkeypatch.setattr(recorded, "torch", SimpleNamespace(cuda=cuda))
    play = recorded._graph(lambda pixels: given.append(pixels) or work(pixels), torch.zeros(2))
    answers = {}
    threads = [
        threading.Thread(target=lambda number=number: answers.update({number: play(torch.full((2,), number))}))
        for number in (1.0, 2.0, 3.0)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {number: float(found[0]) for number, (found, *_) in answers.items()} == {1.0: 2.0, 2.0: 4.0, 3.0: 6.0}
