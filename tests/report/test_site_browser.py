"""The atlas in a real browser, opened from the disk as users open it."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import numpy as np
import pytest

import summand
from summand.data import open_source
from summand.report.site import build, index
from summand.text.pools import pool
from tests.browser import Watched, overflow, require_browser, serious, untold
from tests.report.conftest import SCENES

pytestmark = pytest.mark.slow
WIDE, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="session")
def atlas(vit, in_words, tmp_path_factory):
    require_browser()
    out = tmp_path_factory.mktemp("atlas") / "site"
    options = {"pool": pool("scenes"), "survey": in_words, "most": 30, "pictures": 4, "progress": False}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "PIECE", 25)  # so that the search has four pieces to put together
        return build(vit, open_source(SCENES), out, **options)


@pytest.fixture
def look(browser, atlas, request):
    """Opens a page of the site; afterwards nothing may have failed, nor been asked for elsewhere."""
    opened = []

    def look(address: str = "index.html", **options) -> Watched:
        context = browser.new_context(**{"viewport": WIDE, **options})
        watched = Watched(context.new_page())
        watched.page.goto(f"file://{atlas.page.parent}/{address}")
        opened.append((context, watched))
        return watched

    yield look
    for number, (context, watched) in enumerate(opened):
        if folder := os.environ.get("SUMMAND_SCREENSHOTS"):  # CI keeps them
            name = f"{request.node.name}-{number}.png".replace("/", "-")
            watched.page.screenshot(path=Path(folder) / name, full_page=True)
        assert (watched.errors, watched.abroad) == ([], [])
        context.close()


def of_kind(atlas, kind: str):
    """The best proven unit of a kind; a head with several ends."""
    return next(
        entry
        for entry in sorted(atlas.entries, key=lambda entry: entry.rank)
        if entry.kind == kind and (len([end for end in entry.words.ends if end.words]) > 1 or kind != "head")
    )


PAGES = ("index.html", "head", "neuron", "image")


def address(atlas, page: str) -> str:
    if page == "image":
        return f"images/{sorted((atlas.page.parent / 'images').iterdir())[0].name}"
    return page if page.endswith(".html") else of_kind(atlas, page).page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("page", PAGES)
def test_axe_finds_nothing_serious(look, atlas, page, scheme):
    found = look(address(atlas, page), color_scheme=scheme)
    assert serious(found.page) == []
    assert untold(found.page) == []  # nor is there a text whose contrast it cannot tell
    paper = found.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == {"light": "rgb(255, 255, 255)", "dark": "rgb(17, 22, 29)"}[scheme]


@pytest.mark.parametrize("page", PAGES)
def test_a_phone_shows_it_all_in_its_width(look, atlas, page):
    found = look(address(atlas, page), viewport=PHONE).page
    assert overflow(found) == 0
    small = found.evaluate(
        "[...document.querySelectorAll('p, td, a, button, figcaption, .what')].filter(e => e.offsetParent)"
        ".map(e => parseFloat(getComputedStyle(e).fontSize)).reduce((a, b) => Math.min(a, b), 99)"
    )
    assert small >= 12
    found.set_viewport_size({"width": 320, "height": 600})  # what 1,280 are at a zoom of 400 %
    assert overflow(found) == 0
    found.set_viewport_size(PHONE)
    if page == "index.html":  # the map scrolls in its own frame, and its cells are wide enough for words
        frame = found.evaluate("(e => [e.scrollWidth, e.clientWidth])(document.querySelector('.scroll'))")
        assert frame[0] > frame[1]
        assert found.evaluate("document.querySelector('.map td').offsetWidth") >= 80


def test_search_finds_units_by_their_words_as_one_types_and_the_address_keeps_it(look, atlas):
    found = look().page
    word = next(end.words[0] for e in atlas.entries for end in e.words.ends if end.proven and " " in end.words[0])
    term = word.split()[-1]
    found.focus("#q")
    found.keyboard.type(term)
    found.wait_for_function("!document.querySelector('#count').textContent.includes('loading')")
    names = "all => all.map(a => a.textContent)"
    shown = found.eval_on_selector_all("#found .name a", names)
    how = {entry.name: said(entry, term) for entry in atlas.entries}
    assert int(found.text_content("#count").split()[0]) == sum(level > 0 for level in how.values())
    levels = [how[name] for name in shown]
    assert levels == sorted(levels, reverse=True)  # proven words first, then words, then texts beside
    assert levels[0] == 3
    assert found.url.endswith(f"#q={term}")
    assert found.is_hidden("#best")
    kind = "neuron"
    found.select_option("#kind", kind)
    shown = found.eval_on_selector_all("#found .name a", names)
    assert all(":" in name for name in shown)
    again = look(f"index.html#q={term}&kind={kind}").page
    again.wait_for_function("!document.querySelector('#count').textContent.includes('loading')")
    assert again.input_value("#q") == term
    assert again.eval_on_selector_all("#found .name a", names) == shown
    again.focus("#q")
    again.keyboard.press("Escape")
    assert again.input_value("#q") == ""


def said(entry, term: str) -> int:
    """3 where proven words hold a word that begins with the term, 2 for other words, 1 for texts beside, 0 for none."""

    def holds(texts) -> bool:
        return any(f" {term}" in f" {text}".lower() for text in texts)

    if holds(word for end in entry.words.ends if end.proven for word in end.words):
        return 3
    return 2 if holds(word for end in entry.words.ends for word in end.words) else int(holds(dict(entry.texts)))


def test_a_chip_searches_and_searches_no_more(look):
    found = look().page
    chip = found.locator("#chips button").first
    chip.click()
    assert chip.get_attribute("aria-pressed") == "true"
    found.wait_for_selector("#found li")
    assert chip.text_content() in found.text_content("#found li .what")
    chip.click()
    assert found.is_hidden("#results")
    assert found.is_visible("#best")


def test_the_map_is_coloured_by_what_one_chooses(look, atlas):
    found = look().page
    steps = "all => all.map(a => a.className.match(/s(\\d)/)[1])"
    before = found.eval_on_selector_all("a.cell", steps)
    found.click("[data-measure=ablation]")
    after = found.eval_on_selector_all("a.cell", steps)
    assert before != after
    assert "6" in after  # the largest fall has the strongest colour
    assert found.url.endswith("#map=ablation")
    assert "accuracy" in found.text_content("#measure-said")
    hatched = found.locator("a.cell.unproven").count()
    assert hatched == sum(
        e.kind == "head" and (e.words.verdict != "proven" or e.words.worded != e.words.kind) for e in atlas.entries
    )


def test_a_text_swaps_the_images_and_hovering_it_the_maps(look, atlas):
    found = look(of_kind(atlas, "head").page).page
    pictures = "all => all.map(i => i.getAttribute('src'))"
    inked = "canvas => [...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data].join()"
    first = found.eval_on_selector_all("[data-gallery=strong] .frame:first-child img", pictures)
    canvas = found.locator("canvas").first
    map_before = canvas.evaluate(inked)
    assert len(set(map_before.split(","))) > 3  # something is drawn
    found.hover("#tab-1")
    assert canvas.evaluate(inked) != map_before
    assert found.eval_on_selector_all("[data-gallery=strong] .frame:first-child img", pictures) == first
    found.hover("h1")
    assert canvas.evaluate(inked) == map_before
    found.click("#tab-1")
    assert found.eval_on_selector_all("[data-gallery=strong] .frame:first-child img", pictures) != first
    assert found.get_attribute("#panel", "aria-labelledby") == "tab-1"
    assert found.url.endswith("#text=1")
    assert all(found.eval_on_selector_all(".gallery img", "all => all.map(i => i.hasAttribute('alt'))"))
    loaded = "all => Promise.all(all.map(i => i.decode().then(() => i.naturalWidth)))"
    assert min(found.eval_on_selector_all("[data-gallery=strong] img", loaded)) > 0


@pytest.mark.parametrize("page", PAGES)
def test_every_number_says_what_it_is_on_hover(look, atlas, page):
    """But those in names, in sentences, which say it themselves, and in what is there to be copied."""
    silent = look(address(atlas, page)).page.evaluate(
        """() => {
            const said = 'title, p, pre, script, style, th, h1, h2, a, button, footer, dd, option, nav, summary';
            const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [];
            while (texts.nextNode()) {
                const at = texts.currentNode.parentElement;
                if (/\\d/.test(texts.currentNode.data) && !at.closest(said) && !at.closest('[title]:not([title=""])'))
                    found.push(`${at.className}: ${texts.currentNode.data.trim()}`);
            }
            return found;
        }"""
    )
    assert silent == []


_INKED = "canvas => [...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data]"


def test_a_word_shows_its_patches_and_a_patch_its_words(look, atlas):
    found = look(address(atlas, "image")).page
    canvas, told = found.locator(".patches canvas"), found.locator("[data-told]")
    rest = told.text_content()
    assert not any(canvas.evaluate(_INKED))
    words = found.locator(".sentence").first.locator(".word")
    data = json.loads(found.get_attribute("[data-words]", "data-words"))
    rows, columns = data["grid"]
    first = data["texts"][0]
    assert words.count() == len(first["words"])
    values = np.frombuffer(base64.b64decode(first["values"]), np.int8).reshape(-1, rows, columns)
    number = int(np.abs(values).max(axis=(1, 2)).argmax())
    words.nth(number).hover()
    inked = np.array(canvas.evaluate(_INKED)).reshape(rows, columns, 4)
    assert ((inked[..., 3] > 0) == (np.abs(values[number]) > 0.05 * 127)).all()
    red = inked[..., 0] > inked[..., 2]
    assert (red == (values[number] > 0))[inked[..., 3] > 0].all()
    assert first["words"][number] in told.text_content()
    found.hover("h1")
    assert told.text_content() == rest
    row, column = np.unravel_index(int(values[number].argmax()), (rows, columns))
    box = canvas.bounding_box()
    found.mouse.move(box["x"] + (column + 0.5) * box["width"] / columns, box["y"] + (row + 0.5) * box["height"] / rows)
    assert f"row {row + 1}, column {column + 1}" in told.text_content()
    widths = words.locator("i").evaluate_all("all => all.map(i => parseFloat(i.style.width))")
    here = np.abs(values[:, row, column])
    assert np.argsort(widths).tolist()[-1] == int(here.argmax())
    found.hover("h1")
    words.nth(number).focus()  # by the keyboard alone: a word, then the picture's patches
    assert any(canvas.evaluate(_INKED))
    found.keyboard.press("Enter")
    assert words.nth(number).get_attribute("aria-pressed") == "true"
    found.locator(".patches").focus()
    assert any(canvas.evaluate(_INKED))  # the word that was chosen stays
    found.keyboard.press("ArrowLeft")
    before = told.text_content()
    found.keyboard.press("ArrowDown")
    assert told.text_content() != before


def test_the_keyboard_alone_reaches_a_unit_and_turns_its_tabs(look):
    found = look().page
    found.keyboard.press("Tab")
    assert found.evaluate("document.activeElement.className") == "skip"
    found.keyboard.press("/")
    assert found.evaluate("document.activeElement.id") == "q"
    found.keyboard.type("object")
    found.wait_for_selector("#found a")
    for _ in range(60):
        found.keyboard.press("Tab")
        if found.evaluate("document.activeElement.closest('#found') !== null"):
            break
    found.keyboard.press("Enter")
    found.wait_for_selector("[role=tablist]")
    found.focus("#tab-0")
    if found.locator("[role=tab]").count() > 1:
        found.keyboard.press("ArrowRight")
        assert found.evaluate("document.activeElement.id") == "tab-1"
        found.keyboard.press("End")
        last = found.locator("[role=tab]").count() - 1
        assert found.evaluate("document.activeElement.id") == f"tab-{last}"
    outline = found.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


def test_previous_and_next_run_through_all_units(look, atlas):
    found = look(atlas.entries[0].page).page
    seen = [atlas.entries[0].name]
    for entry in atlas.entries[1:12]:  # over the border of a layer
        found.click("a[rel=next]")
        seen.append(entry.name)
        assert entry.title in found.text_content("h1")
    assert len(set(seen)) == 12


def test_the_first_page_is_there_within_a_second(look):
    found = look().page
    timing = found.evaluate(
        "(t => t.domContentLoadedEventEnd - t.startTime)(performance.getEntriesByType('navigation')[0])"
    )
    assert timing < 1000


def test_without_scripts_there_is_all_but_maps_and_search(look, atlas):
    found = look(of_kind(atlas, "head").page, java_script_enabled=False).page
    assert found.locator("[data-gallery=strong] img:visible").count() == 8
    assert found.is_visible("table.list")
    assert found.locator("noscript p").is_visible()
    assert found.locator(".where:visible").count() == 0


@pytest.mark.parametrize("options", [{"viewport": PHONE}, {"color_scheme": "dark"}])
def test_the_report_of_shift_is_of_the_same_make(vit, browser, tmp_path, options):
    found = summand.shift("scenes:count=120,seed=1", "scenes:count=60,seed=2,shift=place/sea/0.6", model=vit)
    (tmp_path / "shift.html").write_text(found.page(), encoding="utf-8")
    context = browser.new_context(**{"viewport": WIDE, **options})
    watched = Watched(context.new_page())
    watched.page.goto(f"file://{tmp_path}/shift.html")
    assert overflow(watched.page) == 0
    assert serious(watched.page) == []
    assert (watched.errors, watched.abroad) == ([], [])
    context.close()


def test_it_prints_without_its_controls(look):
    found = look().page
    found.emulate_media(media="print")
    assert found.is_hidden("#find")
    assert found.is_visible("table.map")
