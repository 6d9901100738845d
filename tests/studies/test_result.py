"""What verbs return: rows as they were found, and the same as JSON, files and pages."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import summand
from summand.report.terminal import drawn
from summand.studies.columns import Column, Table
from summand.studies.result import Result
from summand.studies.verb import OptionError, at_least, between, one_of, verb


@dataclass(frozen=True)
class Options:
    top: int = 3
    where: Path = Path("a")


def made(**more: object) -> Result:
    rows = [
        {"unit": "9:2914", "value": np.float32(0.5), "words": "<b>bold</b>"},
        {"unit": "9:3", "value": np.nan, "words": None},
    ]
    return Result(rows, Options(), model="m", data="d", **more)  # type: ignore[arg-type]


def test_json_holds_plain_numbers_and_nothing_that_json_does_not_know():
    found = json.loads(made(extra={"a": np.arange(2), "b": [np.nan, np.inf]}).to_json(), parse_constant=pytest.fail)
    assert found["options"] == {"top": 3, "where": "a"}
    assert found["rows"][0] == {"unit": "9:2914", "value": 0.5, "words": "<b>bold</b>"}
    assert found["rows"][1]["value"] is None
    assert found["extra"] == {"a": [0, 1], "b": [None, None]}


def test_a_page_shows_text_as_text():
    page = made(notes=["1 < 2"])._repr_html_()
    assert "&lt;b&gt;bold" in page
    assert "1 &lt; 2" in page
    assert "<b>bold" not in page


def test_findings_are_attributes():
    assert made(baseline=0.5).baseline == 0.5
    with pytest.raises(AttributeError, match="no attribute 'basline'"):
        made(baseline=0.5).basline


@pytest.mark.parametrize("width", [60, 80, 120])
def test_ids_and_numbers_never_wrap_and_words_are_never_cut(width):
    from rich.console import Console

    said = "a very long description of what is seen in it " * 3
    rows = pd.DataFrame(
        [{"unit": f"10:{1000 + i}", "words": said, "value": -0.123456 * i, "more": said} for i in range(3)]
    )
    columns = [
        Column("unit", kind="id"),
        Column("words", kind="words"),
        Column("value", form="+.3f"),
        Column("more", kind="words"),
    ]
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(drawn(Table(rows, columns)))
    text = console.export_text()
    for i in range(3):
        assert f"10:{1000 + i}" in text
    assert "−0.247" in text
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width


def test_a_verb_takes_options_whole_or_by_name():
    @verb(Options)
    def first(model: str, *, options: Options) -> str:
        return model[: options.top]

    assert first("abcdef") == "abc"
    assert first("abcdef", options=Options(top=5), top=1) == "a"
    with pytest.raises(summand.SummandError, match="first has no option 'tpo', did you mean 'top'"):
        first("abcdef", tpo=1)
    with pytest.raises(summand.SummandError, match="options must be Options, got int"):
        first("abcdef", options=3)


def test_wrong_values_name_their_option():
    for check in (
        lambda: one_of("shape", "sgined", ("signed", "root")),
        lambda: at_least("top", 0, 1),
        lambda: between("share", float("nan"), 0, 1),
        lambda: at_least("top", "3", 1),  # type: ignore[arg-type]
        lambda: between("share", [0.5], 0, 1),  # type: ignore[arg-type]
    ):
        with pytest.raises(OptionError) as found:
            check()
        assert str(found.value).startswith(found.value.option)
