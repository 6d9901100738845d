"""Description pools: what is in them, how they read, and what a user's own list may look like."""

from __future__ import annotations

import re
from collections import Counter
from importlib import resources
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from open_clip.tokenizer import SimpleTokenizer

import summand
from summand.errors import SummandError, SummandWarning
from summand.models.readable import readable
from summand.scenes.attributes import ATTRIBUTES
from summand.scenes.meaning import attribute_of
from summand.scenes.phrases import prompts
from summand.scenes.tokenizer import SceneTokenizer
from summand.text.phrases import CLASSES_WITHOUT_ARTICLE, descriptions, fill, with_article
from summand.text.pools import Pool, names, pool, random_directions
from tests.processes import in_fresh_imports

TEXT_POOLS = ("general", "words-10k", "words-30k", "classes", "scenes")

# Every category, so that a list which goes missing or loses its templates is noticed.
SAMPLES = {
    "actions": "someone walking",
    "architecture": "an example of Romanesque architecture",
    "art_styles": "a picture in the style of impressionism",
    "birds": "a close-up of an egret",
    "body": "a person with an afro",
    "breeds": "a photo of a Siamese cat",
    "buildings": "a photo of an oil rig",
    "cities": "a photo taken in Amsterdam",
    "clothing": "someone wearing a tuxedo",
    "colours": "a red object",
    "composition": "an object on the left",
    "countries": "scenery from Cyprus",
    "counts": "an image with five subjects",
    "dishes": "a photo of a hot dog",
    "drinks": "a glass of orange juice",
    "electronics": "a photo of a 3D printer",
    "emotions": "a face showing anger",
    "eras": "a photo from the 1920s",
    "family": "a mother with her baby",
    "fantasy": "an image of a dragon",
    "flowers": "a single flower",
    "fruit_vegetables": "a photo of an apple",
    "furniture": "a photo of an armchair",
    "games_hobbies": "a photo of chess",
    "holidays": "people celebrating Diwali",
    "household_objects": "a photo of an alarm clock",
    "ideas": "an image of freedom",
    "image_quality": "a pixelated photo",
    "indoor_places": "a photo taken in a kitchen",
    "insects": "a macro photo of an ant",
    "kitchenware": "a photo of a blender",
    "landmarks": "a photo of the Eiffel Tower",
    "landscapes": "a view of a glacier",
    "letters": "a photo with the letter A",
    "lighting": "a photo with moonlight",
    "mammals": "a photo of a polar bear",
    "materials": "something made of wood",
    "media": "an oil painting",
    "medical_lab": "a photo of an X-ray image",
    "moods": "an image with a cheerful mood",
    "musical_instruments": "a photo of an accordion",
    "numbers": "a photo with the number 8",
    "outdoor_places": "a picture of a street",
    "patterns": "a striped pattern",
    "people": "a photo of a man",
    "photography": "a black-and-white photo",
    "professions": "a doctor at work",
    "regions": "a photo taken in Africa",
    "religion_culture": "an image of African culture",
    "reptiles_amphibians": "a photo of a chameleon",
    "sea_life": "a picture of a shark",
    "seasons_weather_time": "a photo taken in spring",
    "shapes": "a circle shape",
    "sizes": "a tiny object",
    "space_science": "an image of the Moon",
    "sports": "a photo of archery",
    "stationery": "a close-up of a pair of scissors",
    "sweets": "a photo of an apple pie",
    "text": "a handwritten note",
    "textures": "a rough texture",
    "tools": "someone using a stopwatch",
    "toys": "a photo of a teddy bear",
    "trees_plants": "a photo of an apple tree",
    "vehicles": "a photo of an aeroplane",
    "weapons": "a photo of a pistol",
    "words": "a sign that says 'stop'",
    "work_life": "a photo of a riot",
}


def test_names_lists_every_pool_with_one_line_each():
    assert list(names()) == [*TEXT_POOLS, "random"]
    assert all(about and "\n" not in about and len(about) < 100 for about in names().values())


@pytest.mark.parametrize("name", TEXT_POOLS)
def test_pool_is_distinct_clean_and_the_same_every_time(name: str):
    found = pool(name)
    assert (found.name, found.about, found.dropped) == (name, names()[name], 0)
    assert len({text.lower() for text in found.texts}) == len(found.texts)
    assert all(text == " ".join(text.split()) and text for text in found.texts)
    assert pool(name).texts == found.texts


