"""Under autocast the user's own model computes in half precision; what is made of it does not."""

from __future__ import annotations

import pytest
import torch

from summand import Effects, Moments, TopImages, rank_one, sparse_code, textspan
from summand.text.evidence import evidence
from summand.text.sparse import prepare_atoms
from summand.towers.directions import Directions
from summand.towers.factored import Factored


def held(kind: str) -> Directions:
    g = torch.Generator().manual_seed(1)
    if kind == "whole":
        return Directions.of(torch.randn(3, 2, 5, 8, generator=g))
    if kind == "repeated":
        return Directions.of(torch.randn(3, 1, 5, 8, generator=g).expand(3, 2, 5, 8))
    if kind == "one path":
        return Factored(torch.randn(3, 2, 1, 4, generator=g), torch.randn(2, 1, 4, 8, generator=g))
    return Factored(torch.randn(3, 2, 5, 4, generator=g), torch.randn(5, 4, 8, generator=g))


def effects(kind: str) -> Effects:
    basis = held(kind)
    g = torch.Generator().manual_seed(0)
    return Effects(torch.randn(6, *basis.shape[:-1], generator=g), basis, ("a", "b"))


ASKED = {
    "vectors": lambda e: e.vectors(),
    "norms": lambda e: e.norms(),
    "gram": lambda e: e.gram,
    "directions": lambda e: e.directions,
    "toward": lambda e: e.toward(torch.ones(2, 8) / 3),
    "select": lambda e: e.select([2, 0]).norms(),
    "sum over the last unit": lambda e: e.sum_over_last_unit().norms(),
    "total": lambda e: e.basis.total(e.coefficients),
    "combine": lambda e: e.basis.combine(e.coefficients[0]),
    "fold": lambda e: e.basis.fold().gram,
    "covariance": lambda e: Moments().update(e).covariance,
    "variance": lambda e: Moments().update(e).variance(),
    "mean": lambda e: Moments().update(e).mean_vectors(),
    "along": lambda e: Moments().update(e).variance_along(torch.ones(2, 8) / 3),
    "top images": lambda e: TopImages(2, Moments().update(e).mean).update(e, range(6)).norms,
    "rank one": lambda e: rank_one(Moments().update(e)).directions,
    "textspan": lambda e: textspan(Moments().update(e), torch.eye(8) + 0.1, 4).explained,
}


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("kind", ["whole", "repeated", "factored", "one path"])
def test_effects_are_what_they_are_without_autocast(kind, asked):
    expected = ASKED[asked](effects(kind))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = ASKED[asked](effects(kind))
    assert found.dtype == expected.dtype
    assert torch.equal(found, expected)


def test_what_was_asked_first_under_autocast_or_inference_mode_is_right_ever_after():
    e = effects("factored")
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.inference_mode():
        e.norms()
    assert torch.equal(e.norms(), effects("factored").norms())
    coefficients = e.coefficients.clone().requires_grad_()
    Effects(coefficients, e.basis, ("a", "b")).norms().sum().backward()  # the Gram matrix was kept in inference mode
    assert coefficients.grad is not None
    assert torch.isfinite(coefficients.grad).all()


def test_half_precision_coefficients_meet_full_directions():
    e = effects("whole")
    half = Effects(e.coefficients.bfloat16(), e.basis, e.units)
    same = Effects(e.coefficients.bfloat16().float(), e.basis, e.units)
    assert torch.equal(half.norms(), same.norms())
    assert torch.equal(half.toward(torch.eye(8)), same.toward(torch.eye(8)))
    assert torch.equal(half.vectors(), same.vectors())


def test_words_are_those_found_without_autocast():
    g = torch.Generator().manual_seed(0)
    targets, atoms = torch.randn(5, 16, generator=g), torch.randn(60, 16, generator=g)
    images, signal = torch.randn(40, 16, generator=g), torch.randn(40, 5, generator=g)

    def words():
        code = sparse_code(targets, atoms, 4)
        scored = evidence(signal, images, targets, code.indices, code.coefficients, prepare_atoms(atoms), draws=3)
        return code.indices, code.coefficients, scored.score.correlation, scored.random.correlation

    expected = words()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = words()
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("kind", ["whole", "factored"])
def test_projections_are_differentiable_in_coefficients_and_targets(kind):
    e = effects(kind).select([0])
    basis = e.basis.double()
    coefficients = e.coefficients.double().requires_grad_()
    targets = torch.randn(2, 8, dtype=torch.float64, requires_grad=True)

    def project(c, t):
        return Effects(c, basis, e.units).toward(t)

    assert torch.autograd.gradcheck(project, (coefficients, targets))
    assert torch.autograd.gradcheck(lambda c: Effects(c, basis, e.units).norms(), (coefficients,))
