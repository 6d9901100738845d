"""Questions asked under a default device or dtype, within transforms of torch.func, traces and torch.compile."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch.autograd import forward_ad

import summand
from tests.models.tiny_clip import clip, letters, off, pixels

X = pixels()
pytestmark = pytest.mark.usefixtures("unchecked")


@contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def default_device(name):
    torch.set_default_device(name)
    try:
        yield
    finally:
        torch.set_default_device(None)


SURROUNDINGS = {
    "device meta": lambda: torch.device("meta"),
    "default device meta": lambda: default_device("meta"),
    "float64": lambda: default_dtype(torch.float64),
    "float16": lambda: default_dtype(torch.float16),
    "bfloat16": lambda: default_dtype(torch.bfloat16),
}
QUESTIONS = [
    lambda m, x: m.decompose(x).heads(),
    lambda m, x: m.decompose(x).tokens(),
    lambda m, x: m.decompose(x, parity="paper").heads(),
    lambda m, x: m.decompose(x).toward(x.flatten(1)[:, :16]),
    lambda m, x: m.second_order(x, 0).vectors(),
    lambda m, x: m.second_order(x, 0).norms(),
    lambda m, x: m.first_order(x, 1).vectors(),
    lambda m, x: m.indirect(x, 0, [1, 2], m.mean_activations([x], 0)).vectors(),
    lambda m, x: m.encode_image(x),
    lambda m, x: m.encode_text(["ab", "c"]),
    lambda m, x: m.decompose_text(["ab", "c"]).total(),
]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", SURROUNDINGS)
def test_the_callers_defaults_change_nothing(name, dtype):
    x = X.to(dtype)
    plain = summand.wrap(clip().to(dtype), tokenizer=letters)
    wanted = [ask(plain, x) for ask in QUESTIONS]
    made = clip().to(dtype)
    with SURROUNDINGS[name]():
        model = summand.wrap(made, tokenizer=letters)
        found = [ask(model, x) for ask in QUESTIONS]
    for got, later, want in zip(found, [ask(model, x) for ask in QUESTIONS], wanted, strict=True):
        assert got.dtype == later.dtype == want.dtype
        assert got.device == want.device
        assert off(got, want) < 1e-12 if dtype == torch.float64 else 1e-5
        assert off(later, want) < 1e-12 if dtype == torch.float64 else 1e-5


@pytest.mark.parametrize("name", SURROUNDINGS)
def test_a_heatmap_under_the_callers_defaults(name):
    image = summand.scenes.sample(1, seed=1).images[0]
    model = summand.load("scenes-vit")
    want = summand.heatmap(model, image, ["a red star"])
    with SURROUNDINGS[name]():
        found = summand.heatmap(model, image, ["a red star"])
    np.testing.assert_allclose(found.grid, want.grid, atol=1e-5 * np.abs(want.grid).max())
    np.testing.assert_array_equal(found.picture, want.picture)


def dual(ask):
    with forward_ad.dual_level():
        return ask(forward_ad.make_dual(X, X))


def export(ask):
    class Question(torch.nn.Module):
        def forward(self, x):
            return ask(x)

    return torch.export.export(Question(), (X,))


TRANSFORMS = {
    "vmap": lambda ask: torch.vmap(lambda x: ask(x[None]))(X),
    "grad": lambda ask: torch.func.grad(lambda x: ask(x).sum())(X),
    "jvp": lambda ask: torch.func.jvp(ask, (X,), (X,)),
    "vjp": lambda ask: torch.func.vjp(ask, X),
    "forward mode": dual,
    "trace": lambda ask: torch.jit.trace(ask, (X,), check_trace=False),
    "export": export,
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_transform_that_would_lose_the_derivative_is_refused(name):
    """No question is differentiable in its pixels: a gradient of zeros would look like an answer."""
    made = clip()
    model = summand.wrap(made)
    asks = [lambda x: model.decompose(x).total(), lambda x: model.second_order(x, 0).norms(), model.encode_image]
    for ask in asks:
        with pytest.raises(summand.SummandError, match="ask outside"):
            TRANSFORMS[name](ask)
    assert off(model.decompose(X).total(), made.encode_image(X)) < 1e-12


def test_directions_within_transforms():
    model = summand.wrap(clip())
    parts, along = model.decompose(X), torch.eye(16, dtype=torch.float64)[:3]
    gradient = torch.func.grad(lambda d: parts.tokens_toward(d).square().sum())(along)
    wanted = along.clone().requires_grad_(True)
    parts.tokens_toward(wanted).square().sum().backward()
    assert off(gradient, wanted.grad) < 1e-12
    with pytest.raises(summand.SummandError, match="directions must be an ordinary tensor"):
        torch.vmap(lambda d: parts.tokens_toward(d[None]))(along)


def test_functional_call_asks_the_weights_it_is_given():
    made = clip()
    model = summand.wrap(made)

    class Question(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.clip = made

        def forward(self, x):
            return model.decompose(x).total()

    other = {name: value * 1.1 for name, value in made.named_parameters()}
    found = torch.func.functional_call(Question(), {f"clip.{name}": value for name, value in other.items()}, (X,))
    wanted = clip()
    wanted.load_state_dict({**wanted.state_dict(), **other})
    assert off(found, wanted.encode_image(X)) < 1e-12
    assert off(model.decompose(X).total(), made.encode_image(X)) < 1e-12


@pytest.mark.slow
def test_inside_a_compiled_function():
    made = clip()
    model = summand.wrap(made)
    asked = torch.compile(lambda x: model.decompose(x).heads() * 2, backend="eager")
    with pytest.raises(summand.SummandError, match=r"inside a function under torch\.compile"):
        asked(X)
    outside = torch.compiler.disable(lambda x: model.decompose(x).heads())
    asked = torch.compile(lambda x: outside(x) * 2, backend="eager")
    assert off(asked(X), 2 * summand.wrap(clip()).decompose(X).heads()) < 1e-12