def test_general_has_thousands_of_descriptions_of_one_concept_each():
    texts = pool("general").texts
    assert 4_000 <= len(texts) <= 4_600
    assert [text for text in texts if {"and", "or", "&", "/"} & set(text.split())] == []
    assert [text for text in texts if text.endswith((".", ",", ";", "|")) or re.search(r"[{}#|]", text)] == []
    assert [text for text in texts if len(text.split()) > 10] == []


def test_general_holds_every_description_of_every_list_once():
    written = [text for texts in descriptions().values() for text in texts]
    assert sorted(written) == sorted(pool("general").texts)


def test_general_has_a_sample_of_every_category():
    found = descriptions()
    assert set(found) == set(SAMPLES)
    assert {category: text for category, text in SAMPLES.items() if text not in found[category]} == {}
    assert {category: len(texts) for category, texts in found.items() if len(texts) < 20} == {}


def test_general_varies_in_concepts_not_in_wording():
    files = (resources.files("summand.text") / "lists").iterdir()
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    concepts = Counter(line.lower() for line in lines if not line.startswith("#"))
    assert {concept: count for concept, count in concepts.items() if count > 2} == {}
    # Named twice only where a word has two senses (orange, cricket, Turkey) or two uses.
    assert sum(count == 2 for count in concepts.values()) < 0.04 * len(concepts)


def test_general_has_all_letters_and_the_first_numbers():
    texts = "\n".join(pool("general").texts)
    assert set(re.findall(r"the letter ([A-Z])$", texts, re.MULTILINE)) == set("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    assert set(re.findall(r"the number (\d+)$", texts, re.MULTILINE)) >= {str(i) for i in range(21)}


@pytest.mark.parametrize("name", ["general", "classes", "scenes"])
def test_articles_are_right(name: str):
    texts = "\n".join(pool(name).texts)
    # Everything after an article that looks wrong, less what is spoken so.
    after_a = re.findall(r"\ba ((?:[aeiouAEIOU]|hour|heir|honest)[\w-]*)", texts)
    after_an = re.findall(r"\ban ([^aeiouéAEIOU\W][\w-]*)", texts)
    spoken_as_you = {"unicorn", "unicycle", "ukulele", "USB", "eucalyptus", "European"}
    assert sorted(set(after_a) - spoken_as_you - {"one-point", "one-piece"}) == []
    assert sorted(set(after_an) - {"hourglass", "X-ray", "MRI"}) == []
    assert re.findall(r"\ban? (?:a|an|the|some|sunglasses|jeans|trousers|broccoli|bacon|hay)\b", texts) == []


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        ("apple", "an apple"),
        ("badger", "a badger"),
        ("umbrella", "an umbrella"),
        ("unidentifiable thing", "an unidentifiable thing"),
        ("uniform", "a uniform"),
        ("user", "a user"),
        ("urn", "an urn"),
        ("European robin", "a European robin"),
        ("one-way street", "a one-way street"),
        ("onion", "an onion"),
        ("heirloom", "an heirloom"),
        ("house", "a house"),
        ("X-ray", "an X-ray"),
        ("SUV", "an SUV"),
        ("USB stick", "a USB stick"),
        ("T-shirt", "a T-shirt"),
        ("MP3 player", "an MP3 player"),
        ("Shiba Inu", "a Shiba Inu"),
        ("8-bit game", "an 8-bit game"),
        ("18th-century house", "an 18th-century house"),
        ("110-metre hurdle", "a 110-metre hurdle"),
        ("3D printer", "a 3D printer"),
        ("éclair", "an éclair"),
    ],
)
def test_with_article(phrase: str, expected: str):
    assert with_article(phrase) == expected


def test_words_are_the_most_common_ones_in_order():
    small, large = pool("words-10k").texts, pool("words-30k").texts
    assert (len(small), len(large)) == (10_000, 30_000)
    assert large[:10_000] == small
    assert small[0] == "the"
    assert {"dog", "red", "water", "street"} <= set(small)
    assert all(re.fullmatch(r"[a-z]{2,}", word) for word in large)


