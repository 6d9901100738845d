from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, binary_erosion, center_of_mass

from summand.border import foreign
from summand.errors import SummandError
from summand.scenes import (
    ATTRIBUTES,
    Causes,
    Chance,
    Scenes,
    counterfactuals,
    draw_causes,
    render,
    sample,
)
from summand.scenes.drawing import COLOURS

PALETTE = np.array([COLOURS[str(name)] for name in ATTRIBUTES["colour"]])
MIDDLE = 31.5
ARRAYS = ("images", "group_masks", "instances", "letter_masks")


def near(masks: np.ndarray, pixels: int = 3) -> np.ndarray:
    """Masks grown by the soft edge of an object: thin tips are drawn too faintly to be counted as the object's."""
    return binary_dilation(masks, np.ones((1, 2 * pixels + 1, 2 * pixels + 1)))


def objects_of(scenes: Scenes) -> np.ndarray:
    counts = scenes.causes.groups[:, :, 3] + 1
    return counts.sum(axis=1)


def test_kinds_and_shapes(doubles: Scenes):
    assert doubles.images.shape == (150, 64, 64, 3)
    assert doubles.images.dtype == np.uint8
    assert doubles.group_masks.shape == (150, 2, 64, 64)
    assert doubles.group_masks.dtype == bool
    assert doubles.instances.shape == (150, 64, 64)
    assert doubles.instances.dtype == np.uint8
    assert doubles.letter_masks.shape == (150, 64, 64)
    assert doubles.letter_masks.dtype == bool
    assert list(doubles.attributes) == list(ATTRIBUTES)
    assert len(doubles) == len(doubles.attributes) == 150


@pytest.mark.parametrize("groups", [1, 2])
def test_a_scene_is_a_function_of_seed_and_row(groups: int):
    once, again, longer = sample(30, 3, groups), sample(30, 3, groups), sample(47, 3, groups)
    for name in ARRAYS:
        assert np.array_equal(getattr(once, name), getattr(again, name))
        assert np.array_equal(getattr(once, name), getattr(longer, name)[:30])
    other = sample(30, 4, groups)
    assert (once.images != other.images).any(axis=(1, 2, 3)).all()


def test_no_two_pictures_of_the_same_causes_are_alike():
    fixed = {name: values[0] for name, values in ATTRIBUTES.items()}
    flat = sample(12, 0, fixed=fixed).images.reshape(12, -1).astype(float)
    assert min(np.abs(flat[i] - flat[j]).mean() for i in range(12) for j in range(i)) > 2


def test_nothing_and_one():
    assert sample(0, 1).images.shape == (0, 64, 64, 3)
    assert sample(0, 1).masks.shape == (0, 64, 64)
    assert np.array_equal(sample(1, 1).images, sample(5, 1).images[:1])


def test_masks_are_disjoint_and_agree(doubles: Scenes):
    first, second = doubles.group_masks[:, 0], doubles.group_masks[:, 1]
    assert not (first & second).any()
    assert not (doubles.masks & doubles.letter_masks).any()
    assert np.array_equal(doubles.masks, doubles.instances > 0)
    for scene, count in enumerate(doubles.attributes["count"]):
        assert (doubles.instances[scene][first[scene]] <= count).all()
        assert (doubles.instances[scene][second[scene]] > count).all()


@pytest.mark.parametrize("which", ["singles", "doubles"])
def test_every_object_is_seen(which: str, request: pytest.FixtureRequest):
    scenes = request.getfixturevalue(which)
    expected = [list(range(count + 1)) for count in objects_of(scenes)]
    found = [np.unique(one).tolist() for one in scenes.instances]
    assert np.mean([a == b for a, b in zip(found, expected, strict=True)]) >= 0.99


def test_one_group_has_one_mask(singles: Scenes):
    assert not singles.group_masks[:, 1].any()
    assert singles.group_masks[:, 0].any(axis=(1, 2)).all()


def test_letters_are_drawn_where_they_are_named(singles: Scenes):
    named = (singles.attributes["letter"] != "none").to_numpy()
    assert np.array_equal(singles.letter_masks.any(axis=(1, 2)), named)


def test_solid_objects_have_the_named_colour(singles: Scenes):
    table = singles.attributes
    inner = binary_erosion(singles.masks, np.ones((1, 3, 3)))
    solid = np.flatnonzero((table["texture"] == "solid") & (inner.sum(axis=(1, 2)) >= 20))
    assert len(solid) > 50
    means = np.stack([singles.images[i][inner[i]].mean(axis=0) / 255 for i in solid])
    distance = np.linalg.norm(means[:, None] - PALETTE, axis=2)
    named = singles.causes.codes("colour")[solid]
    assert (distance.argmin(axis=1) == named).mean() >= 0.99
    assert distance[np.arange(len(solid)), named].mean() < 0.12


def test_textured_objects_vary_more_inside_than_solid_ones(singles: Scenes):
    inner = binary_erosion(singles.masks, np.ones((1, 5, 5)))
    big = inner.sum(axis=(1, 2)) >= 40
    spread = np.array([singles.images[i][inner[i]].std(axis=0).mean() if big[i] else np.nan for i in range(len(big))])
    texture = singles.attributes["texture"].to_numpy()
    solid = np.nanmedian(spread[texture == "solid"])
    for name in ("striped", "dotted", "checkered"):
        assert np.nanmedian(spread[texture == name]) > 2 * solid


