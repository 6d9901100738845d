"""An error from deep inside names the argument that it is about, and nothing that works is refused."""

from __future__ import annotations

import inspect
import os
import pickle
import re
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Float
from torch import Tensor

import summand
from summand import SummandError
from summand.arguments import names_wrong_arguments
from summand.errors import SummandWarning
from summand.studies.verb import OptionError, verb

X = torch.zeros(1, 3, 64, 64)


class Broken(Exception):
    pass


class Unshown:
    def __repr__(self) -> str:
        raise Broken("repr")


def failing(hint: Any) -> Callable[..., Any]:
    """A function of one argument of this kind, which fails whatever comes."""

    def fails(value, *, other: int = 0):
        raise Broken("deep inside")

    fails.__annotations__["value"] = hint
    return names_wrong_arguments(fails)


@names_wrong_arguments
def half(count: int, of: Sequence[Any] = "abcd", *, path: str | Path | None = None) -> Any:
    """The first half."""
    return of[: count // 2]


ANYTHING = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.complex_numbers()),
    *(st.lists(st.integers()), st.dictionaries(st.text(), st.integers()), st.builds(object)),
)


@given(ANYTHING, ANYTHING)
def test_what_the_function_gives_is_given_whatever_it_was_annotated_with(value, other):
    @names_wrong_arguments
    def gives(count: int, path: str = "") -> Any:
        return count, path

    back = gives(value, path=other)
    assert back[0] is value
    assert back[1] is other


@pytest.mark.parametrize(
    ("hint", "fit", "unfit"),
    [
        (
            int,
            [3, np.int64(3), torch.tensor(3), -(2**60)],
            [True, np.array(3), 2.5, "3", None, [3], 10**30, float("nan")],
        ),
        (float, [3, 2.5, np.float32(1), torch.tensor(1.0)], ["2.5", None, float("nan"), float("inf"), 1j, [1.0]]),
        (str, ["", "a", "ü"], [3, None, b"a", ["a"], Path("a"), "a\0b", "a\ud800b"]),
        (bool, [True, False, np.bool_(True), 1], ["yes", None, 2.5, []]),
        (str | Path | None, ["a", Path("a"), None], [3, b"a", ["a"], "a\0b", Path("a\0b")]),
        (str | os.PathLike[str], ["a", Path("a")], [3, None, b"a"]),
        (Literal["own", "clip"], ["own", "clip"], ["none", None, 1, ["own"]]),
        (Sequence[int] | None, [[1, 2], (), range(3), np.arange(3), None], [3, "12", [1.5], ["a"], {"a": 1}]),
        (str | Sequence[str] | None, ["a", ["a", "b"], ("a",), None], [3, [3], [None], ["a", 3]]),
        (tuple[int, int], [(1, 2), [1, 2], np.arange(2)], [(1, 2, 3), (1, "a"), 3, "ab"]),
        (Mapping[str, int], [{}, {"a": 1}], [[], "a", 3, None]),
        (Callable[..., Any] | None, [print, None, np.zeros], [3, "print", []]),
        (torch.nn.Module, [torch.nn.Linear(2, 2)], ["a", None, torch.nn.Linear]),
        (
            Float[Tensor, "image embed"],
            [torch.zeros(2, 3), torch.zeros(2, 3, dtype=torch.float64), torch.zeros(9, 1, dtype=torch.float16)],
            [torch.zeros(2), torch.zeros(2, 3, dtype=torch.int64), np.zeros((2, 3)), [[1.0]], None, 3],
        ),
        (Float[Tensor, "image *unit embed"], [torch.zeros(2, 3), torch.zeros(1, 2, 3, 4)], [np.zeros((2, 3)), "a"]),
        (Any, [3, None, "a", object(), [None]], ["a\0b"]),
        (int | None, [3, None], [pd.DataFrame({"a": range(99)}), Unshown(), "x" * 5000, range(10**6), b"x" * 999]),
        ("NothingOfThisName", [3, None, object()], []),
    ],
)
def test_what_may_fit_is_never_named_and_what_cannot_fit_is(hint, fit, unfit):
    for value in fit:
        with pytest.raises(Broken, match=r"^deep inside$"):
            failing(hint)(value)
    for value in unfit:
        with pytest.raises(SummandError, match=r"fails: `value` (must be|cannot be used).*, got ") as said:
            failing(hint)(value)
        assert isinstance(said.value.__cause__, Broken)
        assert len(str(said.value)) < 200


def test_expected_and_got_are_said():
    said = {
        3: "half: `path` must be text, a path or None, got 3 (int)",
        "a\0b": r"half: `path` must be text, a path or None, got 'a\x00b' (str), which holds the character NUL",
    }
    for path, message in said.items():
        with pytest.raises(SummandError) as found:
            half(2, 5, path=path)
        assert str(found.value).endswith(message.partition(": ")[2])
        assert "`of` must be a list" in str(found.value)
        assert "`count`" not in str(found.value)