def test_classes_read_well_and_cover_imagenet():
    texts = set(pool("classes").texts)
    # Two of the 1,000 names stand twice ("missile", "sunglasses").
    assert len(texts) == 998 * 4
    assert {"a photo of a tench", "a close-up of an ox", "a photo of jeans", "a drawing of a unicycle"} <= texts
    assert not any("/" in text for text in texts)
    assert all(f"a photo of {name}" in texts for name in CLASSES_WITHOUT_ARTICLE)


def test_scenes_are_all_prompts_and_nothing_else():
    every = {text for attribute in ATTRIBUTES for texts in prompts(attribute).values() for text in texts}
    texts = pool("scenes").texts
    assert {text.casefold() for text in texts} == {text.casefold() for text in every}
    assert set(texts) <= every
    assert texts[0] == prompts("shape")["circle"][0]
    named = Counter(attribute_of(text) for text in texts)
    assert set(ATTRIBUTES) <= set(named)


def test_random_is_listed_but_not_a_pool_of_texts():
    with pytest.raises(SummandError, match="random_directions"):
        pool("random")


def test_random_directions_are_uniform_on_the_sphere_and_seeded():
    found = random_directions(4000, 8, 3)
    assert found.shape == (4000, 8)
    torch.testing.assert_close(found.norm(dim=-1), torch.ones(4000))
    torch.testing.assert_close(found.mean(dim=0), torch.zeros(8), atol=0.03, rtol=0)
    torch.testing.assert_close(found.T @ found / 4000, torch.eye(8) / 8, atol=0.02, rtol=0)
    assert torch.equal(found, random_directions(4000, 8, 3))
    assert not torch.equal(found, random_directions(4000, 8, 4))


@pytest.mark.parametrize(("count", "embed"), [(0, 8), (4, 0), (-1, 8)])
def test_random_directions_of_no_size_are_an_error(count: int, embed: int):
    with pytest.raises(SummandError, match="at least 1"):
        random_directions(count, embed, 0)


def test_file_is_read_line_by_line(tmp_path: Path):
    file = tmp_path / "mine.txt"
    file.write_text("\ufeff# mine\na dog\n\n  a cat  \nA dog\n#a comment\nthe nº 5\n", encoding="utf-8", newline="\r\n")
    expected = ("a dog", "a cat", "the nº 5")
    for source in (file, str(file)):
        found = pool(source)
        assert (found.name, found.texts, found.dropped) == ("mine.txt", expected, 1)
        assert str(file) in found.about


def test_a_name_comes_before_a_file_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "scenes").write_text("a dog\n")
    (tmp_path / "mine").write_text("a cat\n")
    monkeypatch.chdir(tmp_path)
    assert len(pool("scenes").texts) > 100
    assert pool(Path("scenes")).texts == ("a dog",)
    assert pool("mine").texts == ("a cat",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no descriptions"),
        (b"\n  \n# only a comment\n", "no descriptions"),
        (b"a dog\nA dog\na dog\n", "'a dog', 3 times"),
        ("a café".encode("latin-1"), "UTF-8"),
        (b"\xff\xfea\x00", "UTF-8"),
        ("a dog\na cat".encode("utf-16-le"), "zero bytes, as UTF-16 does"),
        ("\u200b\n\ufeff \u2060".encode(), "no descriptions"),
    ],
)
def test_unusable_file_is_named_with_the_remedy(tmp_path: Path, content: bytes, message: str):
    file = tmp_path / "mine.txt"
    file.write_bytes(content)
    with pytest.raises(SummandError, match=message) as caught:
        pool(file)
    assert str(file) in str(caught.value)
    assert re.search(r"give|save", str(caught.value))


@pytest.mark.parametrize("source", ["lists/missing.txt", "missing.txt", Path("missing"), "~nobody/missing"])
def test_missing_file_is_named(source: str | Path):
    with pytest.raises(SummandError, match="no such file") as caught:
        pool(source)
    assert str(source) in str(caught.value)
    assert "general" in str(caught.value)


def test_folder_is_no_pool(tmp_path: Path):
    with pytest.raises(SummandError, match="cannot be read"):
        pool(tmp_path)


def test_list_is_taken_as_it_is():
    found = pool(["a dog", " a cat ", "", "# 1", "a dog"])
    assert found == Pool("list", ("a dog", "a cat", "# 1"), found.about, dropped=1)
    assert pool(("a dog",)).texts == ("a dog",)


