"""What a terminal is shown: bars as bars, and what stands in file names and texts as it stands there."""

from __future__ import annotations

import io
from contextlib import redirect_stdout

import pandas as pd
import pytest
from PIL import Image

from summand.report.terminal import show
from summand.studies.columns import Column, Table
from summand.studies.result import Result
from tests.commands import command


class Shown(Result):
    def tables(self) -> list[Table]:
        columns = (Column("word", kind="id"), Column("adds", kind="bar"))
        return [Table(self.rows, columns, "[b]words[/b]"), Table(pd.DataFrame(), (), "[red]only a line[/red]")]


def test_bars_are_drawn_and_markup_of_others_is_text():
    out = io.StringIO()
    with redirect_stdout(out):
        show(Shown(pd.DataFrame({"word": ["[red]x[/red]", "y"], "adds": [1.0, -0.5]}), None), {})
    lines = out.getvalue().splitlines()
    assert "[b]words[/b]" in lines[0]
    (first,) = [line for line in lines if "[red]x[/red]" in line]
    assert first.split("│")[2:4] == [" " * 13, "████████████ "]
    (second,) = [line for line in lines if line.startswith("│ y")]
    assert second.split("│")[2].strip() == "██████"
    assert lines[-1] == "[red]only a line[/red]"
    assert "\\" not in out.getvalue()


@pytest.mark.usefixtures("unchecked")
def test_one_scene_is_a_picture_of_its_own(tmp_path):
    text = "a red star on the left and a blue ring on the right"
    for count, size in ((1, (64, 64)), (2, (268, 136))):
        found = command("scenes", "--text", text, "--count", count, "--out", tmp_path / f"{count}.png")
        assert found.code == 0, found.error
        assert Image.open(tmp_path / f"{count}.png").size == size
    asked = command("heatmap", tmp_path / "1.png", "a red star", "--out", tmp_path / "map.png")
    assert asked.code == 0
    assert "WARNING" not in asked.error
