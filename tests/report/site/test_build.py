from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

import summand
from summand.data import open_source
from summand.report.site import build
from summand.text.pools import pool


class Links(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found += [value for key, value in attrs if key in ("href", "src") and value]


@pytest.fixture(scope="module")
def site(vit, tmp_path_factory):
    out = tmp_path_factory.mktemp("site") / "atlas"
    made = build(vit, open_source("scenes:count=30,seed=1"), out, pool=pool("scenes"), layers=2, progress=False)
    return out, made


def test_every_link_and_picture_is_there_and_local(site):
    out, made = site
    pages = list(out.rglob("*.html"))
    assert len(pages) == 1 + 16
    for page in pages:
        for link in Links(page.read_text()).found:
            if not link.startswith("data:image/png;base64,"):
                assert not re.match(r"[a-z]+:", link), link  # works from file://, no address outside
                assert (page.parent / link).resolve().is_file(), (page, link)
    assert made.page == out / "index.html"
    assert made.residual < 1e-5


def test_pages_say_what_was_measured(site):
    out, made = site
    front = (out / "index.html").read_text()
    for label in made.labels:
        page = (out / "heads" / f"{label.name}.html").read_text()
        assert all(text in page for text in label.texts)
        assert f"{100 * label.explained[-1]:.1f} %" in page
        assert label.texts[0] in front
        assert page.count('class="map"') == 16
    assert "RANDOM" not in front


def test_random_weights_are_said_loudly(tmp_path):
    model = summand.load("scenes-vit", random_init=True)
    made = build(model, open_source("scenes:count=20"), tmp_path / "a", pool=pool("scenes"), layers=1, progress=False)
    for page in (made.page, tmp_path / "a" / "heads" / "5.0.html"):
        assert "RANDOM" in page.read_text()


def test_only_an_empty_folder_or_our_own_is_written_to(vit, tmp_path, site):
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(summand.SummandError, match="not empty"):
        build(vit, open_source("scenes:count=4"), tmp_path, pool=pool("scenes"), progress=False)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(summand.SummandError, match="is a file"):
        build(vit, open_source("scenes:count=4"), tmp_path / "mine.txt", pool=pool("scenes"), progress=False)
    out, _ = site
    again = build(vit, open_source("scenes:count=20"), out, pool=pool("scenes"), layers=1, progress=False)
    assert len(list(Path(out, "heads").iterdir())) == 8
    assert again.images == 20
