"""Every error of the library stands on its page, and every kind of error in the troubleshooting."""

from __future__ import annotations

import re
import sys
from importlib.util import module_from_spec, spec_from_file_location

import pytest

import summand
from summand.cli.adapter import in_shell_words
from summand.errors import SummandError
from tests.commands import command, error_of
from tests.pages import ROOT

SPEC = spec_from_file_location("making_errors", ROOT / "docs" / "making" / "errors.py")
assert SPEC is not None
assert SPEC.loader is not None
errors = module_from_spec(SPEC)
sys.modules["making_errors"] = errors
SPEC.loader.exec_module(errors)
MESSAGES = errors.messages()
TROUBLE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")


def stands(said: str, in_shell: bool = False) -> bool:
    """Whether a message, as it came, is one of the page's; or one of these in the words of the shell."""
    plain = " ".join(said.split())
    texts = [in_shell_words(one.text, re.findall(r"(\w+)=", one.text)) if in_shell else one.text for one in MESSAGES]
    patterns = (re.escape(text).replace(re.escape(errors.HOLE), ".*") for text in texts)
    return any(re.fullmatch(f"(.*: )?{pattern}", plain) for pattern in patterns)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "wrong",
    [
        lambda: summand.load("ViT-B-23"),
        lambda: summand.load("scenes-vit", precision="fp8"),
        lambda: summand.open("nowhere"),
        lambda: summand.wrap("a model"),
        lambda: summand.Unit.parse("9:x") if hasattr(summand.Unit, "parse") else summand.open(""),
        lambda: summand.scenes.describe("a zebra", 1),
        lambda: summand.scenes.parse_source("scenes:count=0"),
    ],
)
def test_what_is_really_said_stands_there(wrong):
    with pytest.raises(SummandError) as found:
        wrong()
    assert stands(str(found.value)), str(found.value)


@pytest.mark.parametrize(
    "wrong",
    [
        ("heatmap", "dog.jpg", "a dog", "--model", "ViT-B-32"),
        ("shift", "scenes:count=20"),
        ("debias", "scenes:count=20"),
        ("segment", "scenes:count=4", "--methods", "token"),
        ("survey", "scenes:cuont=100"),
        ("label", "nofolder"),
        ("heatmap", "nopicture.jpg", "a dog"),
        ("explore", "--upload-mb", "0"),
    ],
)
def test_what_a_command_says_stands_there_in_the_words_of_the_shell(wrong, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = error_of(*wrong)
    assert stands(said, in_shell=True), said


def test_no_message_is_left_out():
    """As many as there are statements that raise with words of our own, counted by another reading of the source."""
    raised = 0
    for path in (ROOT / "src" / "summand").rglob("*.py"):
        for after in re.findall(r"raise SummandError\(\s*f?[\"'](.{12})", path.read_text(encoding="utf-8")):
            raised += bool(re.search(r"[a-z]{3}", after.split("{")[0]))
    assert len(MESSAGES) >= 0.9 * raised > 300


def test_every_kind_and_every_exit_code_is_explained():
    for kind in errors.kinds():
        assert f"`{kind}`" in TROUBLE, kind
    for code in (0, 1, 2, 3, 130):
        assert re.search(rf"^\| {code} \|", TROUBLE, re.MULTILINE), code


def test_every_room_has_a_title_and_every_message_some_words():
    rooms = {message.room for message in MESSAGES}
    assert rooms <= set(errors.ROOMS), "docs/making/errors.py: ROOMS"
    assert all(re.search(r"[a-zA-Z]{2}", message.text) for message in MESSAGES)
    page = "\n".join(errors.lines())
    assert page.count("\n- ") == len(MESSAGES)


def test_every_refusal_of_troubleshooting_is_one_that_the_source_says():
    """Literally, but for … and what stands in `code`, which a shell and Python say otherwise."""
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "src" / "summand").rglob("*.py"))
    source = re.sub(r'"\s*\n\s*f?"', "", source)  # a message over several lines
    source += "".join(f"\n{message.text}" for message in MESSAGES)
    rows = re.findall(r"^\| (.+?) \| .+? \|$", TROUBLE.partition("## Refusals")[2], re.MULTILINE)
    refusals = [one for row in rows for one in row.split(" / ") if row not in ("refusal", "---")]
    assert len(refusals) > 90
    for refusal in refusals:
        for part in re.split(r"…|`[^`]*`|: |\b[NM]\b|\b(?:POOL|COUNT)\b", refusal):
            said = part.strip(" ;:,.")
            assert len(said.split()) < 2 or said in source, refusal


@pytest.mark.usefixtures("unchecked")
def test_the_sentences_of_troubleshooting_are_said():
    """The literal refusals that the page begins with are those that come."""
    said = command("doctor", "ViT-B-23").error
    assert "unknown model" in said
    assert "unknown model" in TROUBLE
