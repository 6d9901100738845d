"""Dataclasses of options become commands: every field an option, under the rules that all commands share."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest

import summand
from summand.cli.adapter import in_shell_words
from summand.cli.options import ModelOptions, OwnModelOptions, PoolModelOptions, Show
from summand.studies.attack.options import AttackOptions
from summand.studies.concepts.options import ConceptsOptions
from summand.studies.retrieve.options import RetrieveOptions
from summand.studies.shift.options import ShiftOptions
from summand.studies.subconcepts.options import SubconceptsOptions
from summand.studies.verb import said
from summand.studies.words.options import WordsOptions
from tests.commands import command

TEXT = "a red star"


def test_every_option_says_what_it_is_for():
    own = (AttackOptions, ConceptsOptions, RetrieveOptions, ShiftOptions, SubconceptsOptions, WordsOptions)
    for kind in (ModelOptions, OwnModelOptions, PoolModelOptions, Show, *own):
        assert set(said(kind)) == {field.name for field in fields(kind)}, kind
        assert all(len(text) > 8 for text in said(kind).values())


def test_an_option_that_is_called_as_a_command_is_read_from_a_file(tmp_path, monkeypatch, unchecked):
    monkeypatch.chdir(tmp_path)
    first = command("scenes", "--count", "6", "--shift", "place/sea/1.0", "--json").json
    (tmp_path / "result.json").write_text(json.dumps(first))
    again = command("scenes", "--config", "result.json", "--json").json
    assert again == first
    assert [row["place"] for row in again["rows"]] == ["sea"] * 6


def test_a_result_is_made_again_from_its_json(tmp_path, unchecked):
    first = command("words", TEXT, "--versus", "a blue ring", "--json").json
    (tmp_path / "result.json").write_text(json.dumps(first))
    again = command("words", "--config", tmp_path / "result.json", "--json").json
    assert again == first
    other = command("words", "--config", tmp_path / "result.json", "--versus", TEXT, "--json").json
    assert other["similarity"] == pytest.approx(1, abs=1e-5)
    assert other["options"]["versus"] == TEXT
    found = command("segment", "--config", tmp_path / "result.json")
    assert found.code == 2


def test_a_file_of_options_holds_them_for_all_commands_or_for_one(tmp_path, unchecked):
    path = tmp_path / "options.toml"
    path.write_text('model = "scenes-rn"\n[words]\nversus = "a blue ring"\n[segment]\ncount = 3\n')
    found = command("words", TEXT, "--config", path, "--model", "scenes-vit", "--json").json
    assert (found["model"], found["options"]["versus"]) == ("scenes-vit", "a blue ring")
    for text, reason in (("versus = ", "cannot be read"), ("vresus = 'a'", "vresus")):
        path.write_text(text)
        found = command("words", TEXT, "--config", path)
        assert (found.code, reason in found.error) == (2, True), found
    assert "no such file" in command("words", TEXT, "--config", tmp_path / "none.toml").error


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--vresus", "x"), "--versus"),
        (("--activation", "relu"), "quickgelu"),
        (("--image-size", "many"), "image-size"),
        (("more", "words"), "Unused"),
        (("--pretrained", "b.pt"), "leave out --pretrained 'b.pt'"),
    ],
)
def test_wrong_usage_is_named_in_the_words_of_the_shell(arguments, reason, unchecked):
    found = command("words", TEXT, *arguments)
    assert (found.code, found.out) == (2, "")
    assert reason in found.error


def test_a_place_that_cannot_be_written_to_is_refused_before_the_work(tmp_path, monkeypatch, unchecked):
    monkeypatch.setattr(summand, "load", lambda *_, **__: pytest.fail("loaded a model"))
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "in" / "it.csv"):
        found = command("words", TEXT, "--out", place)
        assert (found.code, "file" in found.error) == (2, True), found


def test_a_result_is_saved_whole_or_in_part(tmp_path, unchecked):
    whole = command("words", TEXT, "--json", "--out", tmp_path / "new" / "folder").json
    saved = json.loads((tmp_path / "new" / "folder" / "result.json").read_text())
    assert saved["rows"] == whole["rows"]
    assert command("words", TEXT, "--out", tmp_path / "rows.csv").code == 0
    assert (tmp_path / "rows.csv").read_text().startswith("word,contribution\n<start>,")
    found = command("words", TEXT, "--out", tmp_path / "a.png")
    assert (found.code, "no figure" in found.error) == (2, True)


def test_python_says_options_as_python_does():
    assert in_shell_words("leave out image_size=(3, 4)", ["image_size"]) == "leave out --image-size (3, 4)"
    assert in_shell_words("a model of size=3", ["image_size"]) == "a model of size=3"
    assert in_shell_words("nothing of it", []) == "nothing of it"
