"""What holds for any set of units: ablations add up, and do not depend on the order."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import summand
from summand import Moments
from summand.data.labelled import Labelled
from summand.models.ablations import Ablation, NeuronAblation
from summand.studies.debias.groups import group_accuracy
from tests.border import open_clip
from tests.depth import deep
from tests.studies.pictures import Noise, pixels
from tests.tiny import clip

quick = settings(max_examples=deep(20, 6), deadline=None)
HEADS = [(layer, head) for layer in range(3) for head in range(2)]


@pytest.fixture(scope="module")
def tiny():
    return summand.wrap(
        clip(vision={"layers": 3}), preprocess=pixels, tokenizer=open_clip.SimpleTokenizer(context_length=16)
    )


@pytest.fixture(scope="module")
def seen(tiny):
    x = torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    heads = Moments().update(tiny.decompose(x).head_effects()).mean
    neurons = Moments().update(tiny.second_order(x, 0)).mean
    return x, tiny.encode_image(x), heads, neurons


def split(units):
    """Two disjoint sets of units, both with something in them, each in any order."""
    return st.permutations(units).flatmap(
        lambda order: st.tuples(st.integers(1, len(order) - 1), st.integers(1, len(order) - 1)).map(
            lambda cut: (order[: min(cut)], order[min(cut) : max(cut) + 1])
        )
    )


@quick
@given(sets=split(HEADS))
def test_what_heads_lose_adds_up(tiny, seen, sets):
    x, plain, means, _ = seen
    lost = [
        plain - Ablation.of(tiny, some, means).apply(tiny).encode_image(x) for some in (*sets, [*sets[1], *sets[0]])
    ]
    torch.testing.assert_close(lost[0] + lost[1], lost[2], rtol=1e-3, atol=2e-4)
    # Means are taken over these very images: what is lost has none.
    torch.testing.assert_close(lost[2].mean(dim=0), torch.zeros_like(plain[0]), rtol=0, atol=2e-4)


@quick
@given(sets=split(list(range(0, 128, 5))))
def test_what_neurons_lose_adds_up(tiny, seen, sets):
    x, plain, _, means = seen
    lost = [
        plain - NeuronAblation.of(tiny, 0, some, means).apply(tiny).encode_image(x)
        for some in (*sets, [*sets[1], *sets[0]])
    ]
    torch.testing.assert_close(lost[0] + lost[1], lost[2], rtol=1e-3, atol=2e-4)
    torch.testing.assert_close(lost[2].mean(dim=0), torch.zeros_like(plain[0]), rtol=0, atol=2e-4)


@quick
@given(cells=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1), st.booleans()), min_size=1, max_size=40))
def test_averages_over_groups(cells):
    """worst ≤ every average ≤ best; weighted by the images' own mix, the mean over images."""
    labels, groups, right = (np.array(column) for column in zip(*cells, strict=True))
    data = Labelled(Noise(len(cells)), ("a", "b", "c"), labels, ("left", "right"), groups)
    found = group_accuracy(data, np.where(right, labels, (labels + 1) % 3))
    assert found.mean == pytest.approx(right.mean())
    assert found.weighted == pytest.approx(found.mean)
    best = float(np.nanmax(found.accuracy))
    for average in (found.mean, found.balanced, found.weighted, found.lowest(0.5)):
        assert found.worst - 1e-12 <= average <= best + 1e-12
