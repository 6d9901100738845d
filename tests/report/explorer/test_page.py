"""What the page shows of a question: numbers in words, and nothing of a user unescaped."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from summand import SummandError
from summand.report.explorer import ink, page, unit_views, views
from summand.report.explorer.ink import ink_of
from summand.report.explorer.known import Known
from summand.report.explorer.moved import Moved
from summand.report.explorer.page import USUAL
from summand.report.explorer.question import Along, probabilities
from summand.report.explorer.samples import samples
from summand.report.explorer.spoken import word_maps
from tests.report.explorer.conftest import TEXTS

pytestmark = pytest.mark.slow

NASTY = '<script>alert("1")</script>\' onerror=alert(1) & \u202e✶ שלום 你好'


@pytest.fixture(scope="module")
def session(known, reading):
    return page.asked(known, reading.picture, "\n".join(TEXTS))


class Tags(HTMLParser):
    """Tags in their order; what is never closed, or closed twice, is an error."""

    _EMPTY = frozenset(("img", "br"))

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in self._EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def parsed(html: str) -> Tags:
    found = Tags()
    found.feed(html)
    found.close()
    assert found.open == []
    return found


def every_view(known, session):
    found = page.shown(known, session)
    everything = (found.words, found.neurons, found.unit)
    return [found.prediction, found.maps, found.waterfall, found.heads, found.head, found.patch, *everything]


def test_all_views_are_sound_html_with_words_for_every_picture(known, session):
    asked = page.with_words(page.with_moved(known, page.looked_at(known, session, "4:3")))
    pointed = page.pointed(page.switched(known, asked, ["4.6", "4:3"], []), 0.3, 0.4)
    assert all(every_view(known, pointed))
    for html in every_view(known, pointed):
        found = parsed(html)
        for tag, attributes in found.seen:
            assert tag != "img" or attributes["alt"]
            assert tag != "img" or attributes["src"].startswith("data:image/")
            assert tag != "button" or attributes["type"] == "button"
            assert not any(name.startswith("on") for name in attributes)


def test_a_question_starts_with_the_likeliest_text_versus_the_next(known, session):
    shares = probabilities(session.reading.terms, session.reading)
    order = sorted(range(3), key=lambda place: -shares[place])
    assert session.along == Along(order[0], order[1])
    assert page.asked(known, session.reading.picture, "a star").along == Along(0, None)


def test_shares_and_sums_that_are_shown_are_those_of_the_numbers(known, session):
    off = page.switched(known, session, ["4.6"], [])
    shown = page.shown(known, off)
    shares = [float(share) for share in re.findall(r'data-share="([\d.]+)"', shown.prediction)]
    assert shares == pytest.approx(probabilities(off.terms, off.reading), abs=1e-6)
    assert shares != pytest.approx(probabilities(off.reading.terms, off.reading), abs=1e-2)
    values = [float(value) for value in re.findall(r'data-value="([-\d.]+)"', shown.waterfall)]
    assert values[-1] == pytest.approx(sum(values[:-1]), abs=1e-4)
    assert "before → with units off" in shown.prediction
    assert "held at their mean over the survey" in shown.prediction
    assert "before" not in page.shown(known, session).prediction


def test_maps_are_beside_each_other_once_something_is_off(known, session):
    assert page.shown(known, session).maps.count("<img") == 1
    assert page.shown(known, page.switched(known, session, [], list(known.properties)[:1])).maps.count("<img") == 2


def test_the_grid_has_a_button_for_every_head_and_marks_what_is_chosen_and_off(known, session):
    off = page.looked_at(known, page.switched(known, session, ["4.6"], []), "5.3")
    buttons = [found for tag, found in parsed(page.shown(known, off).heads).seen if tag == "button"]
    assert [button["data-unit"] for button in buttons] == known.heads
    chosen = [button["data-unit"] for button in buttons if button["aria-pressed"] == "true"]
    assert chosen == ["5.3"]
    assert [b["data-unit"] for b in buttons if "sx-off" in (b["class"] or "")] == ["4.6"]
    assert all(f"head {button['data-unit']} adds" in (button["title"] or "") for button in buttons)
    said = known.said("4.6")
    assert said
    assert said in next(button["title"] or "" for button in buttons if button["data-unit"] == "4.6")


def test_a_heads_words_come_with_their_evidence(known, session):
    for unit in [unit for unit in known.heads if unit.startswith(("4.", "5."))]:
        ends = [end for end in known.words[unit].ends if end.words]
        text = parsed(page.shown(known, page.looked_at(known, session, unit)).head).text
        for end in ends:
            assert end.text in text
        assert text.count("✓ proven") == sum(end.proven for end in ends)
        assert text.count("unproven") == sum(end.verdict == "not proven" for end in ends)


def test_comparisons(session):
    first = page.compared(session, TEXTS[2], TEXTS[0])
    assert first.along == Along(2, 0)
    assert page.compared(session, TEXTS[2], USUAL).along == Along(2, None)
    assert page.compared(session, TEXTS[2], TEXTS[2]).along == Along(2, None)
    with pytest.raises(SummandError, match="no texts of this question"):
        page.compared(session, "a text of somebody else", None)


def test_arrow_keys_move_the_patch_within_the_grid(session):
    at = page.moved_by(session, 0, 1)
    assert at.place == (4, 4)  # the middle, at first
    assert page.moved_by(at, 1, 0).place == (5, 4)
    for _ in range(10):
        at = page.moved_by(at, -1, -1)
    assert at.place == (0, 0)


def test_units_are_switched_off_and_on_again():
    assert page.toggled(["4.6"], "5.3") == ["4.6", "5.3"]
    assert page.toggled(["4.6", "5.3"], "4.6") == ["5.3"]


@pytest.mark.parametrize(
    ("picture", "texts", "says"),
    [
        (None, "a star", "choose a picture first"),
        (Image.new("RGB", (9, 9)), " \n ", "type at least one text"),
        (Image.new("RGB", (9, 9)), "a giraffe", "giraffe"),
        ("/nowhere/at/all.png", "a star", "cannot be read as a picture"),
    ],
)
def test_questions_that_cannot_be_answered_are_refused_in_words(known, picture, texts, says):
    with pytest.raises(SummandError, match=says):
        page.asked(known, picture, texts)


def test_tiny_and_long_pictures_are_read(known):
    for size in ((1, 1), (1, 700), (3000, 2)):
        session = page.asked(known, Image.new("RGB", size, "red"), "a star\na ring")
        assert all(parsed(html) for html in every_view(known, page.moved_by(session, 0, 0)))


@given(st.text(min_size=1, max_size=30) | st.just(NASTY))
def test_words_of_others_are_escaped_everywhere(text):
    for html in (
        views.alert(text),
        views.prediction([text], [0.5], [0.4], 0),
        views.maps([("data:image/png;base64,", text)], text),
        views.head_grid(torch.tensor([[0.5]]), {"0.0": text}, "0.0", []),
        views.listed(text, [(text, 0.1, text)], text),
        unit_views.moved([Moved(text, 1.0, 1.0, 1.0, text, True)], []),
        unit_views.card(text, text, None, 0.1, [("data:image/png;base64,", text)], False, False),
        views.gallery([(None, text, 0.5), ("data:image/png;base64,", text, 0.5)]),
        views.examples([("data:image/png;base64,", text)]),
        views.waterfall(text, []),
    ):
        found = parsed(html)
        assert {tag for tag, _ in found.seen}.isdisjoint({"script", "style", "iframe", "a", "svg"})
        assert not any(name.startswith("on") for _, attributes in found.seen for name in attributes)


def test_numbers_as_people_read_them():
    assert views.number(-0.004) == "0.00"
    assert views.number(-1.005, 1) == "−1.0"
    assert views.number(2) == "+2.00"
    assert [views.percent(share) for share in (1, 0.456, 0.0312, 0.0001, 0)] == [
        "100 %",
        "46 %",
        "3.1 %",
        "&lt; 0.1 %",
        "0 %",
    ]


def test_neurons_and_nearest_pictures_are_shown(known, session):
    moved = page.with_moved(known, session)
    assert moved.moved
    shown = page.shown(known, page.switched(known, moved, [moved.moved[0].unit], [])).neurons
    assert "× usual" in shown
    assert shown.count("switch on again") == 1  # the table says what is off now
    found = parsed(page.near(known, session, "everything"))
    assert [tag for tag, _ in found.seen].count("img") == 8


def test_examples_are_read_by_the_model_and_true_of_their_scenes(known):
    for sample in samples(known):
        session = page.asked(known, sample.picture, sample.texts)
        assert session.reading.texts[0] in sample.texts
    assert samples(Known(known.model))


def test_a_wrapped_model_without_a_survey_has_no_examples(vit):
    import summand

    other = summand.wrap(vit.clip, preprocess=lambda image: torch.zeros(3, 64, 64))
    assert samples(Known(other)) == []


@given(st.floats(-1, 1))
def test_numbers_on_cells_can_be_read_whatever_their_colour(share):
    """WCAG's AA, 4.5 to 1, on a light page and on a dark one, by contrast as its text defines it."""
    classes = ink_of(share).split()
    for prefix, red, blue, paper in (
        ("sx-", (178, 24, 43), (33, 102, 172), (255, 255, 255)),
        ("sx-dark-", (244, 121, 107), (111, 177, 232), (11, 15, 25)),
    ):
        full = red if share >= 0 else blue
        shown = [abs(share) * one + (1 - abs(share)) * other for one, other in zip(full, paper, strict=True)]
        lights = []
        for colour in (shown, [255] * 3 if f"{prefix}white" in classes else [0] * 3):
            parts = [one / 255 for one in colour]
            linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts]
            lights.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] + 0.05)
        assert max(lights) / min(lights) >= 4.5
        assert (f"{prefix}white" in classes) != (f"{prefix}black" in classes)


