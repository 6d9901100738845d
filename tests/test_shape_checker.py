"""The run-time shape checker finds a wrong shape wherever the package may write one."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from jaxtyping import TypeCheckError

from summand.statistics.moments import Mean
from tests import shape_checker

SOURCE = '''
"""Something with shapes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

Row = Float[Tensor, " width"]


def product(a: Float[Tensor, "n k"], b: Float[Tensor, "k m"]) -> Float[Tensor, "n m"]:
    return a @ b


def wrong(a: Float[Tensor, "n k"]) -> Float[Tensor, "k n"]:
    return a


def named(row: Row) -> Row:
    return row


def plain(a: Tensor) -> int:
    return a


@dataclass(frozen=True)
class Table:
    rows: Int[Tensor, "row"]
    values: Float[Tensor, "row column"]

    @property
    def turned(self) -> Float[Tensor, "row column"]:
        return self.values[None]

    @classmethod
    def of(cls, values: Float[Tensor, "row column"]) -> Table:
        return cls(torch.arange(len(values)), values)


def inner() -> Callable[[Tensor], Tensor]:
    @torch.no_grad()
    def square(a: Float[Tensor, "n n"]) -> Float[Tensor, "n n"]:
        return a

    return square
'''


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    (tmp_path / "shapes_of_a_test.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.delitem(sys.modules, "shapes_of_a_test", raising=False)
    shape_checker.install("shapes_of_a_test")
    import shapes_of_a_test  # type: ignore[import-not-found]

    return shapes_of_a_test


def test_a_wrong_shape_is_caught_wherever_it_is_written(package: ModuleType) -> None:
    matrix, row = torch.zeros(2, 3), torch.zeros(3)
    table = package.Table.of(matrix)
    for call in (
        lambda: package.product(matrix, matrix),
        lambda: package.wrong(matrix),
        lambda: package.named(matrix),
        lambda: package.Table(torch.arange(3), matrix),
        lambda: package.Table(row, matrix),
        lambda: package.Table.of(row),
        lambda: table.turned,
        lambda: package.inner()(matrix),
    ):
        with pytest.raises(TypeCheckError):
            call()
    assert package.product(matrix, matrix.T).shape == (2, 2)
    assert package.named(row) is row


def test_the_first_calls_of_every_test_are_checked(package: ModuleType) -> None:
    matrix = torch.zeros(2, 3)
    for _ in range(2):
        shape_checker.next_test()
        for _ in range(shape_checker.CALLS):
            with pytest.raises(TypeCheckError):
                package.wrong(matrix)
        assert package.wrong(matrix) is matrix
    assert package.plain(matrix) is matrix  # no shape: left to the static checker


def test_the_package_itself_is_checked() -> None:
    with pytest.raises(TypeCheckError):
        Mean().update(torch.zeros(()))
    with pytest.raises(AssertionError, match="imported already"):
        shape_checker.install("summand")
