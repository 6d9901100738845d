"""The package as a whole: its public names, its examples, its documentation."""

from __future__ import annotations

import doctest
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from summand import scenes

DOCS = Path(__file__).parents[2] / "docs"
SCENES_ALONE = """
import sys, types
parent = types.ModuleType("summand")  # in place of the package, whose __init__ imports the models
parent.__path__ = [{path!r}]
sys.modules["summand"] = parent
import summand.scenes as scenes
scenes.sample(1, 0)
assert "torch" not in sys.modules
"""


def test_the_public_names():
    names = "sample counterfactuals render draw_causes describe prompts captions parse vocabulary attribute_of"
    names += " contact_sheet write_folder parse_source Causes Chance Scenes Tie Shift ATTRIBUTES GROUP_ATTRIBUTES"
    assert set(names.split()) <= set(scenes.__all__)
    assert all(hasattr(scenes, name) for name in scenes.__all__)


def test_functions_win_over_the_modules_they_live_in():
    from summand.scenes.captions import Captions

    importlib.import_module("summand.scenes.captions")
    assert callable(scenes.captions)
    assert callable(scenes.render)
    assert callable(scenes.describe)
    assert isinstance(scenes.captions(scenes.draw_causes(1, 0), 0), Captions)


@pytest.mark.slow
def test_scenes_alone_do_not_import_torch():
    code = SCENES_ALONE.format(path=str(Path(scenes.__file__).parents[1]))
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", ["", ".describe", ".source"])
def test_examples_in_docstrings(name: str):
    result = doctest.testmod(importlib.import_module(f"summand.scenes{name}"))
    assert result.attempted
    assert not result.failed


@pytest.mark.slow
def test_the_documentation_runs_and_draws_its_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    text = (DOCS / "scenes.md").read_text(encoding="utf-8")
    (tmp_path / "docs" / "images").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for block in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL):
        exec(compile(block, "scenes.md", "exec"), names)
    shown = re.findall(r"\]\((images/[^)]+)\)", text)
    assert len(shown) >= 3
    for picture in shown:
        drawn, kept = tmp_path / "docs" / picture, DOCS / picture
        assert Image.open(drawn).size == Image.open(kept).size


def test_the_documentation_lists_every_value():
    text = (DOCS / "scenes.md").read_text(encoding="utf-8")
    for attribute, values in scenes.ATTRIBUTES.items():
        row = next(line for line in text.splitlines() if line.startswith(f"| {attribute} "))
        words = [str(value) for value in values]
        assert [word for word in re.findall(r"\w+", row.split("|")[2]) if word in words] == words
