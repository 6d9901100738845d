from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from summand.errors import SummandError
from summand.scenes import (
    ATTRIBUTES,
    Causes,
    attribute_of,
    captions,
    draw_causes,
    parse,
    prompts,
    vocabulary,
)
from summand.scenes.attributes import GROUP_ATTRIBUTES
from summand.scenes.captions import Captions
from summand.scenes.meaning import check_words, words_of

# What each word says, written out by hand, apart from the tables of the package.
MEANINGS = """
shape: circle circles, square squares, triangle triangles, star stars, heart hearts, cross crosses, ring rings
shape: crescent crescents, diamond diamonds, arrow arrows
colour: red, orange, yellow, green, cyan, blue, purple, pink, white, black
texture: solid, striped, dotted spotted, checkered chequered
count: 1 one, 2 two, 3 three, 4 four, 5 five, 6 six
size: small little tiny, large big
position: left, right, top upper, bottom lower, centre middle
place: sea ocean, forest woods, desert, snow snowy, city, meadow, sunset, plain grey
letter: A, C, E, H, K, L, S, T, X, Z
"""
WORDS = {
    word: (attribute, int(group.split()[0]) if attribute == "count" else group.split()[0])
    for attribute, groups in (line.split(":") for line in MEANINGS.strip().splitlines())
    for group in groups.split(",")
    for word in group.split()
}
NOUNS = {"object", "objects", "shape", "shapes", "thing", "things", "item", "items"}
PAIRS = [(attribute, value) for attribute, values in ATTRIBUTES.items() for value in values]


def is_true(text: str, groups: list[dict]) -> bool:
    """Whether a sentence holds of a scene, read word by word; groups: attribute → value of each group."""
    scene, phrases = {}, []
    if "no letter" in text or "no sign" in text or "without a letter" in text:
        scene["letter"] = "none"
    for piece in text.split(" and "):
        said = [WORDS[word] for word in piece.split() if word in WORDS]
        scene |= {attribute: value for attribute, value in said if attribute in ("place", "letter")}
        own = {attribute: value for attribute, value in said if attribute not in ("place", "letter")}
        if own or NOUNS & set(piece.split()):
            phrases.append(own)
    if any(groups[0][attribute] != value for attribute, value in scene.items()):
        return False
    fits = [[all(group[a] == v for a, v in phrase.items()) for group in groups] for phrase in phrases]
    if len(phrases) == 2:
        return len(groups) == 2 and ((fits[0][0] and fits[1][1]) or (fits[0][1] and fits[1][0]))
    return all(any(row) for row in fits)


def groups_of(causes: Causes) -> list[list[dict]]:
    first, second = causes.table().to_dict("records"), causes.table(group=1).to_dict("records")
    two = causes.groups[:, 1, 0] >= 0
    return [[a, b] if both else [a] for a, b, both in zip(first, second, two, strict=True)]


def mixed(count: int, seed: int) -> Causes:
    one, two = draw_causes(count, seed), draw_causes(count, seed, groups=2)
    return Causes(*(np.concatenate([getattr(one, n), getattr(two, n)]) for n in ("groups", "place", "letter")))


@pytest.fixture(scope="module")
def said() -> tuple[Causes, Captions]:
    causes = mixed(80, 4)
    return causes, captions(causes, 9, per_scene=3)


def test_captions_are_true_of_their_scene(said: tuple[Causes, Captions]):
    causes, found = said
    scenes = groups_of(causes)
    assert len(found.texts) == 480
    assert np.array_equal(found.scene, np.repeat(np.arange(160), 3))
    assert all(is_true(text, scenes[scene]) for text, scene in zip(found.texts, found.scene, strict=True))


def test_matches_agree_with_a_literal_reading_of_every_pair(said: tuple[Causes, Captions]):
    causes, found = said
    literal = np.array([[is_true(text, groups) for text in found.texts] for groups in groups_of(causes)])
    assert 0.02 < literal.mean() < 0.5
    assert np.array_equal(found.matches(causes), literal)


def test_matches_need_two_groups_for_two_phrases():
    causes = draw_causes(1, 0, groups=2, fixed={"shape": "star", "colour": "red"})
    second = causes.table(group=1).loc[0]
    truths = {
        f"a star and a {second['shape']}": True,
        f"a {second['shape']} and a red star": True,
        "a star and a red object": False,  # both phrases fit the first group alone
    }
    for text, truth in truths.items():
        phrases = parse(text)
        codes = np.full((1, 2, len(GROUP_ATTRIBUTES)), -1)
        for i, phrase in enumerate(phrases):
            for attribute, value in phrase.items():
                codes[0, i, GROUP_ATTRIBUTES.index(attribute)] = ATTRIBUTES[attribute].index(value)
        one = Captions([text], codes, np.array([-1]), np.array([-1]), np.array([[True, True]]), np.array([0]))
        assert one.matches(causes)[0, 0] == truth == is_true(text, groups_of(causes)[0])


