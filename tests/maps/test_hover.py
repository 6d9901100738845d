"""Maps in a notebook: in a real browser, without a script, a text that is pointed at shows its own map."""

from __future__ import annotations

import io
import re
from base64 import b64decode
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import summand
from summand import scenes
from summand.maps.hover import MOST, as_page
from tests.browser import Watched, launched

TEXTS = ["a red star", "a blue ring", "a green circle"]
NASTY = "<script>alert(1)</script>\"' onmouseover=alert(1) &amp; \u202e שלום 你好 ✶"


@pytest.fixture(scope="module")
def found(vit):
    picture = Image.fromarray(scenes.describe("a red star and a blue ring", seed=3).images[0])
    return summand.heatmap(vit, picture, TEXTS)


def images(html: str) -> list[np.ndarray]:
    data = re.findall(r'src="data:image/webp;base64,([^"]+)"', html)
    return [np.asarray(Image.open(io.BytesIO(b64decode(one)))).astype(float) for one in data]


def test_it_holds_the_picture_and_a_map_for_each_text_and_fetches_nothing(found):
    html = found._repr_html_()
    below, *maps = images(html)
    assert len(maps) == 3
    expected = np.asarray(found.original.read().resize((448, 448), Image.Resampling.NEAREST)).astype(float)
    assert np.abs(below - expected).mean() < 8
    for text, cosine in zip(TEXTS, found.similarity, strict=True):
        assert f"<td>{text}</td><td>{cosine:+.3f}".replace("-", "−") in html.replace("-", "−")
    assert "<script" not in html
    assert {one[:16] for one in re.findall(r'(?:src|href)="([^"]*)"', html)} == {"data:image/webp;"}
    assert "url(" not in html


def test_each_map_is_red_where_its_grid_is_largest(found):
    _, *maps = images(found._repr_html_())
    for place, grid in enumerate(found.grid[:2]):
        row, column = np.unravel_index(int(grid.argmax()), grid.shape)
        y, x = (int((at + 0.5) * 448 / 8) for at in (row, column))
        red, _, blue = maps[place][y, x]
        assert red > blue + 20, TEXTS[place]


def test_of_a_wide_picture_only_what_the_model_saw_is_coloured(vit):
    wide = Image.new("RGB", (900, 300), (128, 128, 128))
    wide.paste(Image.fromarray(scenes.describe("a red star", seed=1).images[0]).resize((300, 300)), (300, 0))
    _, only = images(summand.heatmap(vit, wide, "a red star")._repr_html_())
    assert only.shape[:2] == (149, 448)
    colour = np.abs(only[..., 0] - only[..., 2])
    assert colour[:, :130].max() < 12
    assert colour[:, 160:290].max() > 60


def test_words_of_others_are_escaped(found):
    html = as_page(replace(found, texts=(NASTY, "a\nb", "$x$"), name=NASTY))
    assert "<script" not in html
    assert not re.search(r'<[^>]*\sonmouseover=alert(?=[^"]*>)', html.replace("&#x27;", "").replace("&quot;", ""))
    assert "&lt;script&gt;" in html
    assert "<td>a b</td>" in html


def test_a_picture_that_is_gone_is_shown_as_the_model_saw_it(found):
    def gone():
        raise OSError("no such file")

    below, *maps = images(as_page(replace(found, original=replace(found.original, read=gone))))
    seen = np.asarray(Image.fromarray(found.picture).resize((448, 448), Image.Resampling.NEAREST)).astype(float)
    assert np.abs(below - seen).mean() < 8
    assert len(maps) == 3


def test_of_many_texts_the_first_are_shown_and_the_rest_counted(found):
    many = replace(
        found, texts=tuple(map(str, range(50))), grid=np.repeat(found.grid[:1], 50, axis=0), similarity=(0.5,) * 50
    )
    html = as_page(many)
    assert len(images(html)) == MOST + 1
    assert "20 more maps are in .grid" in html


def test_activations_have_no_cosine_and_many_pictures_one_page_each(vit):
    html = summand.heatmap(vit, "scenes:count=2", neuron="4:20")._repr_html_()
    assert html.count('<div class="summand-map">') == 2
    assert "<th>cosine</th>" not in html
    assert "scene 1" in html


@pytest.mark.slow
def test_in_a_browser_the_text_that_is_pointed_at_shows_its_map(found, vit, tmp_path):
    """Several on one page, as in a notebook; no text may change another's picture."""
    one = summand.heatmap(vit, "scenes:count=1", ["a star"])._repr_html_()
    (tmp_path / "page.html").write_text(f"<meta charset=utf-8>{one}{found._repr_html_()}{one}", encoding="utf-8")
    with launched() as browser:
        context = browser.new_context(java_script_enabled=True)
        page = context.new_page()
        watched = Watched(page)
        page.goto((tmp_path / "page.html").as_uri())
        ours = page.locator(".summand-map").nth(1)

        def opacities(place: int = 1) -> list[float]:
            page.wait_for_timeout(250)  # the change from one to the other is shown
            images = page.locator(".summand-map").nth(place).locator(".m")
            return [float(shown) for shown in images.evaluate_all("e => e.map(x => getComputedStyle(x).opacity)")]

        assert opacities() == [1, 0, 0]
        for place in (1, 2, 0):
            ours.locator(".w").nth(place).hover()
            assert opacities() == [float(place == at) for at in range(3)]
            assert opacities(0) == [1]
        ours.locator(".w").nth(1).focus()
        page.mouse.move(0, 0)
        assert opacities() == [0, 1, 0]
        page.keyboard.press("Tab")
        assert opacities() == [0, 0, 1]
        ours.locator(".w").nth(0).hover()
        assert opacities() == [1, 0, 0]
        assert watched.errors == []
        assert watched.abroad == []
        context.close()
