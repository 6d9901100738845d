"""The site of docs/: built strict, every link and anchor leads somewhere, and no page asks anything of another host."""

from __future__ import annotations

import doctest
import importlib.util
import re
import subprocess
import sys
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import pytest

from tests.pages import ROOT, name_of

DOCS = ROOT / "docs"
LOADS = {("script", "src"), ("link", "href"), ("img", "src"), ("source", "src"), ("iframe", "src"), ("object", "data")}
NO_REQUEST = {"canonical", "prev", "next"}


class Page(HTMLParser):
    """Of a page: its anchors, where its links lead, and what a browser loads for it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.anchors |= {value for name in ("id", "name") if (value := given.get(name))}
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        if given.get("rel") not in NO_REQUEST:
            self.loaded += [value for name, value in attrs if (tag, name) in LOADS and value]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("mkdocs", reason="the site needs pip install 'summand-clip[docs]'")
    place = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(place)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    return {path: Page(path.read_text(encoding="utf-8")) for path in place.rglob("*.html")}


def outside(address: str) -> bool:
    return bool(urlsplit(address).scheme or urlsplit(address).netloc)


@pytest.mark.slow
def test_every_link_leads_somewhere_and_nothing_is_asked_of_another_host(site):
    assert len(site) > 30
    for path, page in site.items():
        if path.name == "404.html":  # its links are absolute, for it is shown at any address
            continue
        assert [address for address in page.loaded if outside(address) and not address.startswith("data:")] == [], path
        for address in page.links:
            if outside(address):
                continue
            there, _, anchor = address.partition("#")
            target = (path.parent / unquote(there)).resolve() if there else path
            assert target.exists(), f"{path.name}: {address}"
            if anchor and target in site:
                assert unquote(anchor) in site[target].anchors, f"{path.name}: {address}"


@pytest.mark.slow
def test_style_and_scripts_ask_nothing_of_another_host(site):
    root = next(path for path in site if path.name == "404.html").parent
    for sheet in root.rglob("*.css"):
        assert re.findall(r"(?:url\(|@import )['\"]?(?:https?:)?//[^)]*", sheet.read_text(encoding="utf-8")) == [], (
            sheet
        )
    assert not any("api.github.com" in path.read_text(encoding="utf-8") for path in root.rglob("*.html"))
    text = (root / "llms.txt").read_text(encoding="utf-8")
    pages = re.findall(r"\]\(([^)]+)\)", text)
    assert len(pages) > 30
    assert [page for page in pages if not (root / page).exists()] == []
    assert [line for line in text.splitlines() if line.startswith("- ") and line.endswith(": ")] == []


def slug(heading: str) -> str:
    """As GitHub and mkdocs make an anchor of a heading."""
    plain = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower())


def test_links_between_files_lead_somewhere():
    """Also in the files that are no pages of the site, as GitHub shows them."""
    files = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *DOCS.rglob("*.md")]
    made = {DOCS / name for name in ("errors.md", "changes.md", "api/index.md", "notebooks/index.md")}
    anchors = {
        path: {slug(found) for found in re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)}
        for path in files
    }
    for path in files:
        text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        for address in re.findall(r"\]\(([^)\s]+)\)", text):
            there, _, anchor = address.partition("#")
            target = (path.parent / there).resolve() if there else path
            if outside(address) or target in made:
                continue
            assert target.exists(), f"{name_of(path)}: {address}"
            if anchor and target in anchors:
                assert anchor in anchors[target], f"{name_of(path)}: {address}"


def test_every_page_is_in_the_navigation_or_is_said_to_come():
    nav = (ROOT / "mkdocs.yml").read_text().partition("\nnav:")[2]
    listed = set(re.findall(r"[\w/-]+\.md", nav))
    assert {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")} - listed == set()


def making(name: str):
    spec = importlib.util.spec_from_file_location(f"making_{name}", DOCS / "making" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["docstrings", "llms"])
def test_what_makes_pages_does_as_its_examples_say(name):
    if name == "docstrings":
        pytest.importorskip("griffe", reason="the site needs pip install 'summand-clip[docs]'")
    found = doctest.testmod(making(name))
    assert found.attempted
    assert found.failed == 0


def test_every_public_name_has_a_page():
    import summand

    api = making("api")
    text = "\n".join(api.pages().values())
    for name in set(summand.__all__) - {"__version__"}:
        assert f"[`{name}`](" in text, name
        assert name == "scenes" or f"heading: summand.{name}\n" in text, name
    assert "::: summand.studies.debias.options.DebiasOptions" in text
    assert "::: summand.studies.debias.result.Debiased" in text


def test_models_are_those_of_the_version_that_the_page_names():
    from importlib.metadata import version

    page = (DOCS / "models.md").read_text(encoding="utf-8")
    if f"open_clip {version('open_clip_torch')}:" not in page:
        pytest.skip("docs/models.md was made with another version of open_clip")
    assert page == "\n".join(making("models").lines()) + "\n", "python docs/making/models.py > docs/models.md"


def test_pictures_have_words_and_stand_beside_their_scripts():
    scripts = {path.name for path in (DOCS / "gallery").glob("*.py")}
    gallery = (DOCS / "gallery.md").read_text(encoding="utf-8")
    assert scripts == set(re.findall(r'--8<-- "gallery/(\w+\.py)"', gallery))
    for page in DOCS.rglob("*.md"):
        for words, address in re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
            assert len(words.split()) >= 3, f"{name_of(page)}: {address} has no alternative text"
            assert (page.parent / address).exists(), f"{name_of(page)}: {address}"
