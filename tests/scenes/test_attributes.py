from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from summand.errors import SummandError
from summand.scenes import ATTRIBUTES, Causes, Shift, Tie, draw_causes
from summand.scenes.attributes import GROUP_ATTRIBUTES, SCENE_ATTRIBUTES, code_of
from tests.border import stats

UNLIKELY = 1e-5  # of a sound generator, by chance, in one of the tests below


@pytest.fixture(scope="module")
def causes() -> Causes:
    return draw_causes(20_000, seed=5)


def equal(first: Causes, second: Causes) -> bool:
    return all(np.array_equal(getattr(first, name), getattr(second, name)) for name in ("groups", "place", "letter"))


def head(causes: Causes, count: int) -> Causes:
    return Causes(causes.groups[:count], causes.place[:count], causes.letter[:count])


def test_the_issues_lower_bounds_on_the_number_of_values():
    assert list(ATTRIBUTES) == ["shape", "colour", "texture", "count", "size", "place", "position", "letter"]
    assert len(ATTRIBUTES["shape"]) >= 10
    assert len(ATTRIBUTES["colour"]) >= 10
    assert len(ATTRIBUTES["place"]) >= 8
    assert ATTRIBUTES["count"] == (1, 2, 3, 4, 5, 6)
    assert len(ATTRIBUTES["letter"]) >= 11


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_every_value_is_drawn_as_often_as_it_should(causes: Causes, attribute: str):
    found = np.bincount(causes.codes(attribute), minlength=len(ATTRIBUTES[attribute]))
    share = np.full(len(found), 1 / len(found))
    if attribute == "letter":
        share = np.array([0.25] + [0.075] * 10)
    assert stats.chisquare(found, share * len(causes)).pvalue > UNLIKELY


@pytest.mark.parametrize(("first", "second"), list(combinations(ATTRIBUTES, 2)))
def test_attributes_are_pairwise_independent(causes: Causes, first: str, second: str):
    table = np.zeros((len(ATTRIBUTES[first]), len(ATTRIBUTES[second])))
    np.add.at(table, (causes.codes(first), causes.codes(second)), 1)
    assert stats.chi2_contingency(table).pvalue > UNLIKELY


def test_same_seed_same_causes_and_another_seed_others():
    assert equal(draw_causes(50, 3, groups=2), draw_causes(50, 3, groups=2))
    assert not equal(draw_causes(50, 3), draw_causes(50, 4))


@pytest.mark.parametrize(
    "options",
    [{}, {"groups": 2}, {"ties": [Tie("shape", "colour", 0.5)]}, {"shifts": [Shift("place", "sea", 0.3)]}],
    ids=str,
)
def test_the_first_scenes_do_not_depend_on_the_count(options: dict):
    assert equal(draw_causes(30, 3, **options), head(draw_causes(70, 3, **options), 30))


def test_the_first_scenes_do_not_depend_on_the_count_with_several_options():
    options = {"ties": [Tie("shape", "colour", 0.5)], "shifts": [Shift("place", "sea", 0.3)]}
    assert equal(draw_causes(30, 3, **options), head(draw_causes(70, 3, **options), 30))


@pytest.mark.parametrize("share", [0.0, 0.6, 1.0])
def test_a_tie_holds_in_the_share_asked_for(share: float):
    causes = draw_causes(20_000, 1, ties=[Tie("place", "colour", share)])
    follows = (causes.codes("colour") == causes.codes("place")).mean()
    assert follows == pytest.approx(share + (1 - share) / 10, abs=0.015)
    free = draw_causes(20_000, 1)
    untouched = [name for name in ATTRIBUTES if name != "colour"]
    assert all(np.array_equal(causes.codes(name), free.codes(name)) for name in untouched)


def test_a_tie_to_an_attribute_with_fewer_values_goes_round():
    causes = draw_causes(200, 1, ties=[Tie("shape", "texture", 1.0)])
    assert np.array_equal(causes.codes("texture"), causes.codes("shape") % 4)


@pytest.mark.parametrize(
    ("attribute", "value", "chance"), [("place", "sea", 1 / 8), ("letter", "none", 1 / 4), ("count", 3, 1 / 6)]
)
def test_a_shift_forces_the_share_asked_for(attribute: str, value: str | int, chance: float):
    causes = draw_causes(20_000, 1, shifts=[Shift(attribute, value, 0.3)])
    found = (causes.table()[attribute] == value).mean()
    assert found == pytest.approx(0.3 + 0.7 * chance, abs=0.015)


def test_later_options_win():
    options = {"ties": [Tie("shape", "place", 1.0)], "shifts": [Shift("place", "sea", 1.0)]}
    assert set(draw_causes(100, 1, **options).table()["place"]) == {"sea"}
    assert set(draw_causes(100, 1, **options, fixed={"place": "snow"}).table()["place"]) == {"snow"}


def test_two_groups_differ_and_stand_on_opposite_sides():
    causes = draw_causes(2_000, 2, groups=2)
    first, second = causes.table(), causes.table(group=1)
    for attribute in ("shape", "colour", "texture"):
        assert (first[attribute] != second[attribute]).all()
    assert set(zip(first["position"], second["position"], strict=True)) == {
        ("left", "right"), ("right", "left"), ("top", "bottom"), ("bottom", "top"),
    }  # fmt: skip
    assert set(first["count"]) == set(second["count"]) == {1, 2, 3}
    assert (first[list(SCENE_ATTRIBUTES)] == second[list(SCENE_ATTRIBUTES)]).all(axis=None)


def test_one_group_has_no_second():
    assert draw_causes(5, 0).table(group=1)[list(GROUP_ATTRIBUTES)].isna().all(axis=None)


def test_with_codes_changes_one_attribute_of_a_copy():
    causes = draw_causes(10, 0)
    changed = causes.with_codes("colour", np.zeros(10, dtype=int))
    assert (changed.codes("colour") == 0).all()
    assert (causes.codes("colour") != 0).any()
    assert all(np.array_equal(changed.codes(n), causes.codes(n)) for n in ATTRIBUTES if n != "colour")


def test_codes_of_words():
    assert code_of("count", "3") == code_of("count", 3) == 2
    assert code_of("letter", "a") == code_of("letter", "A") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"groups": 3}, "groups must be 1 or 2, got 3"),
        ({"count": -1}, "must not be negative"),
        ({"seed": -1}, "must not be negative"),
        ({"fixed": {"color": "red"}}, "unknown attribute 'color', did you mean 'colour'"),
        ({"fixed": {"shape": "stars"}}, "unknown shape 'stars', did you mean 'star'"),
        ({"ties": [Tie("shape", "colour", 1.5)]}, "between 0 and 1, got 1.5"),
        ({"shifts": [Shift("place", "moon", 0.5)]}, "unknown place 'moon'"),
        ({"groups": 2, "fixed": {"count": 4}}, "room only for count in 1, 2, 3"),
        ({"groups": 2, "fixed": {"position": "centre"}}, "room only for position in left, right, top, bottom"),
    ],
)
def test_bad_options_are_named(options: dict, message: str):
    with pytest.raises(SummandError, match=message):
        draw_causes(**{"count": 10, "seed": 0, **options})