@pytest.mark.parametrize("source", [[], (), ["", "  "]])
def test_empty_list_is_an_error(source: list[str]):
    with pytest.raises(SummandError, match="no descriptions"):
        pool(source)


def test_list_of_other_things_is_an_error(unchecked: None):
    with pytest.raises(SummandError, match="int 3"):
        pool(["a dog", 3])  # type: ignore[list-item]


@pytest.mark.parametrize(("name", "hint"), [("genral", "'general'"), ("Words-10K", "'words-10k'")])
def test_unknown_name_gives_the_nearest_and_all(name: str, hint: str):
    with pytest.raises(SummandError, match="unknown description pool") as caught:
        pool(name)
    assert f"did you mean {hint}" in str(caught.value)
    assert all(known in str(caught.value) for known in names())


@pytest.mark.parametrize("name", ["", "zzzz", "z" * 5000])
def test_unknown_name_that_is_near_none_lists_all(name: str):
    with pytest.raises(SummandError, match="general") as caught:
        pool(name)
    assert "did you mean" not in str(caught.value)


def test_importing_pools_reads_no_list_and_loads_no_language_data(tmp_path: Path):
    without = ("summand", "open_clip", "wordfreq")
    code = (
        "import sys, summand; before = set(sys.modules); import summand.text.pools as p; p.names();"
        "print(sorted(m for m in set(sys.modules) - before if m.split('.')[0] in ('open_clip', 'wordfreq')))"
    )
    assert in_fresh_imports(code, without, tmp_path / "said").strip() == "[]"


def test_texts_that_a_tokenizer_cannot_tell_apart_are_one(tmp_path: Path):
    file = tmp_path / "mine.txt"
    file.write_text("a café\nA  CAFE\u0301\n\ufeffa dog\na\tdog \na cat\u2028\n", encoding="utf-8")
    found = pool(file)
    assert found.texts == ("a café", "a dog", "a cat")
    assert (found.dropped, found.lines) == (2, (1, 3, 5))


LINES = ["# mine", "a red star", "", "red " * 60, "a blue ring", "a dog", "a star", "A star", "a ring", "a red object"]


def test_lines_that_the_model_cannot_read_are_left_out_and_named(tmp_path: Path, vit):
    file = tmp_path / "mine.txt"
    file.write_text("\n".join(LINES))
    kept, left = readable(pool(file), vit._tokenizer)
    assert kept.texts == ("a red star", "a blue ring", "a star", "a ring", "a red object")
    assert kept.lines == (2, 5, 7, 9, 10)
    assert [item.line for item in left] == [4, 6]
    assert "longer than the 30" in left[0].reason
    assert "no word 'dog'" in left[1].reason
    assert readable(kept, vit._tokenizer) == (kept, ())


@given(bad=st.sets(st.integers(0, 599), max_size=40))
def test_exactly_the_lines_that_raise_are_left_out(bad: set[int]):
    """Whatever the tokenizer raises, and wherever in a batch the lines stand."""

    def tokenizer(texts):
        if any(int(text.split()[1]) in bad for text in texts):
            raise RuntimeError("too long for context length 77")
        return torch.zeros(len(texts), 5, dtype=torch.long)

    kept, left = readable(pool([f"text {i}" for i in range(600)]), tokenizer)
    assert [item.line - 1 for item in left] == sorted(bad)
    assert len(kept.texts) == 600 - len(bad)


def test_a_list_of_which_little_can_be_read_is_refused(vit):
    texts = pool(["a dog", "a cat", "a star"])
    with pytest.raises(SummandError, match=r"cannot read 2 of 3 descriptions, the first in line 1: .*'dog'"):
        readable(texts, vit._tokenizer)


@pytest.mark.slow
def test_what_a_model_cannot_read_of_a_shipped_pool_is_left_out_and_said_once(vit):
    words = set(summand.scenes.vocabulary())
    tokenizer = SceneTokenizer()
    with pytest.warns(SummandWarning, match=r"4,475 of 4,528 descriptions of the pool 'general' are left out"):
        kept, left = readable(pool("general"), tokenizer)
    assert left == ()
    assert len(kept.texts) == 53
    assert all(word in words or word.lower() in words for text in kept.texts for word in text.split())
    assert readable(pool("general"), tokenizer)[0] is kept  # and no second warning, which would be an error here
    assert readable(pool("general"), SimpleTokenizer())[0] is pool("general")

    def reads_nothing(texts):
        raise KeyError("no word")

    with pytest.raises(SummandError, match="can read none of the 4,528 descriptions of the pool 'general'"):
        readable(pool("general"), reads_nothing)


