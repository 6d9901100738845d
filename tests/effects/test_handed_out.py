"""What is handed out is the caller's own: writing to it changes nothing of what comes later."""

from __future__ import annotations

import contextlib
import inspect
from typing import Any

import pytest
import torch
from torch import Tensor

from summand import Effects, Moments, TopImages
from summand.towers.directions import Directions
from summand.towers.factored import Factored
from tests.towers.test_directions import factored

QUESTIONS = (
    *("directions", "basis", "gram", "mean", "covariance", "ids", "norms", "coefficients", "sketch", "left", "right"),
    *("highest", "counts", "dense", "factors", "mean_vectors", "variance", "threshold", "arrays"),
)


def handed_out(owner: Any) -> list[Tensor]:
    """Every tensor that comes from asking one question or two of an object."""
    found: list[Tensor] = []
    for name in QUESTIONS:
        if not hasattr(type(owner), name) and name not in vars(owner):
            continue
        answer = getattr(owner, name)
        if inspect.ismethod(answer):
            answer = answer()
        if isinstance(answer, Tensor):
            found.append(answer)
        elif isinstance(answer, (tuple, list)):
            found += answer
        elif isinstance(answer, dict):
            found += [value for value in answer.values() if isinstance(value, Tensor)]
        else:
            found += handed_out(answer)
    assert found
    return found


def scribble(owner: Any) -> None:
    for tensor in handed_out(owner):
        if not tensor.is_floating_point():
            tensor.zero_()
            continue
        with contextlib.suppress(RuntimeError):  # an expanded one torch itself refuses to write to
            tensor.mul_(3).add_(1)


@pytest.mark.parametrize("kind", ["heads", "tokens", "neurons", "pairs"])
def test_a_model_answers_the_same_after_its_answers_were_written_to(vit, resnet, kind):
    model = resnet if kind == "pairs" else vit
    x = torch.randn(2, 3, *model.tower.image_size, generator=torch.Generator().manual_seed(0))
    ask = {
        "heads": lambda: model.decompose(x).head_effects(),
        "tokens": lambda: model.decompose(x).token_effects(),
        "neurons": lambda: model.second_order(x, 2),
        "pairs": lambda: model.pairs(x),
    }[kind]
    before = ask()
    vectors, norms, total = before.vectors(), before.norms(), model.decompose(x).total()
    before.coefficients = torch.zeros_like(before.coefficients)
    scribble(before)
    after = ask()
    assert torch.equal(after.vectors(), vectors)
    assert torch.equal(after.norms(), norms)
    assert torch.equal(model.decompose(x).total(), total)


@pytest.mark.parametrize("whole", [True, False])
def test_statistics_answer_the_same_after_their_answers_were_written_to(whole):
    basis, dense = factored()
    held: Directions = Directions.of(dense) if whole else basis
    e = Effects(torch.randn(9, 3, 2, 4, dtype=torch.float64), held, ("a", "b"))
    moments = Moments().update(e)
    top = TopImages(3, moments.mean).update(e, range(9))
    answers = [t.clone() for owner in (moments, top) for t in handed_out(owner)]
    for owner in (moments, top, moments.basis, top.basis):
        scribble(owner)
    again = [t for owner in (moments, top) for t in handed_out(owner)]
    assert all(torch.equal(a, b) for a, b in zip(answers, again, strict=True))
    moments.update(e)
    top.update(e, range(9, 18))
    assert torch.equal(moments.mean, Moments().update(e).mean)
    assert torch.equal(top.ids[..., 0] % 9, TopImages(3, moments.mean).update(e, range(9)).ids[..., 0])


def test_a_mean_that_is_written_to_later_does_not_move_the_top_images():
    e = Effects(torch.randn(9, 3, 4, dtype=torch.float64), torch.randn(3, 4, 5, dtype=torch.float64))
    mean = Moments().update(e).mean
    top = TopImages(3, mean)
    mean.mul_(100)
    assert torch.equal(top.update(e, range(9)).norms, TopImages(3, Moments().update(e).mean).update(e, range(9)).norms)


def test_norms_follow_directions_that_their_owner_changes():
    directions = torch.randn(3, 4, 5)
    e = Effects(torch.randn(2, 3, 4), directions)
    before = e.norms()
    directions.mul_(2)
    torch.testing.assert_close(e.norms(), 2 * before)


def test_copies_of_expanded_directions_stay_expanded():
    """A head's directions are those of each of its tokens: a copy for each token would take a gigabyte."""
    narrow = torch.randn(3, 1, 4, 5)
    e = Effects(torch.randn(2, 3, 1000, 4), narrow.expand(3, 1000, 4, 5), ("head", "token"))
    for tensor in (e.directions, e.gram, e.basis.dense()):
        assert tensor.stride(1) == 0
        assert tensor.untyped_storage().nbytes() <= narrow.untyped_storage().nbytes()


def test_factors_are_copies():
    basis, dense = factored()
    for handed in (basis.left, basis.right, *basis.factors()):
        handed.zero_()
    assert isinstance(basis, Factored)
    torch.testing.assert_close(basis.dense(), dense)
