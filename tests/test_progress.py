from __future__ import annotations

import inspect
import re

import pytest

import summand
from summand import progress
from summand.progress import Progress, is_shown
from summand.survey.make import survey as make_survey


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


def run(monkeypatch, capsys, seconds: float, shown: bool | None = None, done: int = 0) -> list[str]:
    """100 images in 10 batches that take so many seconds each."""
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    with Progress("survey", 2000, "images", shown, done) as bar:
        for _ in range(10):
            clock.now += seconds
            bar.update(100)
    return capsys.readouterr().err.splitlines()


def test_a_log_has_a_line_a_minute_and_one_at_the_end(monkeypatch, capsys):
    lines = run(monkeypatch, capsys, seconds=40)
    assert lines[0] == "survey: 200 of 2,000 images, 2 a second, 12 min 0 s left"  # after 80 s, at 2.5 a second
    assert len(lines) == 5 + 1
    assert lines[-1] == "survey: 1,000 of 2,000 images, in 6 min 40 s"


def test_what_is_done_already_does_not_count_as_speed(monkeypatch, capsys):
    lines = run(monkeypatch, capsys, seconds=100, done=1000)
    assert lines[0] == "survey: 1,100 of 2,000 images, 1 a second, 15 min 0 s left"


def test_slow_work_is_counted_by_the_minute(monkeypatch, capsys):
    lines = run(monkeypatch, capsys, seconds=400)
    assert re.fullmatch(r"survey: 100 of 2,000 images, 15\.0 a minute, 2 h 6 min left", lines[0])


def test_quick_work_and_hidden_work_say_nothing(monkeypatch, capsys):
    assert run(monkeypatch, capsys, seconds=1) == []
    assert run(monkeypatch, capsys, seconds=100, shown=False) == []


def test_a_terminal_gets_a_bar_and_no_lines(monkeypatch, capsys):
    import sys

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(progress, "QUICK", 0.0)
    with Progress("survey", 10, "images") as bar:
        bar.update(4)
        bar.stage("survey, top images")
        bar.update(6)
    said = capsys.readouterr().err
    assert "survey, top images" in said
    assert "images, " not in said


@pytest.mark.slow
def test_every_verb_can_be_told_to_say_nothing():
    makers = {"explore", "export", "find", "load", "open", "rank_one", "sparse_code", "textspan", "wrap"}
    verbs = [getattr(summand, name) for name in set(summand.__all__) - makers if name.islower() and name[0] != "_"]
    verbs = [make_survey if one is summand.survey else one for one in verbs if one is not summand.scenes]
    assert len(verbs) >= 18
    for one in verbs:
        assert inspect.signature(one).parameters["progress"].default is None, one.__name__


@pytest.mark.parametrize(
    "verb",
    [
        pytest.param(
            lambda model, **how: summand.shift("scenes:count=8,seed=1", "scenes:count=8,seed=2", model, **how),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            lambda model, **how: summand.segment(model, "scenes:count=4", methods="decomposition", **how),
            marks=pytest.mark.slow,
        ),
        lambda model, **how: summand.registers(model, "scenes:count=4", **how),
    ],
)
def test_a_verb_says_how_far_it_is_or_nothing(verb, vit, monkeypatch, capsys):
    monkeypatch.setattr(progress, "EVERY", -1.0)  # at every step
    monkeypatch.setattr("summand.survey.cache.QUICK", -1.0)
    verb(vit, progress=False)
    assert capsys.readouterr().err == ""
    verb(vit)
    assert re.search(r"\d of \d+ (images|pictures), ", capsys.readouterr().err)
    assert is_shown(None)  # a verb leaves things as they were