def test_a_long_line_is_found_with_clips_own_tokenizer():
    from open_clip.tokenizer import SimpleTokenizer

    kept, left = readable(pool(["a dog", "a cat", "very " * 80 + "long"]), SimpleTokenizer())
    assert kept.texts == ("a dog", "a cat")
    assert "83 tokens, the model reads 77" in left[0].reason


def words_of(known: list[str]):
    """A tokenizer of the tokenizers package that knows some words alone."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = {word: n for n, word in enumerate(["<pad>", "<unk>", *known])}
    found = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    found.pre_tokenizer = pre_tokenizers.Whitespace()
    return found


def test_words_that_a_tokenizer_does_not_know_are_not_read():
    pytest.importorskip("tokenizers")
    from summand.models.callers_tokenizers import RawTokenizer
    from summand.models.readable import refuse_unknown
    from summand.models.tokens import unknown_token

    tokenizer = RawTokenizer(words_of(["a", "red", "dog", "cat"]), 8)
    kept, left = readable(pool(["a dog", "a zebra", "a red cat", "a quokka of note", "red"]), tokenizer)
    assert kept.texts == ("a dog", "a red cat", "red")
    assert [item.text for item in left] == ["a zebra", "a quokka of note"]
    assert "3 of the tokens of 'a quokka of note' stand for words" in left[1].reason
    whole = len(pool("general").texts)
    with pytest.raises(SummandError, match=f"can read none of the {whole:,} descriptions"):
        readable(pool("general"), tokenizer)
    with pytest.raises(
        SummandError, match=f"cannot read {whole - 3:,} of the {whole:,} descriptions of the pool 'general'"
    ):
        refuse_unknown(pool("general"), kept)
    refuse_unknown(pool("general"), pool("general"))
    assert unknown_token(SimpleTokenizer()) is None


def test_a_mark_that_is_the_end_of_text_is_no_unknown_word():
    from summand.models.tokens import unknown_token

    class Marks:
        unk_token_id = eos_token_id = 7

        def convert_ids_to_tokens(self, ids):
            return ids

    assert unknown_token(Marks()) is None
    Marks.eos_token_id = 3
    assert unknown_token(Marks()) == 7


NUMBERS = "two three four five six seven eight nine ten eleven twelve"
WHOLE_SETS = {
    "{a} object": "red orange yellow green blue purple pink brown black white grey",
    "a photo with the letter {}": " ".join("ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
    "a photo with the number {}": "0 1 2 3 4 5 6 7 8 9 10 11 12",
    "{} objects": NUMBERS,
    "an image with {} subjects": NUMBERS,
    "a face showing {}": "joy sadness anger fear surprise disgust contempt",
    "a photo taken in {}": "spring summer autumn winter January February March April May June July August September "
    "October November December",
    "a photo taken on a {} morning": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
    "a photo taken at {}": "dawn noon sunset midnight night",
    "an image of the planet {}": "Mercury Venus Earth Mars Jupiter Saturn Uranus Neptune",
    "a photo from the {}0s": " ".join(str(year) for year in range(185, 203)),
    "{a} shape": "circle square triangle rectangle oval pentagon hexagon octagon star heart ring cross",
    "an object shaped like {a}": "cube sphere cylinder cone pyramid",
    "an object on the {}": "left right",
    "an object at the {}": "top bottom",
    "an object in the {}": "centre foreground background",
    "an object seen from {}": "above below behind",
    "something made of {}": "wood metal glass plastic rubber leather",
    "a scene with {} light": "red yellow green blue purple pink white",
    "a playing card of {}": "hearts diamonds clubs spades",
    "a close-up of a chess {}": "king queen rook bishop knight pawn",
}


def test_values_of_a_closed_kind_are_all_there_in_the_same_words():
    """A contrast of values in other words would be a contrast of words too."""
    texts = set(pool("general").texts)
    for template, values in WHOLE_SETS.items():
        missing = [value for value in values.split() if fill(template, value) not in texts]
        assert not missing, (template, missing)
