"""The shape annotations of the package, checked while the tests run: every function's first calls in each test.

jaxtyping's own import hook wraps all functions at all of their calls, also those that hold no shape, and more than half
of the time of the tests went there. Here a function with a shape in its signature is wrapped when it is first called,
and the calls after the first `CALLS` of a test, which mostly repeat them, go straight to it.
"""

from __future__ import annotations

import ast
import functools
import re
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType
from typing import Any, TypeVar

CALLS = 8
F = TypeVar("F", bound=Callable[..., Any])
_shapes = {"Float", "Int", "Bool"}  # and the names that the package gives to a shape, as they are met
_MARK = "__shapes_checked__"


class _Now:
    test = 0


def next_test() -> None:
    """From here on the first calls of every function are checked again."""
    _Now.test += 1


def checked(function: F) -> F:
    """The function, with the shapes of its first calls in each test checked."""
    test, left = -1, 0
    strict: Callable[..., Any] | None = None

    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        nonlocal test, left, strict
        if test != _Now.test:
            test, left = _Now.test, CALLS
        if not left:
            return function(*args, **kwargs)
        left -= 1
        if strict is None:
            strict = _strict(function)
        return strict(*args, **kwargs)

    return called  # type: ignore[return-value]


def _strict(function: Callable[..., Any]) -> Callable[..., Any]:
    from beartype import BeartypeConf, beartype
    from jaxtyping import jaxtyped

    typed = beartype(conf=BeartypeConf(is_pep484_tower=True))  # ints count as floats, as in type hints
    return jaxtyped(typechecker=typed)(function)


def _checked_anywhere(made: Any) -> Any:
    """A function, or a class whose fields have shapes, which its constructor gets."""
    if not isinstance(made, type):
        return checked(made)
    if "__init__" in vars(made):
        made.__init__ = checked(made.__init__)  # type: ignore[misc]
    return made


def _holds_shape(text: str) -> bool:
    return not _shapes.isdisjoint(re.findall(r"\w+", text))


class _Marked(ast.NodeTransformer):
    """Every function with a shape in its signature gets the checker, and every class with one in its fields."""

    def visit_Module(self, node: ast.Module) -> ast.Module:
        for line in node.body:
            if isinstance(line, ast.Assign) and isinstance(line.value, ast.Subscript) and _shaped(line.value):
                _shapes.update(name.id for name in line.targets if isinstance(name, ast.Name))
        self.generic_visit(node)
        future = [
            i for i, line in enumerate(node.body) if isinstance(line, ast.ImportFrom) and line.module == "__future__"
        ]
        node.body.insert(
            max(future, default=-1) + 1, ast.parse(f"from {__name__} import _checked_anywhere as {_MARK}").body[0]
        )
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        self.generic_visit(node)
        names = node.args
        every = [*names.posonlyargs, *names.args, *names.kwonlyargs, names.vararg, names.kwarg]
        if _shaped(*(name.annotation for name in every if name is not None), node.returns):
            node.decorator_list.append(ast.copy_location(ast.Name(_MARK, ast.Load()), node))
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        self.generic_visit(node)
        if _shaped(*(line.annotation for line in node.body if isinstance(line, ast.AnnAssign))):
            node.decorator_list.insert(0, ast.copy_location(ast.Name(_MARK, ast.Load()), node))
        return node


def _shaped(*annotations: ast.expr | None) -> bool:
    return any(_holds_shape(ast.unparse(one)) for one in annotations if one is not None)


class _Loader(SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType | None:
        path = self.get_filename(fullname)
        source = self.get_data(path).decode()
        if not _holds_shape(source):
            return super().get_code(fullname)
        tree = ast.fix_missing_locations(_Marked().visit(ast.parse(source)))
        return compile(tree, path, "exec", dont_inherit=True)


class _Finder(MetaPathFinder):
    def __init__(self, package: str) -> None:
        self.package = package

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] != self.package:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


def install(package: str) -> None:
    """Check the shapes of a package that is not imported yet."""
    assert package not in sys.modules, f"{package} is imported already: its functions can no longer be wrapped"
    sys.meta_path.insert(0, _Finder(package))
