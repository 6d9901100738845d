"""The scripts beside the gallery and the explanations draw their pictures, with few scenes in the place of many."""

from __future__ import annotations

import importlib.util
import inspect

import pytest
from PIL import Image

from tests.pages import ROOT

SCRIPTS = sorted([*(ROOT / "docs" / "gallery").glob("*.py"), *(ROOT / "docs" / "explanation").glob("*.py")])
FEWER = {"count": 120, "neurons": 4}  # a shift of fewer pictures than this is refused or means nothing


def drawn(script):
    """The `main` of a script, which draws its one picture in the place that it is given."""
    spec = importlib.util.spec_from_file_location(f"drawn_{script.stem}", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_it_draws_the_picture_that_it_says(script):
    place = inspect.signature(drawn(script)).parameters["out"].default
    assert (ROOT / place).is_file(), f"python {script.relative_to(ROOT)}"


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_it_draws(script, tmp_path):
    main = drawn(script)
    asked = inspect.signature(main).parameters
    main(tmp_path / "picture.png", **{name: value for name, value in FEWER.items() if name in asked})
    with Image.open(tmp_path / "picture.png") as picture:
        assert min(picture.size) > 100
        assert len(set(picture.convert("L").resize((40, 40)).tobytes())) > 10  # something is on it
