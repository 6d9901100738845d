"""Partial states as rows: there and back, and neighbours merged pairwise against one pass over all images."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import summand
from summand.data import Skipped
from summand.effects.effects import Effects
from summand.statistics.moments import Moments
from summand.statistics.top_images import TopImages
from summand.survey.consumers import MomentsOf, TopImagesOf
from summand.survey.partial import failed, joined, pairwise, part_of, row_of
from summand.survey.per_image import Embeddings
from summand.survey.position import Shard
from summand.survey.units import Group


def parts_of(effects: Effects, edges: list[int], mean: torch.Tensor):
    """A part for each range between two edges, as a mapper makes them; and consumers of their kinds."""
    moments = MomentsOf(Group("heads"))
    moments.value = Moments().update(effects)
    made = {"moments": moments, "top": TopImagesOf(moments, 3), "images": Embeddings()}
    parts = []
    for start, stop in itertools.pairwise(edges):
        some, numbers = effects.with_coefficients(effects.coefficients[start:stop]), range(start, stop)
        one, top, rows = (each.fresh() for each in made.values())
        one.value.update(some)
        top.restore_value(TopImages(3, mean).update(some, numbers))
        rows.restore({"images": np.arange(start, stop), "embedding": np.arange(start, stop)[:, None] / 7})
        shard = Shard(0, start, stop, 1.0, 0.5, [start], [Skipped(f"{start}", "no\npicture")])
        parts.append((shard, {name: each.state() for name, each in zip(made, (one, top, rows), strict=True)}))
    return parts, made


@given(st.data(), st.integers(0, 1000))
def test_neighbours_become_one_in_any_order(data, seed):
    rng = np.random.default_rng(seed)
    count = data.draw(st.integers(2, 40))
    edges = [0, *sorted(data.draw(st.sets(st.integers(1, count - 1), max_size=12))), count]
    directions = torch.from_numpy(rng.normal(size=(5, 2, 4)))
    far = data.draw(st.sampled_from([0.0, 1e3]))
    effects = Effects(torch.from_numpy(rng.normal(size=(count, 5, 2)) + far), directions)
    mean = effects.coefficients.mean(dim=0)
    parts, made = parts_of(effects, edges, mean)
    away = data.draw(st.none() | st.integers(0, len(parts) - 1))
    sent = [part_of(row_of(*part)) for number, part in enumerate(parts) if number != away]
    found = joined(data.draw(st.permutations(sent)), made)
    gap = [] if away is None else [(edges[away], edges[away + 1])]
    assert expected_ranges(edges, gap) == [(shard.start, shard.stop) for shard, _ in found]
    for shard, states in found:
        some = effects.with_coefficients(effects.coefficients[shard.start : shard.stop])
        whole = {name: each.fresh() for name, each in made.items()}
        for name, each in whole.items():
            each.restore(states[name])
        one = Moments().update(some)
        assert whole["moments"].value.count == shard.stop - shard.start
        torch.testing.assert_close(whole["moments"].value.mean, one.mean, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(
            whole["moments"].value.covariance, one.covariance, rtol=1e-9, atol=1e-9 + 1e-12 * far**2
        )
        top = TopImages(3, mean).update(some, range(shard.start, shard.stop))
        assert torch.equal(whole["top"].value.ids, top.ids)
        assert states["images"]["images"].tolist() == list(range(shard.start, shard.stop))
        inside = [start for start in edges[:-1] if shard.start <= start < shard.stop]
        assert shard.unreadable == inside
        assert [item.name for item in shard.skipped] == [str(start) for start in inside]
        assert shard.seconds == len(inside)


def expected_ranges(edges, gaps):
    found = []
    for pair in itertools.pairwise(edges):
        if pair in gaps:
            continue
        if found and found[-1][1] == pair[0]:
            found[-1] = (found[-1][0], pair[1])
        else:
            found.append(pair)
    return found


@given(st.integers(1, 200))
def test_a_tree_is_as_deep_as_the_logarithm(count):
    depth = pairwise([(number, number + 1, 0) for number in range(count)], lambda one, other: (
        one[0] if one[1] == other[0] else -1, other[1], max(one[2], other[2]) + 1
    ))  # fmt: skip
    assert depth == (0, count, math.ceil(math.log2(count)))


def test_a_part_that_failed_is_its_error():
    with pytest.raises(summand.SummandError, match="not finite"):
        part_of(failed(summand.SummandError("not finite")))
