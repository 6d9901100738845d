from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from summand import Effects, SummandError


def effects(images=4, units=(2, 3), path=5, embed=7, seed=0) -> Effects:
    g = torch.Generator().manual_seed(seed)
    return Effects(
        torch.randn(images, *units, path, generator=g, dtype=torch.float64),
        torch.randn(*units, path, embed, generator=g, dtype=torch.float64),
        units=tuple(f"u{i}" for i in range(len(units))),
    )


@given(st.integers(1, 4), st.lists(st.integers(1, 3), min_size=1, max_size=2), st.integers(1, 5), st.integers(1, 6))
def test_norms_and_projections_agree_with_the_vectors(images, units, path, embed):
    e = effects(images, tuple(units), path, embed)
    vectors = torch.stack(
        [sum(e.coefficients[i, ..., p, None] * e.directions[..., p, :] for p in range(path)) for i in range(images)]
    )
    torch.testing.assert_close(e.vectors(), vectors)
    torch.testing.assert_close(e.norms(), vectors.norm(dim=-1), atol=1e-7, rtol=1e-7)
    directions = torch.randn(3, embed, dtype=torch.float64)
    torch.testing.assert_close(e.toward(directions), vectors @ directions.T)


def test_select_keeps_the_axis():
    e = effects()
    assert e.select(1).coefficients.shape == (4, 1, 3, 5)
    torch.testing.assert_close(e.select([1]).vectors(), e.vectors()[:, 1:2])


def test_factors_that_do_not_fit_are_refused(unchecked):
    with pytest.raises(SummandError, match="must agree"):
        Effects(torch.zeros(2, 3, 4), torch.zeros(3, 5, 6))
    with pytest.raises(SummandError, match="unit names"):
        Effects(torch.zeros(2, 3, 4), torch.zeros(3, 4, 6), units=("a", "b"))
