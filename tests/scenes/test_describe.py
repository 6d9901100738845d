from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from summand.errors import SummandError
from summand.scenes import ATTRIBUTES, GROUP_ATTRIBUTES, describe, sample
from tests.depth import deep

COUNTS = ("one", "two", "three", "four", "five", "six")
PLACES = {
    "sea": "by the sea", "forest": "in the woods", "desert": "in a desert", "snow": "in the snow", "city": "in a city",
    "meadow": "in a meadow", "sunset": "at sunset", "plain": "in front of a grey wall",
}  # fmt: skip
SIDES = ("left", "right", "top", "bottom")
OPPOSITE = dict(zip(SIDES, ("right", "left", "bottom", "top"), strict=True))


def named(counts: tuple[int, ...], positions: tuple[str, ...]) -> st.SearchStrategy[dict]:
    """A random subset of the attributes of a group, with values."""
    values = {name: ATTRIBUTES[name] for name in ("shape", "colour", "texture", "size")}
    values |= {"count": counts, "position": positions}
    return st.fixed_dictionaries({}, optional={name: st.sampled_from(options) for name, options in values.items()})


SCENE = st.fixed_dictionaries(
    {}, optional={"place": st.sampled_from(list(PLACES)), "letter": st.sampled_from(ATTRIBUTES["letter"])}
)


def phrase(group: dict) -> str:
    words = [COUNTS[group["count"] - 1] if "count" in group else "the"]
    words += [group[name] for name in ("size", "texture", "colour") if name in group]
    words.append(group.get("shape", "object"))
    words += [f"on the {group['position']}"] if "position" in group else []
    return " ".join(words)


def ending(scene: dict) -> str:
    place = f" {PLACES[scene['place']]}" if "place" in scene else ""
    if "letter" not in scene:
        return place
    return place + (" with no sign" if scene["letter"] == "none" else f" with the letter {scene['letter']}")


def test_the_example():
    scenes = describe("two red stars and a small blue ring in the snow with the letter A", count=5, seed=3)
    first, second = scenes.attributes, scenes.second
    assert len(scenes) == 5
    for table, expected in (
        (first, {"count": 2, "colour": "red", "shape": "star", "place": "snow", "letter": "A"}),
        (second, {"size": "small", "colour": "blue", "shape": "ring", "place": "snow", "letter": "A"}),
    ):
        assert all((table[attribute] == value).all() for attribute, value in expected.items())
    assert scenes.group_masks.any(axis=(2, 3)).all()
    assert scenes.letter_masks.any(axis=(1, 2)).all()


@settings(max_examples=deep(40, 20), deadline=None)
@given(named(ATTRIBUTES["count"], ATTRIBUTES["position"]), SCENE)
def test_one_group_is_as_described(group: dict, scene: dict):
    scenes = describe(phrase(group) + ending(scene), count=2, seed=1)
    for row in scenes.attributes.to_dict("records"):
        assert {name: row[name] for name in group | scene} == group | scene
    assert not scenes.group_masks[:, 1].any()


@settings(max_examples=deep(60, 20), deadline=None)
@given(named((1, 2, 3), SIDES), named((1, 2, 3), SIDES), SCENE)
def test_two_groups_are_as_described(first: dict, second: dict, scene: dict):
    text = f"{phrase(first)} and {phrase(second)}{ending(scene)}"
    if first.get("position", "") not in ("", OPPOSITE[second.get("position", "left")]) and "position" in second:
        with pytest.raises(SummandError, match="opposite sides"):
            describe(text)
        return
    scenes = describe(text, count=2, seed=2)
    for one, two in zip(scenes.attributes.to_dict("records"), scenes.second.to_dict("records"), strict=True):
        assert {name: one[name] for name in first | scene} == first | scene
        assert {name: two[name] for name in second} == second
        assert two["position"] == OPPOSITE[one["position"]]
        assert one["count"] <= 3
        assert two["count"] <= 3
        for attribute in ("shape", "colour", "texture"):
            if not (attribute in first and attribute in second):
                assert one[attribute] != two[attribute]
    assert not (scenes.group_masks[:, 0] & scenes.group_masks[:, 1]).any()


def test_what_is_not_named_is_left_to_chance():
    table = describe("red objects", count=300, seed=4).attributes
    for attribute, values in ATTRIBUTES.items():
        assert set(table[attribute]) == ({"red"} if attribute == "colour" else set(values))


def test_the_unnamed_values_of_the_first_group_are_even_when_the_second_is_named():
    scenes = describe("an object and a star", count=450, seed=5)
    counts = scenes.attributes["shape"].value_counts()
    assert set(counts.index) == set(ATTRIBUTES["shape"]) - {"star"}
    assert counts.min() > 25
    assert counts.max() < 80


def test_two_groups_may_share_what_is_named_for_both():
    scenes = describe("a red star and a red ring", count=4)
    assert set(scenes.attributes["colour"]) == set(scenes.second["colour"]) == {"red"}


def test_seed_and_count():
    assert np.array_equal(describe("a star", 3, seed=8).images, describe("a star", 5, seed=8).images[:3])
    assert not np.array_equal(describe("a star", seed=8).images, describe("a star", seed=9).images)
    assert np.array_equal(describe("a scene", 4, seed=8).images, sample(4, seed=8).images)
    assert len(describe("a star", 0)) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a sentence"),
        (" ", "expected a sentence"),
        ("a red unicorn", "no word 'unicorn'"),
        ("four stars and a ring", "asks for 4 objects in one of two groups, .* at most 3 each"),
        ("a star and six rings", "asks for 6 objects"),
        ("a star in the centre and a ring", "puts one of two groups in the centre.*left, right, top, bottom"),
        ("a star and a ring in the middle", "puts one of two groups in the centre"),
        ("a star on the left and a ring on the left", "at the left and at the left, but two groups stand on opposite"),
        ("a star on the left and a ring at the top", "name one of the two positions, or top and bottom"),
        ("a star and a ring and a cross", "at most two groups"),
    ],
)
def test_what_cannot_be_rendered_is_said(text: str, message: str):
    with pytest.raises(SummandError, match=message):
        describe(text)


def test_a_negative_seed_or_count_is_refused():
    for options in ({"seed": -1}, {"count": -1}):
        with pytest.raises(SummandError, match="must not be negative"):
            describe("a star", **options)


def test_every_group_attribute_can_be_named():
    words = phrase({name: ATTRIBUTES[name][-1] for name in GROUP_ATTRIBUTES})
    row = describe(words).attributes.loc[0]
    assert all(row[name] == ATTRIBUTES[name][-1] for name in GROUP_ATTRIBUTES)
