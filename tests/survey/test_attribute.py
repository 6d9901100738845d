"""What a unit is of, where its proven words are of a small part of it; and that nobody is told otherwise."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from summand import SummandError
from summand.report.explorer.unit_views import card
from summand.report.site.entries import Badge
from summand.studies.debias.spurious import by_property, in_words
from summand.studies.surveys.options import LabelOptions
from summand.studies.surveys.result import Labelled
from summand.survey.unit_words import Words
from summand.survey.words import attribute
from summand.text.labels import HeadLabel

KINDS = ("count", "place", "size", "colour")
SHARES = st.dictionaries(st.sampled_from(KINDS), st.floats(0, 1), min_size=1)


def called(*ends: tuple[int, float, str, str, str], kind: str | None, **shares: float) -> Words:
    """Ends of (thing, share, word, its kind, verdict)."""
    rows = []
    for thing, share, word, of, verdict in ends:
        numbers = dict.fromkeys(("shown", "chance", "limit", "p", "agreement"), 0.5)
        row = {"thing": thing, "share": share, "sign": 1, "words": [word], "each": [0.5], "silent": False}
        rows.append({**row, **numbers, "verdict": verdict, "kind": of})
    return Words.of(rows, kind, tuple(shares.items()))


def of_the_count() -> Words:
    """A head as one of an aligned ViT is: its large direction follows the count and has no proven words."""
    return called(
        (0, 0.87, "one object", "count", "not proven"),
        (1, 0.09, "a sunset", "place", "proven"),
        kind="count", count=0.5, place=0.06,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("named", "shares", "expected"),
    [
        (["place"], {"count": 0.5, "place": 0.06}, "count"),
        (["place"], {"count": 0.5, "place": 0.4}, "place"),  # both are large: words decide
        (["place", "count"], {"count": 0.5, "place": 0.06}, "count"),
        (["place"], {"count": 0.2, "place": 0.06}, None),  # of neither
        ([], {"count": 0.5, "place": 0.06}, "count"),
        ([], {"count": 0.2, "place": 0.06}, None),
        (["place"], {"place": 0.05, "count": 0.04}, "place"),
        (["mood"], {"count": 0.5}, "mood"),  # nobody knows what it explains
        ([None], {"count": 0.5}, None),
        (["place"], {}, "place"),
        ([], {}, None),
    ],
)
def test_a_unit_is_of_what_explains_it_or_of_its_words(named, shares, expected):
    assert attribute(named, shares, dict.fromkeys(shares, 0.03)) == expected


def test_what_chance_explains_makes_no_attribute():
    assert attribute([], {"count": 0.5}, {"count": 0.6}) is None
    assert attribute(["place"], {"count": 0.5, "place": 0.1}, {"count": 0.6, "place": 0.6}) is None


@given(st.lists(st.sampled_from(KINDS), max_size=3), SHARES)
def test_nothing_explains_much_more_than_what_a_unit_is_said_to_be_of(named, shares):
    shares = {**dict.fromkeys(named, 0.0), **shares}
    found = attribute(named, shares, dict.fromkeys(shares, 0.0))
    if found is not None:
        assert max(shares.values()) <= 1.5 * shares[found]
    else:
        assert max(shares.values()) < 0.25


def test_words_of_a_smaller_part_are_shown_as_that():
    words = of_the_count()
    assert words.in_part
    assert words.worded == "place"
    assert words.text == "count 50 % (no proven words) · a sunset 9 %"
    assert words.short == "count (no proven words)"
    assert Badge.of(words).text == "✓ 0.50 in part"
    assert "smaller part of it: count 50 % of its variance has no proven words" in Badge.of(words).said
    shown = card("head", "3.7", words, 0.1, [], labelled=True, off=False)
    assert "count 50 % of what it varies by, and no proven words for that" in shown


def test_words_of_what_a_unit_is_of_stand_alone():
    proven = called((0, 0.4, "large", "size", "proven"), (1, 0.3, "six", "count", "proven"), kind="count", count=0.3)
    assert not proven.in_part
    assert (proven.text, proven.short) == ("large 40 % · six 30 %", "large")
    assert Badge.of(proven).text == "✓ 0.50"
    assert "smaller part" not in Badge.of(proven).said
    assert "no proven words" not in card("head", "1.1", proven, 0.1, [], labelled=True, off=False)
    same = called((0, 0.8, "six", "count", "not proven"), kind="count", count=0.7)
    assert same.text == same.short == "six (not proven)"
    other = called((0, 0.8, "at the top", "position", "not proven"), kind="count", count=0.5)
    assert (other.text, other.short) == (
        "count 50 % (no proven words) · at the top (not proven)",
        "count (no proven words)",
    )
    assert "not proven" in Badge.of(other).said.lower()
    older = called((0, 0.4, "large", None, "proven"), kind="size")  # by a version that kept no kinds
    assert not older.in_part
    assert older.text == "large 40 %"


def test_heads_are_repaired_by_what_they_are_of():
    labels = [HeadLabel(3, 7, ("a sunset", "the sea", "a field"), (0.1, 0.2, 0.3), 0.1, (0, 1, 2))]
    words = {(3, 7): of_the_count()}
    (found,) = by_property(labels, "count", words)
    assert (found.attribute, found.matched) == (0.5, ())
    said = in_words(found, "place", "shapes")
    assert said.startswith("head 3.7 was removed because 'count' explains 50 % of it, more than what its words are of.")
    with pytest.raises(SummandError, match="no head is labelled 'place'; properties here: count"):
        by_property(labels, "place", words)


def test_the_table_says_what_no_proven_words_mean():
    rows: list[dict[str, Any]] = [
        {"unit": unit, "kind": "head", "importance": 0.1, "attribute": words.kind, "label": words.text}
        | {"verdict": words.verdict, "evidence": True, "clusters": 1, "shown": 1, "chance": 0.1, "agreement": 1}
        for unit, words in (
            ("3.7", of_the_count()),
            ("1.1", called((0, 0.4, "large", "size", "proven"), kind="size")),
        )
    ]
    said = "so much of the head is of that, and the words beside it are of a smaller part"
    for some, expected in ((rows, True), (rows[1:], False)):
        made = Labelled(some, LabelOptions(), model="m", data="d", files=[], along_texts=None)
        assert (said in str(made.tables()[0].caption)) == expected
