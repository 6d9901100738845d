"""Threads that share a model, and the user's own forward passes beside them."""

from __future__ import annotations

import sys
import threading

import pytest
import torch

import summand
from tests.depth import deep
from tests.models.tiny_clip import clip, letters, off, pixels

pytestmark = pytest.mark.usefixtures("unchecked")  # as users run it, and faster


@pytest.fixture(autouse=True)
def in_small_turns():
    """Threads take turns every 50 µs, not every 5 ms: few rounds meet each other in many places."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(5e-5)
    yield
    sys.setswitchinterval(usual)


def together(works, times):
    """Every work in a thread of its own, so many times; what they raised."""
    raised = []
    start = threading.Barrier(len(works))

    def run(work):
        start.wait()
        for _ in range(times):
            try:
                work()
            except BaseException as error:
                raised.append(error)
                return

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


@pytest.mark.slow
@pytest.mark.parametrize("resnet", [False, True])
def test_eight_threads_on_one_model(resnet):
    made = clip(resnet=resnet)
    model = summand.wrap(made, tokenizer=letters)
    side = 32 if resnet else 16
    questions = [
        lambda x: model.decompose(x).heads(),
        lambda x: model.decompose(x).tokens(),
        lambda x: model.pairs(x).vectors() if resnet else model.second_order(x, 0).vectors(),
        lambda x: model.decompose(x).total() if resnet else model.first_order(x, 1).vectors(),
        lambda x: model.decompose_text(["abc"]).total(),
        made.encode_image,
        made.encode_image,
        lambda x: model.encode_image(x),
    ]

    def asked(question, x, want):
        def work():
            with torch.no_grad():
                assert off(question(x), want) < 1e-9

        return work

    works = []
    for number, question in enumerate(questions):
        x = pixels(2, side, seed=number)
        with torch.no_grad():
            want = question(x)
        works.append(asked(question, x, want))
    assert together(works, deep(60, 20) if resnet else deep(200, 40)) == []


def test_threads_that_use_a_model_for_the_first_time_together():
    for seed in range(5):
        made = clip(seed)
        model, x = summand.wrap(made), pixels()
        with torch.no_grad():
            truth = made.encode_image(x)

        def work(model=model, x=x, truth=truth):
            assert off(model.decompose(x).total(), truth) < 1e-9
            model.second_order(x, 0)

        assert together([work] * 4, 1) == []


def test_hooks_that_come_and_go_while_a_pass_is_left():
    """As those of other threads do: torch says so in the place of whatever it was left with."""
    made, x = clip(), pixels()
    with torch.no_grad():
        truth = made.encode_image(x)
    left = []

    def come_and_go(module, args, output):
        left.append(output)
        module.register_forward_hook(lambda *_: None).remove()

    for module in (made.visual, made.visual.transformer):
        module.register_forward_hook(come_and_go, always_call=True)
    model = summand.wrap(made)
    assert off(model.decompose(x).total(), truth) < 1e-9
    assert off(model.decompose(x).tokens().sum(dim=1), model.decompose(x).heads().sum(dim=(1, 2))) < 1e-9
    assert None in left  # a pass was left in the middle


def test_a_users_hook_may_ask_in_the_middle_of_a_pass():
    """Re-entrance: a pass of ours within a pass of ours, and a plain forward within it."""
    made = clip()
    x, other = pixels(), pixels(seed=9)
    with torch.no_grad():
        truth, of_other = made.encode_image(x), made.encode_image(other)
    model = summand.wrap(made)
    found, busy = [], []

    def ask(*_):
        if not busy:
            busy.append(True)
            found.append((model.decompose(other).total(), made.encode_image(other)))
            busy.clear()

    handle = made.visual.transformer.resblocks[1].register_forward_hook(ask)
    with torch.no_grad():
        total = model.decompose(x).total()
        neurons = model.second_order(x, 0).vectors()
    handle.remove()
    assert off(total, truth) < 1e-9
    assert found
    assert all(off(a, of_other) < 1e-9 and off(b, of_other) < 1e-9 for a, b in found)
    assert off(neurons, model.second_order(x, 0).vectors()) < 1e-9


def test_a_callers_forward_never_meets_our_exceptions():
    made = clip()
    model, x = summand.wrap(made), pixels()
    stop = threading.Event()

    def ours():
        while not stop.is_set():
            model.decompose(x).heads()

    thread = threading.Thread(target=ours)
    thread.start()
    with torch.no_grad():
        truth = made.encode_image(x)
        try:
            for _ in range(150):
                assert torch.equal(made.encode_image(x), truth)
        finally:
            stop.set()
            thread.join()
