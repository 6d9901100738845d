"""Words and patches as pages show them, against `summand.match`."""

from __future__ import annotations

import base64
import json
import re
from html import unescape

import numpy as np
import pytest
from PIL import Image

import summand
from summand import scenes
from summand.maps.contrast import default_contrast
from summand.maps.match import text_side
from summand.maps.token_terms import Contrast, terms_of
from summand.report.site.sentences import Sentences
from summand.report.words import as_bytes, block, word_map
from summand.scenes.as_data import SceneImages
from summand.towers.pieces import SPECIAL

TEXT = "a red star and a blue ring"


@pytest.fixture(scope="module")
def scene():
    return Image.fromarray(scenes.describe(TEXT, seed=3).images[0])


@pytest.fixture(scope="module")
def of_scene(vit, scene):
    side = text_side(vit, TEXT, contrast=Contrast.of(vit, default_contrast(vit)))
    terms = terms_of(vit.decompose(vit.preprocess(scene)[None]))[0]
    return word_map(terms, side, vit.tower.grid, vit.tower.prefix)


def test_numbers_are_those_of_match(vit, scene, of_scene):
    """Contrast texts that were taken apart once say the same as those that `match` takes apart each time."""
    found = summand.match(vit, scene, TEXT, contrast=default_contrast(vit)).found
    spoken = [i for i, (word, _) in enumerate(found.b.words) if word not in SPECIAL]
    assert of_scene.words == tuple(TEXT.split())
    patches = found.words[vit.tower.prefix :, spoken].T.reshape(of_scene.values.shape)
    np.testing.assert_allclose(of_scene.values, patches, atol=1e-12)
    assert of_scene.cosine == pytest.approx(found.similarity, abs=1e-6)
    assert of_scene.adds == pytest.approx(patches.sum())


def test_words_go_with_the_patches_of_what_they_name(of_scene):
    """Of the two objects each is named by its own word: one stands left, the other right."""
    star, ring = (of_scene.values[of_scene.words.index(word)] for word in ("star", "ring"))
    at = [np.unravel_index(values.argmax(), values.shape) for values in (star, ring)]
    assert abs(at[0][1] - at[1][1]) >= 2
    assert of_scene.of_patch(*map(int, at[0]))[2] == ("star", pytest.approx(float(star.max())))
    for place, names in zip(at, (("red", "star"), ("blue", "ring")), strict=True):
        assert max(of_scene.of_patch(*map(int, place)), key=lambda item: item[1])[0] in names


def test_bytes_are_the_values_and_texts_are_escaped(of_scene):
    found = as_bytes(of_scene)
    values = np.frombuffer(base64.b64decode(found["values"]), np.int8).reshape(of_scene.values.shape)
    np.testing.assert_allclose(found["most"] * values / 127, of_scene.values, atol=0.01 * found["most"])
    hostile = '"><script>alert(1)</script>'
    odd = type(of_scene)(hostile, (hostile, *of_scene.words[1:]), of_scene.values, 0.1)
    html = str(block([odd], f"{hostile}.png", hostile, (0, 0, 1, 1)))
    assert "<script" not in html
    given = json.loads(unescape(re.search(r'data-words="([^"]*)"', html)[1]))
    assert given["texts"][0]["words"][0] == hostile
    assert html.count('class="word"') == len(of_scene.words)


@pytest.mark.slow
def test_sentences_of_an_image_are_its_caption_and_what_is_read(vit):
    source = SceneImages("scenes:count=30,seed=2", None)
    sentences = Sentences(vit, source)
    parts = vit.decompose(vit.preprocess(source.image(4))[None])
    found = sentences.of(4, parts, ["a red object", "a word that nobody knows", "a red object"])
    assert [one.text for one in found] == [source.caption(4), "a red object"]
    assert not sentences.why


@pytest.mark.slow
def test_captions_of_scenes_are_true_and_always_the_same():
    source = SceneImages("scenes:count=40,seed=5", None)
    table = source.attributes()
    for index in range(40):
        text = source.caption(index)
        assert text == SceneImages("scenes:count=40,seed=5", None).caption(index)
        named = scenes.describe(text, count=3, seed=index).attributes
        for column in ("letter", "place"):
            values = set(named[column].astype(str))
            if len(values) == 1:  # the caption says it
                assert str(table[column][index]) in values


def test_a_text_tower_that_cannot_be_taken_apart_is_said(vit, monkeypatch):
    def refuse(*_, **__):
        raise summand.SummandError("this text tower is of another kind")

    monkeypatch.setattr(type(vit), "decompose_text", refuse)
    sentences = Sentences(vit, None)
    assert sentences.of(0, vit.decompose(vit.preprocess(scenes.sample(1, seed=0).images)), ["a red star"]) == []
    assert sentences.why == "this text tower is of another kind"
