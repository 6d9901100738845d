"""What texts are values of: in tables, in the pools that come with the package, and as axes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from summand.errors import SummandError
from summand.text.phrases import descriptions
from summand.text.pools import pool
from summand.text.properties import axes_of_property, contrast_of, kinds, property_of


def test_every_number_is_there_in_the_same_words():
    """What tells "three" from "six" is the number alone."""
    counts = set(descriptions()["counts"])
    numbers = ["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    for wording in ("{} objects", "an image with {} subjects"):
        assert {wording.format(number) for number in numbers} <= counts
    assert {"one object", "an image with one subject"} <= counts


def test_no_two_descriptions_differ_in_empty_words_alone():
    """A satellite image and a satellite photo would share what one of them explains."""
    empty = {"a", "an", "the", "of", "photo", "picture", "image"}
    seen: dict[frozenset[str], list[str]] = {}
    for text in pool("general").texts:
        words = frozenset(text.lower().replace("-", " ").split()) - empty
        seen.setdefault(words, []).append(text)
    alike = {tuple(texts) for words, texts in seen.items() if words and len(texts) > 1}
    assert alike == {("a shield", "a picture of a shield"), ("a picture of a street", "a street picture"),
                     ("a photo of a sled dog", "a picture of a dog sled")}  # of two senses  # fmt: skip


def test_a_table_says_what_its_texts_are_values_of(tmp_path: Path):
    path = tmp_path / "own.csv"
    table = "Property,Text\nwater, the sea \nwater,a lake\n,a red star\nWater,\nsky,the sea\n"
    path.write_text(table, encoding="utf-8")
    found = pool(str(path))
    assert found.texts == ("the sea", "a lake", "a red star")
    assert found.properties == {"the sea": "water", "a lake": "water"}
    assert (found.lines, found.dropped) == ((2, 3, 4), 1)
    assert kinds(found) == {"water": [0, 1]}
    assert property_of("the sea", found) == "water"
    assert property_of("a lake") != "water"
    assert contrast_of("the sea", found) == ["a lake"]
    assert contrast_of("a red star", found) == ["the sea", "a lake"]
    (tmp_path / "no.csv").write_text("words\na lake\n")
    with pytest.raises(SummandError, match=r"has a column 'text'.*this one has: words"):
        pool(str(tmp_path / "no.csv"))


def test_texts_are_told_apart_from_their_own_kind():
    chosen = pool("general")
    blue = next(text for text in descriptions()["colours"] if "blue" in text)
    others = contrast_of(blue, chosen)
    assert set(others) >= set(descriptions()["colours"]) - {blue}
    assert {property_of(text) for text in others} == {"colour"}
    assert blue not in others
    assert set(kinds(chosen)) >= {"colour", "count", "size", "letter", "birds"}


@pytest.mark.parametrize("count", [2, 5, 9])
def test_axes_of_a_property_span_the_differences(count: int):
    generator = torch.Generator().manual_seed(count)
    shared, own = torch.randn(64, generator=generator) * 5, torch.randn(count, 64, generator=generator)
    axes = axes_of_property(shared + own, share=1 - 1e-9)
    assert axes.shape == (count - 1, 64)
    torch.testing.assert_close(axes @ axes.T, torch.eye(count - 1).double(), atol=1e-8, rtol=0)
    differences = (own[1:] - own[:1]).double()
    torch.testing.assert_close(differences @ axes.T @ axes, differences, atol=1e-5, rtol=0)
    assert len(axes_of_property(torch.randn(300, 64, generator=generator))) == 16  # never nearly the whole