def test_the_colours_are_those_of_the_style_sheet():
    sheet = (Path(ink.__file__).parent / "look.css").read_text()
    for colours in (ink._LIGHT, ink._DARK):
        red, blue = (", ".join(map(str, colours[name])) for name in ("for", "against"))
        assert f"--sx-red: {red}; --sx-blue: {blue};" in sheet


def test_a_patch_tells_which_words_it_goes_with(known, session):
    """The same numbers as in the block of words and patches, which are those of `match`."""
    reading, along = session.reading, session.along
    maps = word_maps(known, reading, along)
    assert [one.text for one in maps] == [reading.texts[along.text], reading.texts[along.versus]]
    pointed = page.pointed(session, 0.3, 0.4)
    text = parsed(page.shown(known, pointed).patch).text
    for one in maps:
        assert f"words of “{one.text}”" in text
        here = one.of_patch(*pointed.place)
        digits = 2 if max(abs(1000 * value) for _, value in here) >= 0.1 else 3  # small ones are told apart, too
        for word, value in here:
            assert f"{word}{views.number(1000 * value, digits)}" in text.replace(" ", "")
    shown = page.shown(known, page.with_words(session)).words
    buttons = [found for tag, found in parsed(shown).seen if tag == "button"]
    assert len(buttons) == sum(len(one.words) for one in maps)
    assert page.shown(known, session).words == ""
