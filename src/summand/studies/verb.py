"""A verb: one function with one frozen dataclass of options, given whole or by their names."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass, replace
from functools import cache, wraps
from math import isinf
from numbers import Integral, Real
from typing import Any, TypeVar

from ..arguments import names_wrong_arguments
from ..errors import OptionError as OptionError
from ..errors import SummandError, nearest
from ..models import Model
from ..progress import hushed

Found = TypeVar("Found")


class Unfinished(SummandError):
    """What stopped a verb half-way. result: what it had found, which the command line saves before it says why."""

    def __init__(self, message: str, result: Any) -> None:
        super().__init__(message)
        self.result = result


def one_of(option: str, value: Any, known: Any) -> None:
    """Raises `OptionError` unless the value is one of those that are known."""
    names = [str(name) for name in known]
    if value not in names:
        raise OptionError(option, f"must be one of {', '.join(names)}; got {value!r}{nearest(str(value), names)}")


def at_least(option: str, value: float | None, least: float) -> None:
    """Raises `OptionError` for a number below `least`, and for what is none; None may be left out."""
    _check_number(option, value)
    if value is not None and not value >= least:  # NaN is not
        raise OptionError(option, f"must be at least {least}, got {value}")


def between(option: str, value: float | None, least: float, most: float) -> None:
    """Raises `OptionError` for a number outside, and for what is none; None may be left out."""
    _check_number(option, value)
    if value is not None and not least <= value <= most:
        raise OptionError(option, f"must be from {least} to {most}, got {value}")


def _check_number(option: str, value: Any) -> None:
    if value is not None and not isinstance(value, Real):
        raise OptionError(option, f"must be a number, got {value!r}")
    if value is not None and isinf(value):
        raise OptionError(option, f"must be a finite number, got {value!r}")


def verb(options: type[Any]) -> Callable[[Callable[..., Found]], Callable[..., Found]]:
    """Give a function that takes `options` these as one object or each by its name, and `progress`: False says nothing
    of how far it is; by default a bar on a terminal, else a line a minute in a log.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Options:
    ...     top: int = 3
    >>> @verb(Options)
    ... def first(model, *, options):
    ...     return model[: options.top]
    >>> first("abcdef"), first("abcdef", top=2), first("abcdef", options=Options(4), top=1)
    ('abc', 'ab', 'a')
    >>> str(inspect.signature(first))
    '(model, *, options: Options | None = None, progress: bool | None = None, top: int = 3)'
    """
    names = {field.name for field in fields(options)}

    def decorate(function: Callable[..., Found]) -> Callable[..., Found]:
        @wraps(function)
        def called(*inputs: Any, options: Any = None, progress: bool | None = None, **given: Any) -> Found:
            chosen = {name: given.pop(name) for name in list(given) if name in names}
            _check_known(function, given, names)
            made = _made(kind, options, chosen)
            _check_inputs(inspect.signature(function), inputs, given)
            with hushed(progress):
                return function(*inputs, options=made, **given)

        called.__dict__["__signature__"] = _signature(function, kind)
        return names_wrong_arguments(options=kind)(called)

    kind = options
    return decorate


def _made(kind: type[Any], options: Any, chosen: dict[str, Any]) -> Any:
    if options is None:
        return kind(**chosen)
    if not isinstance(options, kind):
        raise SummandError(f"options must be {kind.__name__}, got {type(options).__name__}")
    return replace(options, **chosen) if chosen else options


def _check_known(function: Callable[..., Any], given: dict[str, Any], names: set[str]) -> None:
    inputs = set(inspect.signature(function).parameters) - {"options"}
    wrong = next((name for name in given if name not in inputs), None)
    if wrong is not None:
        known = sorted(names | inputs | {"progress"})
        raise SummandError(
            f"{function.__name__} has no option {wrong!r}{nearest(wrong, known)} (there are {', '.join(known)})"
        )


def _check_inputs(signature: inspect.Signature, inputs: Sequence[Any], given: dict[str, Any]) -> None:
    """Raises for what no verb takes: something else where a model belongs, and batches of no images."""
    named = dict(zip(signature.parameters, inputs, strict=False)) | given
    for name, value in named.items():
        if str(signature.parameters[name].annotation) == "Model" and not isinstance(value, Model):
            said = f"the {type(value).__name__} {value!r}" if isinstance(value, str) else type(value).__name__
            raise SummandError(
                f"{name} must be a model, such as summand.load(NAME) or summand.wrap(CLIP) gives; got {said[:100]}"
            )
    if "batch_size" in named and not (isinstance(size := named["batch_size"], Integral) and int(size) >= 1):
        raise OptionError("batch_size", f"must be a whole number of at least 1, got {size!r}")


def _signature(function: Callable[..., Any], kind: type[Any]) -> inspect.Signature:
    """Its inputs, then its options by name, as `help` and editors show them."""
    own = [one for one in inspect.signature(function).parameters.values() if one.name != "options"]
    keyword, none = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.empty
    whole = inspect.Parameter("options", keyword, default=None, annotation=_Text(f"{kind.__name__} | None"))
    progress = inspect.Parameter("progress", keyword, default=None, annotation=_Text("bool | None"))
    each = [
        inspect.Parameter(field.name, keyword, default=_default(field, none), annotation=_Text(str(field.type)))
        for field in fields(kind)
    ]
    return inspect.Signature([*[one for one in own if one.kind != keyword], whole,
                              *[one for one in own if one.kind == keyword], progress, *each])  # fmt: skip


class _Text(str):
    """An annotation that is shown without quotes."""

    def __repr__(self) -> str:
        return str(self)


def _default(field: Field[Any], none: Any) -> Any:
    return none if field.default is MISSING else field.default


@cache
def said(kind: type[Any]) -> dict[str, str]:
    """Field → the string that stands below it, of a dataclass and those it inherits from."""
    found: dict[str, str] = {}
    for each in reversed(kind.__mro__):
        if not is_dataclass(each):
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(each))).body[0]
        assert isinstance(body, ast.ClassDef)
        for above, below in zip(body.body, body.body[1:], strict=False):
            text = ast.get_docstring(ast.Module([below], []))
            if text is not None and isinstance(above, ast.AnnAssign) and isinstance(above.target, ast.Name):
                found[above.target.id] = text.replace("\n", " ")
    return found
