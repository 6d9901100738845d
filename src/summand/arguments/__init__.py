"""Errors from deep inside, said of the argument that they are about."""

from __future__ import annotations

import inspect
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from functools import cache, partial, wraps
from pathlib import Path
from types import CodeType, FrameType, TracebackType
from typing import Any, ParamSpec, TypeVar, get_type_hints, overload

from ..errors import OptionError, SummandError
from ..surroundings import is_out_of_memory
from .causes import refusal
from .kinds import misfit
from .reading import trouble
from .words import expected, got

__all__ = ["names_wrong_arguments"]

P = ParamSpec("P")
Found = TypeVar("Found")
Kind = TypeVar("Kind", bound=Callable[..., Any])
_CALLED = ("__init__", "__getitem__")  # methods that users call without these names
_HOME = Path(__file__).parents[1]
_SHELL = _HOME / "cli"


@overload
def names_wrong_arguments(made: Kind, /) -> Kind: ...
@overload
def names_wrong_arguments(*, options: type[Any]) -> Callable[[Kind], Kind]: ...
def names_wrong_arguments(made: Any = None, /, *, options: type[Any] | None = None) -> Any:
    """The function, or the class with its public methods; an error of Python or of a library that comes out of it is
    said of the arguments that are not what their annotations ask for, if there are such.

    Nothing is looked at before it fails, so that nothing that works is refused. The error is left as it is where every
    argument fits, where it came out of code of the caller's (a callable, a Dataset), or where this library was itself
    the caller. options: a dataclass whose fields are arguments by name as well.

    >>> @names_wrong_arguments
    ... def first(count: int, of: str = "abc") -> str:
    ...     return of[:count]
    >>> first(2), first(None)
    ('ab', 'abc')
    >>> first(2.5)
    Traceback (most recent call last):
    summand.errors.OptionError: first: `count` must be a whole number, got 2.5 (float)
    """
    if made is None:
        return partial(_decorated, options=options)
    return _decorated(made, options)


def _decorated(made: Any, options: type[Any] | None) -> Any:
    if not isinstance(made, type):
        return _function(made, options)
    for name, own in list(vars(made).items()):
        if isinstance(own, (classmethod, staticmethod)) and not name.startswith("_"):
            setattr(made, name, type(own)(_function(own.__func__, options)))
        elif inspect.isfunction(own) and (not name.startswith("_") or (name in _CALLED and not is_dataclass(made))):
            setattr(made, name, _function(own, options))
    return made


def _function(function: Callable[P, Found], options: type[Any] | None) -> Callable[P, Found]:
    @wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> Found:
        try:
            return function(*args, **kwargs)
        except (SummandError, Warning):
            raise
        except Exception as error:
            said = None if _is_let_through(error, function) else _said(function, options, args, kwargs, error)
            if said is None:
                raise
            raise said from error

    return called


def _is_let_through(error: Exception, function: Callable[..., Any]) -> bool:
    """Whether it says nothing of the arguments of the caller."""
    trace = error.__traceback__
    assert trace is not None
    above = trace.tb_frame.f_back
    by_us = above is not None and _is_ours(above.f_code) and not Path(above.f_code.co_filename).is_relative_to(_SHELL)
    return by_us or is_out_of_memory(error) or _is_of_callers_code(trace, inspect.unwrap(function))


def _is_ours(code: CodeType) -> bool:
    return Path(code.co_filename).is_relative_to(_HOME)


def _is_of_callers_code(trace: TracebackType, function: Callable[..., Any]) -> bool:
    """Whether it was raised in code that is neither ours nor a library's, or in a library that such code called."""
    for code in reversed([frame.f_code for frame in _frames(trace)]):
        if _is_ours(code) or code is function.__code__:
            return False
        file = code.co_filename
        if (
            not file.startswith("<")
            and not file.endswith(".pyx")
            and not any(Path(file).is_relative_to(folder) for folder in _libraries())
        ):
            return True
    return False


@cache
def _libraries() -> tuple[Path, ...]:
    return tuple(Path(sysconfig.get_path(kind)) for kind in ("stdlib", "platstdlib", "purelib", "platlib"))


def _frames(trace: TracebackType | None) -> Iterator[FrameType]:
    while trace is not None:
        yield trace.tb_frame
        trace = trace.tb_next


def _said(
    function: Callable[..., Any],
    options: type[Any] | None,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    error: Exception,
) -> SummandError | None:
    """What is wrong with the arguments; None where nothing is, and where Python itself could not give them out."""
    try:
        given = inspect.signature(function).bind(*args, **kwargs).arguments
    except TypeError:
        return None
    each = dict(_each(given, inspect.signature(function).parameters))
    hints = _hints(function, options)
    wrong = {name: said for name, value in each.items() if (said := _trouble(value, hints.get(name, Any)))}
    wrong = wrong or {name: said for name, value in each.items() if (said := refusal(value, error))}
    if not wrong:
        return None
    (name, said), *more = wrong.items()
    return OptionError(name, "; ".join([said, *(f"`{other}` {said}" for other, said in more)]), _called(function, args))


def _each(given: Mapping[str, Any], parameters: Mapping[str, inspect.Parameter]) -> Iterator[tuple[str, Any]]:
    """Every argument by its name: those that have no parameter of their own, and those within `options`, as well."""
    for name, value in given.items():
        if parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
            yield from value.items()
        elif name == "options" and is_dataclass(value):
            yield from ((field.name, getattr(value, field.name)) for field in fields(value))
        else:
            yield name, value


def _trouble(value: Any, hint: Any) -> str:
    """What is wrong with it, the rest of a sentence; empty where nothing is for certain."""
    if misfit(value, hint):
        return f"must be {expected(hint)}, got {got(value)}"
    return f"cannot be used, got {got(value)}" if trouble(value) else ""


def _called(function: Callable[..., Any], args: tuple[Any, ...]) -> str:
    """What its users call it: a method by the class of what it was called on, a function by its public name."""
    name, plain = function.__qualname__.rpartition("<locals>.")[2], inspect.unwrap(function)
    of: Any = next((one if isinstance(one, type) else type(one) for one in args[:1]), object)
    if "." in name and hasattr(of, function.__name__) and inspect.unwrap(getattr(of, function.__name__)) is plain:
        name = f"{of.__name__}.{function.__name__}"
    package = sys.modules["summand"]
    if function.__module__.startswith("summand.scenes."):
        return f"summand.scenes.{name}"
    made = {each: vars(package).get(each) for each in package.__all__}
    name = next((each for each, one in made.items() if inspect.isfunction(one) and inspect.unwrap(one) is plain), name)
    name = name.removesuffix(".__init__").replace(".__getitem__", "[…]")
    return f"summand.{name}" if name.partition(".")[0].removesuffix("[…]") in package.__all__ else name


@cache
def _hints(of: Callable[..., Any], options: type[Any] | None) -> dict[str, Any]:
    """Annotations by the names of parameters, or of fields; without those that name what is imported for a type checker
    alone."""
    found: dict[str, Any] = {} if options is None else dict(_hints(options, None))
    for each in reversed(of.__mro__) if isinstance(of, type) else [of]:  # fields are inherited
        for name, said in inspect.get_annotations(each).items():
            one = type("One", (), {"__annotations__": {name: said}})
            with suppress(NameError, AttributeError, TypeError):
                found[name] = get_type_hints(one, vars(sys.modules[each.__module__]), include_extras=True)[name]
    return found
