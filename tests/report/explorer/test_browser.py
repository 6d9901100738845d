"""The explorer as people use it: in a real browser, against one server and one browser for all of these tests."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from urllib.parse import quote

import pytest
from PIL import Image

import summand
from summand import SummandError, scenes
from summand.report.explorer import page as pages
from summand.report.explorer.options import ExploreOptions
from summand.report.explorer.question import probabilities
from summand.report.explorer.samples import samples
from tests.browser import Watched, overflow, require_browser, serious

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*pandas.*", "ignore:The copy keyword"),
]
WAIT = 60_000  # ms: the machine may be busy
TEXTS = "a green cross\na blue ring\na red star"


@pytest.fixture(scope="module")
def served(known):
    pytest.importorskip("gradio", reason="gradio is not installed")
    require_browser()
    with summand.explore(known, options=ExploreOptions(upload_mb=1)) as found:
        yield found


@pytest.fixture
def opened(served, browser, request):
    """Opens the page in a session of its own; at the end no page may have complained or asked another host. CI keeps a
    picture of the last one."""
    watched, contexts = [], []

    def one(**settings):
        contexts.append(browser.new_context(**settings))
        page = contexts[-1].new_page()
        page.set_default_timeout(WAIT)
        watched.append(Watched(page, served.url.removeprefix("http://").rstrip("/")))
        page.goto(served.url)
        page.wait_for_selector("img.sx-map")  # the first example is answered
        return page

    yield one
    if (folder := os.environ.get("SUMMAND_SCREENSHOTS")) and watched:
        name = re.sub(r"\W+", "-", request.node.name).strip("-")
        watched[-1].page.screenshot(path=Path(folder) / f"explorer-{name}.png", full_page=True)
    for context in contexts:
        context.close()
    assert [found.errors for found in watched] == [[]] * len(watched)
    assert [found.abroad for found in watched] == [[]] * len(watched)


@pytest.fixture
def cross(tmp_path) -> Path:
    path = tmp_path / "cross.png"
    Image.fromarray(scenes.describe("a large green cross in the snow", seed=5).images[0]).save(path)
    return path


def shares(page) -> list[float]:
    return [float(found.get_attribute("data-share")) for found in page.locator("[data-share]").all()]


def texts_shown(page) -> list[str]:
    return page.locator("[aria-label=prediction] .sx-text").all_inner_texts()


def ask(page, path: Path, texts: str) -> None:
    """Texts first: a picture is asked about as soon as it is there."""
    page.get_by_label("Texts, one a line").fill(texts)
    if page.get_by_label("Remove Image").count():
        page.get_by_label("Remove Image").first.click()
    page.locator("input[type=file]").first.set_input_files(path)
    page.wait_for_function(
        """texts => [...document.querySelectorAll('[aria-label=prediction] .sx-text')]
            .map(shown => shown.innerText).join() == texts""",
        arg=",".join(texts.split("\n")),
    )


def test_a_picture_and_texts_of_ones_own(opened, known, cross):
    page = opened()
    ask(page, cross, TEXTS)
    session = pages.asked(known, str(cross), TEXTS)
    assert shares(page) == pytest.approx(probabilities(session.terms, session.reading), abs=1e-4)
    assert shares(page)[0] == max(shares(page))
    assert page.locator(".sx-total [data-value]").count() == 1
    page.get_by_label("Texts, one a line").fill("a star")
    page.get_by_role("button", name="Take it apart").click()
    page.wait_for_function("document.querySelectorAll('[data-share]').length == 1")
    assert texts_shown(page) == ["a star"]
    assert "what is usual" in page.get_by_label("versus").input_value()


def test_switching_units_off_changes_the_prediction_and_the_map(opened, known):
    """On the first example, two groups between which the model is torn."""
    page, picture, texts = opened(), samples(known)[0].picture, samples(known)[0].texts

    def expected(units=(), properties=()):
        session = pages.asked(known, picture, texts, units, properties)
        return pytest.approx(probabilities(session.terms, session.reading), abs=1e-4)

    before = shares(page)
    assert before == expected()
    page.locator("[data-unit='4.6']").click()
    page.locator("[data-off='4.6']").click()
    page.wait_for_selector("text=without 4.6")
    maps = [found.get_attribute("src") for found in page.locator("img.sx-map").all()]
    assert len(set(maps)) == 2
    assert shares(page) == expected(["4.6"])
    assert max(abs(now - then) for now, then in zip(shares(page), before, strict=True)) > 0.1
    page.get_by_role("button", name="switch on again").click()
    page.wait_for_selector("text=without 4.6", state="detached")
    assert shares(page) == before
    kind, heads = next(iter(known.properties.items()))
    page.get_by_label(f"{kind} ({len(heads)})").check()
    page.wait_for_selector("text=Off:")
    assert shares(page) == expected([], [kind])
    texts += "\na cross"
    page.get_by_label("Texts, one a line").fill(texts)
    page.get_by_role("button", name="Take it apart").click()  # of the file that the page holds: nothing is lost in it
    page.wait_for_function("document.querySelectorAll('[data-share]').length == 4")
    assert shares(page) == expected([], [kind])


def test_a_neuron_by_its_name_and_one_that_there_is_not(opened, known, cross):
    page = opened()
    ask(page, cross, TEXTS)
    box = page.get_by_label("Switch off", exact=True)
    box.fill("4:3")
    box.press("Enter")
    page.wait_for_selector("text=Off: 4:3")
    session = pages.asked(known, str(cross), TEXTS, ["4:3"])
    assert shares(page) == pytest.approx(probabilities(session.terms, session.reading), abs=1e-4)
    box.fill("4:9999")
    box.press("Enter")
    page.wait_for_selector("[role=alert] >> text=there is no neuron 4:9999")


def test_explaining_another_text_versus_another(opened):
    page = opened()
    page.get_by_label("Explain").click()
    page.get_by_role("option", name="a green circle").click()
    page.wait_for_selector("text=a green circle versus")
    page.get_by_label("versus").click()
    page.get_by_role("option", name="(what is usual)").click()
    page.wait_for_selector("text=a green circle versus the usual text")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("notes.jpg", b"these are notes", "not an image that Pillow can read"),
        ("empty.png", b"", "empty"),
    ],
)
def test_a_bad_upload_says_why_and_the_page_goes_on(opened, cross, tmp_path, name, content, says):
    page = opened()
    (tmp_path / name).write_bytes(content)
    page.get_by_label("Remove Image").first.click()
    page.locator("input[type=file]").first.set_input_files(tmp_path / name)
    page.wait_for_selector(f"[role=alert] >> text={says}")
    ask(page, cross, TEXTS)
    page.wait_for_selector("[role=alert]", state="detached")


def test_unknown_words_are_named(opened):
    page = opened()
    page.get_by_label("Texts, one a line").fill("a giraffe")
    page.get_by_role("button", name="Take it apart").click()
    page.wait_for_selector("[role=alert] >> text=giraffe")


def test_two_sessions_at_once_do_not_mix(opened, known, cross, tmp_path):
    other = tmp_path / "star.png"
    Image.fromarray(scenes.describe("three small red stars in the desert", seed=2).images[0]).save(other)
    first, second = opened(), opened()
    ask(first, cross, TEXTS)
    ask(second, other, "a red star\na blue square")
    first.locator("[data-unit='5.3']").click()
    second.locator("[data-unit='4.6']").click()
    second.locator("[data-off='4.6']").click()
    second.wait_for_selector("text=without 4.6")
    first.wait_for_selector("[aria-label='head 5.3']")
    assert texts_shown(first) == TEXTS.split("\n")
    assert texts_shown(second) == ["a red star", "a blue square"]
    assert first.locator("text=Off:").count() == 0
    for page, path, texts, off in ((first, cross, TEXTS, []), (second, other, "a red star\na blue square", ["4.6"])):
        session = pages.asked(known, str(path), texts, off)
        assert shares(page) == pytest.approx(probabilities(session.terms, session.reading), abs=1e-4)


def test_a_patch_by_mouse_and_by_keys_and_a_head_by_keys(opened):
    page = opened()
    picture = page.locator("img.sx-map").first
    box = picture.bounding_box()
    picture.click(position={"x": 2.5 / 8 * box["width"], "y": 1.5 / 8 * box["height"]})
    page.wait_for_selector("text=Patch in row 2, column 3")
    page.locator("img.sx-map").first.press("ArrowDown")
    page.wait_for_selector("text=Patch in row 3, column 3")
    page.locator("[data-unit='3.1']").press("Enter")
    page.wait_for_selector("[aria-label='head 3.1']")
    assert page.locator("[data-unit='3.1']").get_attribute("aria-pressed") == "true"


def test_neurons_and_nearest_pictures(opened, known):
    page = opened()
    page.get_by_role("tab", name="Neurons").click()
    page.get_by_role("button", name="Which neurons does it move?").click()
    page.wait_for_selector("text=An effect is unusual")
    unit = page.locator(".sx-table [data-unit]").first.get_attribute("data-unit")
    page.locator(f".sx-table [data-unit='{unit}']").click()
    page.wait_for_selector(f"[aria-label='neuron {unit}'] img")
    assert page.locator(f"[aria-label='neuron {unit}'] img").count() == 2  # what it adds, and where it is active
    page.locator(f".sx-table [data-off='{unit}']").click()
    page.wait_for_selector(f"text=without {unit}")
    assert page.locator(f".sx-table [data-off='{unit}']").inner_text() == "switch on again"
    page.get_by_role("tab", name="Nearest").click()
    page.get_by_role("button", name="Find them").click()
    page.wait_for_selector(".sx-gallery img")
    assert page.locator(".sx-gallery img").count() == 8


def test_words_show_their_patches_and_patches_their_words(opened):
    page = opened()
    page.get_by_role("tab", name="Words").click()
    page.get_by_role("button", name="Which word goes with which patch?").click()
    page.wait_for_selector("[data-words] .word")
    inked = "c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data].some(Boolean)"
    canvas, told = page.locator(".patches canvas"), page.locator("[data-told]")
    assert not canvas.evaluate(inked)
    word = page.locator(".word").nth(2)
    word.hover()
    assert canvas.evaluate(inked)
    assert word.inner_text() in told.inner_text()
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.3)
    assert "row 3, column 4" in told.inner_text()
    assert page.locator(".word i[style*='100%']").count() == 1


def settled(page) -> list[str]:
    """What axe finds once the page has come to rest: an answer that is on its way is shown faded."""
    found = serious(page)
    for _ in range(20):
        if not found:
            break
        page.wait_for_timeout(500)
        found = serious(page)
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_by_everybody(opened, scheme):
    page = opened(color_scheme=scheme, viewport={"width": 1280, "height": 900})
    page.locator("img.sx-map").first.press("ArrowDown")
    page.wait_for_selector("[aria-label=patch]")
    page.locator("[data-off]").first.click()
    page.wait_for_selector("text=Off:")
    assert settled(page) == []
    for tab, button, shown in (
        ("Words", "Which word goes with which patch?", "[data-words] .word"),
        ("Neurons", "Which neurons does it move?", ".sx-table [data-unit]"),
    ):
        page.get_by_role("tab", name=tab).click()
        page.get_by_role("button", name=button).click()
        page.wait_for_selector(shown)
        assert settled(page) == []
    page.add_style_tag(content=".sx h2 {color: #999 !important; background: #888}")  # a colour that axe cannot read,
    assert any("color-contrast" in found for found in serious(page))  # as color-mix(), would silence the whole rule


def test_it_fits_a_phone(opened):
    page = opened(viewport={"width": 390, "height": 844})
    assert overflow(page) <= 0


def test_no_file_but_its_own_is_served(served, browser, known):
    secret = Path(__file__).resolve()
    context = browser.new_context()
    for path in (
        "/etc/passwd",
        str(secret),
        "pyproject.toml",
        "../../../etc/passwd",
        f"{served.folder}/../../etc/passwd",
    ):
        for written in (path, quote(path, safe=""), path.replace("..", "%2e%2e")):
            for root in ("gradio_api/file=", "file=", "gradio_api/file/", "static/", "assets/", "theme.css/"):
                answer = context.request.get(f"{served.url}{root}{written}", fail_on_status_code=False)
                assert b"root:" not in answer.body()
                assert b"no_file_but_its_own" not in answer.body()
                assert b"summand-clip" not in answer.body()
                if root == "gradio_api/file=":
                    assert answer.status in (400, 403, 404)
    page = context.request.get(f"{served.url}config").json()
    assert page["analytics_enabled"] is False
    assert page["api_prefix"] == "/gradio_api"
    assert str(Path(summand.__file__).parent) not in str(page)
    context.close()


def test_a_file_over_the_limit_is_refused(served, browser, tmp_path):
    context = browser.new_context()
    large = {"files": {"name": "large.png", "mimeType": "image/png", "buffer": b"\0" * 1_500_000}}
    answer = context.request.post(f"{served.url}gradio_api/upload", multipart=large, fail_on_status_code=False)
    assert answer.status == 413
    small = {"files": {"name": "small.png", "mimeType": "image/png", "buffer": b"\0" * 500_000}}
    assert context.request.post(f"{served.url}gradio_api/upload", multipart=small).status == 200
    assert all(path.is_relative_to(served.folder) for path in served.folder.rglob("small.png"))
    assert list(served.folder.rglob("small.png"))
    context.close()


def test_questions_are_not_answered_to_programs_that_skip_the_queue(served, browser):
    context = browser.new_context()
    for place in range(4):
        answer = context.request.post(
            f"{served.url}gradio_api/run/predict", data={"data": [], "fn_index": place}, fail_on_status_code=False
        )
        assert answer.status >= 400
    context.close()


def test_it_listens_on_this_machine_alone(served):
    port = int(re.findall(r":(\d+)", served.url)[0])
    assert served.url.startswith("http://127.0.0.1:")
    other = next((found[4][0] for found in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)), "127.0.0.1")
    if other != "127.0.0.1":
        with socket.socket() as asked:
            assert asked.connect_ex((other, port)) != 0


def test_a_port_that_is_taken_is_refused_in_words(served, known):
    port = int(re.findall(r":(\d+)", served.url)[0])
    with pytest.raises(SummandError, match=f"port {port}"):
        summand.explore(known, port=port)