def test_captions_are_a_function_of_the_seed():
    causes = mixed(20, 1)
    assert captions(causes, 2).texts == captions(causes, 2).texts != captions(causes, 3).texts


def test_every_value_is_mentioned_and_one_to_five_at_a_time():
    found = captions(draw_causes(1500, 3), 5)
    mentions = [parse(text) for text in found.texts]
    assert {pair for groups in mentions for group in groups for pair in group.items()} == set(PAIRS)
    assert {sum(map(len, groups)) for groups in mentions} == {1, 2, 3, 4, 5}


def as_set(groups: list[dict]) -> list[str]:
    """Groups in an order that does not depend on how they were found."""
    return sorted(str(sorted(group.items())) for group in groups)


def test_parse_reads_back_what_captions_mention():
    found = captions(mixed(300, 8), 6)
    for k, text in enumerate(found.texts):
        phrases = [
            {name: ATTRIBUTES[name][code] for name, code in zip(GROUP_ATTRIBUTES, codes, strict=True) if code >= 0}
            for codes, spoken in zip(found.groups[k], found.spoken[k], strict=True)
            if spoken
        ] or [{}]
        scene = {n: ATTRIBUTES[n][c] for n, c in (("place", found.place[k]), ("letter", found.letter[k])) if c >= 0}
        read = parse(text)
        assert {n: v for n, v in read[0].items() if n in ("place", "letter")} == scene
        read[0] = {n: v for n, v in read[0].items() if n not in ("place", "letter")}
        assert as_set(read) == as_set(phrases)


@pytest.mark.parametrize(("attribute", "value"), PAIRS, ids=str)
def test_a_prompt_names_its_value_and_nothing_else(attribute: str, value: str | int):
    texts = prompts(attribute)[value]
    assert len(texts) >= 3
    assert len(set(texts)) == len(texts)
    for text in texts:
        assert parse(text) == [{attribute: value}]
        assert attribute_of(text) == attribute


def test_prompts_are_the_callers_to_change():
    prompts("shape")["star"].clear()
    assert prompts("shape")["star"]
    with pytest.raises(SummandError, match="unknown attribute 'shapes', did you mean 'shape'"):
        prompts("shapes")


TWO_RED_STARS = {"count": 2, "colour": "red", "shape": "star", "place": "snow"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("two red stars and a ring in the snow", [TWO_RED_STARS, {"shape": "ring"}]),
        ("Two red stars, in the snow.", [TWO_RED_STARS]),
        ("A red star", [{"colour": "red", "shape": "star"}]),
        ("the letter A", [{"letter": "A"}]),
        ("A", [{"letter": "A"}]),
        ("a big star, and no letter", [{"size": "large", "shape": "star", "letter": "none"}]),
        ("an object and a blue ring", [{}, {"colour": "blue", "shape": "ring"}]),
        ("a star and two things", [{"shape": "star"}, {"count": 2}]),
        ("the letter X and two stars", [{"letter": "X", "count": 2, "shape": "star"}]),
        ("a scene", [{}]),
    ],
)
def test_parse(text: str, expected: list[dict]):
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a red stat", "no word 'stat', did you mean .*'star'"),
        ("a rde star", "no word 'rde', did you mean .*'red'"),
        ("a star and a ring and a cross", "at most two groups of objects, .* names 3"),
        ("a red blue star", "names two values of colour: red and blue"),
        ("a star in the snow and a ring by the sea", "names two values of place: snow and sea"),
        ("a star with the letter A and no sign", "names two values of letter"),
    ],
)
def test_parse_says_what_is_wrong(text: str, message: str):
    with pytest.raises(SummandError, match=message):
        parse(text)


def test_attribute_of_sentences_that_name_none_or_several():
    assert attribute_of("a red star") is None
    assert attribute_of("a scene") is None
    assert attribute_of("cats and dogs") is None
    assert attribute_of("A scene with no sign.") == "letter"


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str):
    assert attribute_of(text) in (None, *ATTRIBUTES)
    if set(words_of(text)) <= set(vocabulary()):
        assert check_words(text) == words_of(text)
        return
    with pytest.raises(SummandError, match="vocabulary has no word"):
        check_words(text)


def test_the_vocabulary_is_sorted_and_without_doubles():
    words = vocabulary()
    assert list(words) == sorted(set(words))
    assert {"star", "stars", "A", "a", "sunset"} <= set(words)
