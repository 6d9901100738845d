from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from summand.border import foreign
from summand.errors import SummandError
from summand.scenes import ATTRIBUTES, SceneSource, Shift, Tie, parse_source, sample

ARRAYS = ("images", "group_masks", "instances", "letter_masks")
SHARES = st.floats(0, 1)
ATTRIBUTE = st.sampled_from(list(ATTRIBUTES))
TIES = st.builds(Tie, ATTRIBUTE, ATTRIBUTE, SHARES).filter(lambda tie: tie.cause != tie.effect)
SHIFTS = st.sampled_from([(a, v) for a, vs in ATTRIBUTES.items() for v in vs]).flatmap(
    lambda pair: st.builds(Shift, st.just(pair[0]), st.just(pair[1]), SHARES)
)


def test_defaults():
    assert parse_source("scenes") == SceneSource(count=2000, seed=0, groups=1, ties=(), shifts=())


def test_the_example():
    text = "scenes:count=2000,seed=7,groups=2,shift=place/sea/0.3,tie=shape/colour/0.95,shift=count/2/.5"
    assert parse_source(text) == SceneSource(
        2000, 7, 2, (Tie("shape", "colour", 0.95),), (Shift("place", "sea", 0.3), Shift("count", 2, 0.5))
    )
    assert parse_source(" scenes: count = 5 , seed = 1 ") == SceneSource(5, 1)


@given(st.integers(1, 1_000_000), st.integers(0, 2**63 - 1), st.lists(TIES, max_size=3), st.lists(SHIFTS, max_size=3))
def test_a_source_reads_back_from_its_string(count: int, seed: int, ties: list[Tie], shifts: list[Shift]):
    source = SceneSource(count, seed, groups=1, ties=tuple(ties), shifts=tuple(shifts))
    assert parse_source(str(source)) == source


@given(st.text(max_size=30), st.sampled_from(["", "scenes", "scenes:", "scenes:count=", "scenes:tie=shape/"]))
def test_any_string_is_read_or_refused(text: str, start: str):
    try:
        source = parse_source(start + text)
    except SummandError:
        return
    assert parse_source(str(source)) == source


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("scene", "expected a source 'scenes' or 'scenes:key=value,…'"),
        ("scenes:", "'' in 'scenes:': expected key=value, with a key of count, seed, groups, tie, shift"),
        ("scenes:count", "'count' in .*: expected key=value"),
        ("scenes:count=", "'count=' in .*: expected key=value"),
        ("scenes:cuont=5", "'cuont=5' in .*: unknown key 'cuont', did you mean 'count'.*keys: count, seed"),
        ("scenes:count=many", "'count=many' in .*: expected a whole number from 1 to 1,000,000, got 'many'"),
        ("scenes:count=0", "whole number from 1"),
        ("scenes:count=2000000", "from 1 to 1,000,000, got '2000000'"),
        ("scenes:seed=-1", "'seed=-1' in .*: expected a whole number from 0"),
        ("scenes:groups=3", "from 1 to 2, got '3'"),
        ("scenes:count=5,count=6", "gives count 2 times"),
        ("scenes:seed=1,shift=place/sea", "'shift=place/sea' in .*: expected attribute/value/share, .*got 'place/sea"),
        ("scenes:shift=plaice/sea/0.3", "unknown attribute 'plaice', did you mean 'place'"),
        ("scenes:shift=place/see/0.3", "unknown place 'see', did you mean 'sea'"),
        ("scenes:shift=place/sea/2", "a share between 0 and 1, got '2'"),
        ("scenes:shift=place/sea/nan", "a share between 0 and 1, got 'nan'"),
        ("scenes:shift=place/sea/much", "a share between 0 and 1, got 'much'"),
        ("scenes:tie=shape/0.9", "expected cause/effect/share"),
        ("scenes:tie=shape/color/0.9", "unknown attribute 'color', did you mean 'colour'"),
        ("scenes:tie=shape/shape/0.9", "two different attributes, got shape twice"),
        ("scenes:groups=2,shift=count/5/0.1", "room only for count in 1, 2, 3"),
        ("scenes:shift=position/centre/0,groups=2", "room only for position"),
    ],
)
def test_bad_parts_are_named(text: str, message: str):
    with pytest.raises(SummandError, match=message):
        parse_source(text)


@pytest.mark.parametrize("groups", [1, 2])
def test_pieces_equal_slices_of_the_whole(groups: int):
    # Two options: their coins are drawn for the whole sample, so a piece must not be drawn as a sample of its own.
    options = "shift=place/sea/0.3,tie=shape/colour/0.9,shift=size/large/0.8"
    source = parse_source(f"scenes:count=60,seed=7,groups={groups},{options}")
    whole = sample(60, 7, groups, source.ties, source.shifts)
    for start, stop in ((0, 10), (25, 31), (50, None), (59, 500), (-5, None), (30, 30), (40, 20)):
        piece = source.sample(start, stop)
        for name in ARRAYS:
            assert np.array_equal(getattr(piece, name), getattr(whole, name)[start:stop])
        assert piece.attributes.to_dict("records") == foreign(whole.attributes[start:stop]).to_dict("records")
        assert np.array_equal(piece.causes.groups, whole.causes.groups[start:stop])
    assert np.array_equal(source.sample().images, whole.images)
    assert len(source) == 60


def test_a_source_is_a_value():
    source = parse_source("scenes:count=10")
    assert source == SceneSource(10)
    assert hash(source) == hash(SceneSource(10))
    assert np.array_equal(source.causes.place, pickle.loads(pickle.dumps(source)).causes.place)
