"""Some hundred damaged files for every reader; `benchmarks/fuzz.py` takes as many as one likes."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

import summand

PLACE = Path(__file__).parents[1] / "benchmarks" / "fuzz.py"


@pytest.fixture(scope="module")
def fuzz():
    made = importlib.util.spec_from_file_location("fuzz", PLACE)
    assert made is not None
    module = importlib.util.module_from_spec(made)
    import sys

    sys.modules["fuzz"] = module
    made.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_nothing_but_our_own_errors(fuzz, unchecked):
    state = fuzz.run(seconds=600, inputs=40, state={})
    assert {name: at["faults"] for name, at in state.items() if at["faults"]} == {}
    assert set(state) >= {"images", "tables", "zip", "tar", "manifest", "checkpoint", "labels", "references", "edits"}
    assert all(at["next"] == 40 for at in state.values())
    assert all(at["counts"].get("refused", 0) > 3 for at in state.values())


def test_an_exception_of_another_kind_is_found(fuzz, tmp_path):
    def read(path: Path) -> None:
        raise IndexError("no such thing")

    what, said = fuzz.one(fuzz.Target({"a.bin": b"abc"}, read), "x", 0, tmp_path)
    assert what == "fault"
    assert "IndexError" in said

    def refuse(path: Path) -> None:
        raise summand.SummandError("no")

    assert fuzz.one(fuzz.Target({"a.bin": b"abc"}, refuse), "x", 0, tmp_path)[0] == "refused"