@pytest.mark.parametrize(("which", "group"), [("singles", 0), ("doubles", 0), ("doubles", 1)])
def test_the_group_stands_on_the_named_side(which: str, group: int, request: pytest.FixtureRequest):
    scenes: Scenes = request.getfixturevalue(which)
    y, x = np.array([center_of_mass(mask) for mask in scenes.group_masks[:, group]]).T - MIDDLE
    for i, position in enumerate(scenes.causes.table(group)["position"]):
        beside, across = {"left": (-x, y), "right": (x, y), "top": (-y, x), "bottom": (y, x)}.get(position, (x, y))
        if position == "centre":
            assert abs(x[i]) < 8
            assert abs(y[i]) < 8
        else:
            assert beside[i] > 6
            assert abs(across[i]) < 13


def test_large_objects_cover_more_than_small_ones():
    pairs = counterfactuals(60, "size", seed=2)
    per_object = [scenes.masks.sum(axis=(1, 2)) / scenes.attributes["count"].to_numpy() for scenes in pairs]
    sizes = [scenes.attributes["size"].to_numpy() for scenes in pairs]
    bare = (pairs[0].attributes["letter"] == "none").to_numpy()
    assert bare.sum() > 8
    large = np.where(sizes[0] == "large", *per_object)[bare]
    small = np.where(sizes[0] == "small", *per_object)[bare]
    assert (large > 1.3 * small).all()


def test_objects_of_a_group_are_equal_in_size(singles: Scenes):
    bare = np.flatnonzero((singles.attributes["letter"] == "none") & (singles.attributes["count"] > 1))
    areas = [np.bincount(singles.instances[i].ravel())[1:] for i in bare]
    assert np.mean([area.min() > 0.75 * area.max() for area in areas]) >= 0.98


# Counterfactual pairs.


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_a_pair_differs_in_one_attribute(attribute: str):
    before, after = counterfactuals(12, attribute, seed=3)
    for name in ATTRIBUTES:
        same = before.attributes[name] == after.attributes[name]
        assert not same.any() if name == attribute else same.all()
    assert (before.images != after.images).any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize("attribute", ["colour", "texture", "shape", "size"])
def test_changing_the_objects_changes_nothing_away_from_them(attribute: str):
    before, after = counterfactuals(40, attribute, seed=4)
    changed = (before.images != after.images).any(axis=-1)
    assert np.array_equal(before.letter_masks, after.letter_masks)
    assert not (changed & ~near(before.masks | after.masks)).any()
    assert changed.any(axis=(1, 2)).all()


@pytest.mark.parametrize("attribute", ["colour", "texture"])
def test_changing_the_paint_leaves_the_masks(attribute: str):
    before, after = counterfactuals(40, attribute, seed=5)
    assert all(np.array_equal(getattr(before, name), getattr(after, name)) for name in ARRAYS[1:])


@pytest.mark.parametrize("groups", [1, 2])
def test_changing_the_place_leaves_the_masks_and_what_is_inside(groups: int):
    before, after = counterfactuals(40, "place", seed=6, groups=groups)
    assert all(np.array_equal(getattr(before, name), getattr(after, name)) for name in ARRAYS[1:])
    inside = binary_erosion(before.masks | before.letter_masks, np.ones((1, 5, 5)))
    assert inside.any()
    assert np.array_equal(before.images[foreign(inside)], after.images[foreign(inside)])
    assert (before.images != after.images).any(axis=-1)[~before.masks].mean() > 0.9


def test_changing_the_letter_changes_nothing_away_from_the_sign():
    before, after = counterfactuals(40, "letter", seed=7)
    changed = (before.images != after.images).any(axis=-1)
    assert not (changed & ~near(before.letter_masks | after.letter_masks)).any()


def test_changing_the_size_of_one_group_leaves_the_other():
    before, after = counterfactuals(40, "size", seed=8, groups=2)
    same = (before.attributes["letter"] == "none").to_numpy()
    assert np.array_equal(before.group_masks[same, 1], after.group_masks[same, 1])
    assert (before.group_masks[:, 0] != after.group_masks[:, 0]).any(axis=(1, 2)).all()


@pytest.mark.parametrize("attribute", ["count", "position", "shape"])
def test_what_cannot_change_alone_is_refused(attribute: str):
    with pytest.raises(SummandError, match=f"not {attribute}"):
        counterfactuals(3, attribute, seed=0, groups=2)


def test_an_unknown_attribute_is_refused():
    with pytest.raises(SummandError, match="unknown attribute 'color', did you mean 'colour'"):
        counterfactuals(3, "color", seed=0)


def test_rows_are_rendered_alone_as_in_company():
    causes, chance = draw_causes(40, 9), Chance.draw(40, 9)
    rows = slice(25, 31)
    alone = render(Causes(causes.groups[rows], causes.place[rows], causes.letter[rows]), chance.rows(rows))
    assert np.array_equal(alone.images, render(causes, chance).images[rows])