def test_signatures_names_and_pickling_are_kept():
    assert str(inspect.signature(half)).startswith("(count: 'int', of: 'Sequence[Any]' = 'abcd', *, path:")
    assert (half.__name__, half.__doc__, half.__module__) == ("half", "The first half.", __name__)
    assert pickle.loads(pickle.dumps(half)) is half
    assert str(inspect.signature(summand.open)) == "(path: 'str | Path', model: 'Model | None' = None) -> 'Survey'"
    assert str(inspect.signature(summand.survey)).startswith("(model: 'Model', images: 'Any', *, units: ")
    error = OptionError("a", "must be 1", "f")
    assert vars(pickle.loads(pickle.dumps(error))) == vars(error)


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory"), KeyboardInterrupt(),
                                   SummandWarning("said"), SummandError("said"), GeneratorExit()])  # fmt: skip
def test_what_is_about_no_argument_comes_as_it_was(error):
    @names_wrong_arguments
    def fails(count: int) -> None:
        raise error

    with pytest.raises(type(error)) as found:
        fails("a")
    assert found.value is error


def test_errors_of_the_callers_own_code_are_his():
    @names_wrong_arguments
    def calls(work: Callable[..., Any], count: int) -> Any:
        return [*map(work, [1, 2])]

    def own(_: int) -> Any:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        calls(own, "no number")
    with pytest.raises(SummandError, match=r"`work` must be a function.*; `count` must be a whole number"):
        calls(3, "no number")


def test_python_says_itself_which_arguments_there_are():
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'count'"):
        half()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unexpected keyword argument 'cuont'"):
        half(cuont="a")  # type: ignore[call-arg]


def test_options_are_arguments_by_their_names_and_whole():
    @dataclass(frozen=True)
    class Base:
        epochs: int = 1

    @dataclass(frozen=True)
    class Options(Base):
        rate: float = 1.0

    @verb(Options)
    def trains(model: Any, *, options: Options) -> Any:
        return [options.epochs // 2, options.rate**2]

    for call in (lambda: trains(0, epochs="a"), lambda: trains(0, options=Options("a"))):
        with pytest.raises(OptionError, match="`epochs` must be a whole number, got 'a'") as said:
            call()
        assert (said.value.option, said.value.rest[:22]) == ("epochs", "must be a whole number")
    assert trains(0, epochs=3, rate=3) == [1, 9]


@pytest.mark.usefixtures("unchecked")
def test_the_function_that_was_called_is_named_and_no_inner_one():
    source = """
@names_wrong_arguments
def inner(count: int) -> int:
    return count // 2

@names_wrong_arguments
def outer(size: str | int, of: str = "") -> int:
    return inner(size)
"""
    made = {"names_wrong_arguments": names_wrong_arguments, "__name__": "summand.unit"}
    exec(compile(source, str(Path(summand.__file__).parent / "made.py"), "exec"), made)
    with pytest.raises(SummandError, match=r"^inner: `count` must be a whole number, got 'a' \(str\)$"):
        made["inner"]("a")
    with pytest.raises(TypeError):
        made["outer"]("a")  # what it may be given, and it gave on
    with pytest.raises(SummandError, match=r"^outer: `of` must be text, got 3 \(int\)$"):
        made["outer"]("a", 3)
    with pytest.raises(SummandError, match=r"^summand\.open: `path` must be text or a path, got 3 \(int\)$") as said:
        summand.open(3)
    assert isinstance(said.value.__cause__, TypeError)
    with pytest.raises(SummandError, match=r"^summand\.open: `path` is in the home of a user"):
        summand.open("~nobody-of-this-name/run")


@pytest.mark.usefixtures("unchecked")
def test_methods_are_named_by_what_they_were_called_on(vit):
    said = {
        "summand.Model.mean_activations: `batches`": lambda: vit.mean_activations(3, 1),
        "summand.Parts.tokens_toward: `layers`": lambda: vit.decompose(X).tokens_toward(torch.ones(1, 128), 3),
        "summand.survey: `units`": lambda: summand.survey(vit, "scenes:count=8", units=3),
        "summand.Monitor: `options`": lambda: summand.Monitor("scenes:count=8", vit, options=3),
        "summand.scenes.sample: `count`": lambda: summand.scenes.sample(2.5, 1),
        "Words.save: `place`": lambda: summand.words(vit, "a red star").save(3),
    }
    for start, call in said.items():
        with pytest.raises(SummandError, match=f"^{re.escape(start)} must be ") as found:
            call()
        assert type(found.value.__cause__) in (TypeError, AttributeError)


@pytest.mark.usefixtures("unchecked")
def test_a_path_that_the_system_refuses_is_named(tmp_path, vit):
    (tmp_path / "file").touch()
    found = summand.words(vit, "a red star")
    with pytest.raises(SummandError, match="file"):
        found.save(tmp_path / "file" / "inside")


def test_a_call_that_works_costs_next_to_nothing():
    """Counted, not timed: nothing of ours runs but the wrapper itself."""
    lines: list[str] = []

    def watch(frame, event, _):
        if event == "call":
            lines.append(frame.f_code.co_name)

    sys.setprofile(watch)
    try:
        half(2, "abcd")
    finally:
        sys.setprofile(None)
    assert lines == ["called", "half"]


def test_tracebacks_stay_short():
    with warnings.catch_warnings(), pytest.raises(SummandError) as found:
        half("a")
    ours = [entry for entry in found.traceback if "arguments" in str(entry.path)]
    assert len(ours) <= 2
