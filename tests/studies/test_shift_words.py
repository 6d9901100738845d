"""Words of units and the whole in one test, and changes of the pixels by their names."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageFilter

import summand
from summand.border import foreign
from summand.data import open_source
from summand.studies.shift.compare import compare
from summand.studies.shift.pixels import PIXELS, compare_pixels, of_pictures, of_pixels
from summand.studies.shift.readings import measure
from summand.studies.shift.reference import Reference, make_reference
from summand.studies.shift.statistics import permuted
from summand.text.pools import pool

pytestmark = pytest.mark.slow


def _jpeg(image):
    file = io.BytesIO()
    image.save(file, "JPEG", quality=40)
    return Image.open(file).convert("RGB")


def _noisy(image):
    noise = np.random.default_rng(int(np.asarray(image).sum())).normal(0, 8, (*image.size[::-1], 3))
    return Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))


CHANGES = {
    "brightness": (lambda image: ImageEnhance.Brightness(image).enhance(0.65), "darker"),
    "contrast": (lambda image: ImageEnhance.Contrast(image).enhance(0.6), "less contrast"),
    "colour": (lambda image: ImageEnhance.Color(image).enhance(0.5), "less colourful"),
    "sharpness": (lambda image: image.filter(ImageFilter.GaussianBlur(0.8)), "blurred"),
    "compression": (_jpeg, "more compressed (blocks of 8)"),
    "noise": (_noisy, "noisier"),
    "aspect": (lambda image: image.resize((image.width, image.height * 4 // 5)), "wider"),
    "size": (lambda image: image.resize((image.width // 2, image.height // 2)), "smaller"),
}


@pytest.fixture(scope="module")
def reference(vit) -> Reference:
    return make_reference(vit, open_source("scenes:count=200,seed=1"), pool("scenes"))


@pytest.fixture(scope="module")
def scenes():
    return [Image.fromarray(image) for image in summand.scenes.sample(100, seed=21).images]


@pytest.mark.parametrize("name", CHANGES)
def test_changes_of_the_pixels_are_named_first(reference, scenes, name):
    change, said = CHANGES[name]
    assert compare_pixels(reference.measured.pixels, of_pictures(scenes), 0.0025)[0].changed is False
    first = compare_pixels(reference.measured.pixels, of_pictures([change(image) for image in scenes]), 0.0025)[0]
    assert (first.measure, first.said, first.changed) == (name, said, True)


def test_the_verbs_say_it_first(vit, scenes, tmp_path):
    dark = [CHANGES["brightness"][0](image) for image in scenes[:60]]
    path = tmp_path / "r.npz"
    summand.shift("scenes:count=200,seed=1", model=vit, save_reference=path)
    found = summand.shift(path, dark, vit, permutations=99)
    assert (found.first, found.alarm) == ("darker", True)
    assert found.tables()[0].title.startswith("The pixels")
    assert "First: darker" in found.page()
    watching = summand.Monitor(path, vit, permutations=99)
    watching.update(dark[:30])
    watching.update(vit.preprocess(np.stack([np.asarray(image) for image in dark[30:]])))
    report = watching.report()
    assert (report.first, report.alarm) == ("darker", True)
    assert {row["measure"] for row in report.pixels} == set(PIXELS) - {"size", "aspect"}  # which pixels do not tell
    assert {row["measure"] for row in found.pixels} == set(PIXELS)


def test_measures_are_those_of_the_formulas(scenes, vit):
    image = scenes[3]
    grey = np.asarray(image) / 255 @ [0.299, 0.587, 0.114]
    found = dict(zip(PIXELS, of_pictures([image])[0], strict=True))
    assert found["brightness"] == pytest.approx(grey.mean(), rel=1e-4)
    assert found["contrast"] == pytest.approx(grey.std() / grey.mean(), rel=1e-4)
    assert (found["size"], found["aspect"]) == (6, 0)
    step = np.array([np.abs(grey[:, i + 1] - grey[:, i]).mean() for i in range(63)])
    down = np.array([np.abs(grey[i + 1] - grey[i]).mean() for i in range(63)])
    border = np.arange(63) % 8 == 7
    between, inside = (step[some].mean() + down[some].mean() for some in (border, ~border))
    assert found["compression"] == pytest.approx(np.log((between + 1e-4) / (inside + 1e-4)), rel=1e-3, abs=1e-4)
    detail = np.abs(grey[::2, ::2] - grey[1::2, ::2] - grey[::2, 1::2] + grey[1::2, 1::2]) / 2
    assert found["noise"] == pytest.approx(np.log((np.median(detail) / 0.6745 + 1e-3) / (grey.std() + 1e-3)), rel=1e-3)
    arrays = np.stack([np.asarray(one) for one in scenes[:5]])
    np.testing.assert_allclose(of_pictures(arrays), of_pictures(scenes[:5]), atol=1e-6)
    seen = of_pixels(vit, vit.preprocess(arrays))
    np.testing.assert_allclose(seen[:, :6], of_pictures(arrays)[:, :6], atol=0.05)
    assert np.isnan(seen[:, 6:]).all()
    large = scenes[0].resize((1600, 900))
    assert of_pictures([large])[0, 6:].tolist() == pytest.approx([np.log2(16 / 9), np.log2(1600)])


def test_a_small_shift_is_found_by_words_and_named(vit, reference):
    current = measure(vit, open_source("scenes:count=200,seed=2,shift=place/sea/0.25"), reference.readings)
    found = compare(reference, current)
    assert found.alarm
    assert found.words_p <= 0.0025
    assert (found.words[0].attribute, found.words[0].value, found.words[0].changed) == ("place", "sea", True)
    assert found.words[0].units
    quiet = measure(vit, open_source("scenes:count=200,seed=3"), reference.readings)
    assert not any(row.changed for row in compare(reference, quiet).words)
    old = replace(reference, measured=replace(reference.measured, pixels=None))  # a file of an earlier version
    assert compare(old, current).pixels == ()


@given(st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_the_joint_p_is_that_of_the_permutations_themselves(seed):
    """By enumeration in words: every permutation's statistic, one after the other."""
    rng = np.random.default_rng(seed)
    before = [rng.normal(size=(12, 3)), rng.normal(size=(12, 2))]
    after = [rng.normal(size=(9, 3)) + 0.7, rng.normal(size=(9, 2))]
    p, of_columns = permuted(before, after, 199, seed, counts=(1, 2))
    both = [np.concatenate(pair) for pair in zip(before, after, strict=True)]

    def largest(order):
        return [
            np.abs((each[order[12:]].mean(axis=0) - each[order[:12]].mean(axis=0)) / each.std(axis=0)) for each in both
        ]

    weights = np.concatenate([np.full(12, -1 / 12), np.full(9, 1 / 9)])
    draw, maxima = np.random.default_rng(seed), []
    for _ in range(199):
        signs = draw.permutation(weights)
        maxima.append(
            [each.max() for each in largest(np.concatenate([np.where(signs < 0)[0], np.where(signs > 0)[0]]))]
        )
    own = largest(np.arange(21))
    every = [*maxima, [each.max() for each in own]]
    middle, spread = np.mean(every, axis=0), np.std(every, axis=0)
    z = [(each - m) / s for each, m, s in zip(own, middle, spread, strict=True)]
    chance = (np.array(maxima) - middle) / spread
    want = (1 + (chance @ [1, 2] >= z[0].max() + 2 * z[1].max() - 1e-9).sum()) / 200
    assert p == pytest.approx(want)
    for mine, theirs in zip(of_columns, z, strict=True):
        np.testing.assert_allclose(mine, [(1 + (chance.max(axis=1) >= one - 1e-9).sum()) / 200 for one in theirs])


def test_the_joint_test_keeps_its_level():
    rng, p = np.random.default_rng(100), []
    for seed in range(1000):
        sides = [[rng.normal(size=(count, width)) for width in (5, 3)] for count in (20, 15)]
        p.append(foreign(permuted)(*sides, 99, 50_000 + seed, counts=(1, 2))[0])
    assert 0.03 <= np.mean(np.array(p) <= 0.05) <= 0.07
    assert 0.46 <= np.mean(p) <= 0.54
