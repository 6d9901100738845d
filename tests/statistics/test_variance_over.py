from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from summand.effects.effects import Effects
from summand.statistics import variance_over as module
from summand.statistics.moments import Moments
from summand.statistics.variance_over import variance_over


@given(st.integers(0, 2**31), st.sampled_from([(3,), (2, 3), (1, 1)]), st.integers(1, 9))
def test_it_is_the_sum_of_the_variances_along_each_direction(seed, units, count):
    """Against the effects themselves, more directions than dimensions or fewer."""
    draw = torch.Generator().manual_seed(seed)
    coefficients = torch.randn(12, *units, 2, generator=draw)
    directions = torch.randn(*units, 2, 5, generator=draw)
    texts = torch.randn(count, 5, generator=draw)
    names = tuple(f"unit {i}" for i in range(len(units)))
    effects = Effects(coefficients, directions, names, ("path",))
    along = effects.vectors().double() @ texts.double().T
    expected = along.var(dim=0, correction=0).sum(dim=-1)
    found = variance_over(Moments().update(effects), texts)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)


def test_blocks_of_units_give_the_same(monkeypatch):
    draw = torch.Generator().manual_seed(0)
    effects = Effects(
        torch.randn(9, 7, 2, 3, generator=draw), torch.randn(7, 2, 3, 4, generator=draw), ("a", "b"), ("p",)
    )
    moments, texts = Moments().update(effects), torch.randn(6, 4, generator=draw)
    whole = variance_over(moments, texts)
    monkeypatch.setattr(module, "_AT_ONCE", 2 * 2 * 3 * 4)  # two units of seven at a time
    torch.testing.assert_close(variance_over(moments, texts), whole)
