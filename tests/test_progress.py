from __future__ import annotations

import re

from summand import progress
from summand.progress import Progress


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
