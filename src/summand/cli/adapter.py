"""From a function with dataclasses of options to a command: every field an option, documented where it stands."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from typing import Annotated, Any, get_type_hints

from cyclopts import Parameter

from ..errors import SummandError
from ..processes import workers
from ..studies.verb import OptionError, said
from .options import Show
from .showing import shown

SHORT = {"model": "-m", "pretrained": "-p", "images": "-i", "count": "-n", "out": "-o"}
"""Options that have a letter, the same in every command."""
Images = Annotated[str, Parameter(alias=SHORT["images"])]


@dataclass(frozen=True)
class Flattened:
    """An option of a command: which dataclass it is a field of, and its name there."""

    holder: str
    kind: type[Any]
    field: Field[Any]


def command(function: Callable[..., Any], positional: Sequence[str] = (), shows: bool = True) -> Callable[..., int]:
    """A function whose parameters may be dataclasses of options → a command with every field as an option.

    What a field is for is said by the string below it; the docstring of the options, or of the function where it has
    one, is the command's help, and says of the other arguments what they are, as numpydoc does. The options of `Show`
    are added, and the `Result` that the function returns is shown as they say. The command returns its exit code.
    positional: options that may be given without their names. shows: whether there is a result, and so options of it.
    """
    hints = get_type_hints(function, include_extras=True)
    parameters: list[inspect.Parameter] = []
    held: dict[str, Flattened] = {}
    holders: dict[str, type[Any]] = {}
    for one in inspect.signature(function).parameters.values():
        kind = hints[one.name]
        if isinstance(kind, type) and is_dataclass(kind):
            holders[one.name] = kind
        else:
            parameters.append(one.replace(annotation=kind))
    for holder, kind in [*holders.items(), *([("show", Show)] if shows else [])]:
        held |= {field.name: Flattened(holder, kind, field) for field in fields(kind)}
    keyword, either = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
    for name, option in held.items():
        default = inspect.Parameter.empty if option.field.default is MISSING else option.field.default
        kind = either if name in positional else keyword
        parameters.append(inspect.Parameter(name, kind, default=default, annotation=_annotation(name, option)))
    signature = inspect.Signature(sorted(parameters, key=lambda one: one.kind))

    def called(*args: Any, **kwargs: Any) -> int:
        given = signature.bind(*args, **kwargs)
        given.apply_defaults()
        options = {name: value for name, value in given.arguments.items() if name not in _SHOWN}
        try:
            made = {holder: _filled(holder, kind, held, given.arguments) for holder, kind in holders.items()}
            show = _filled("show", Show, held, given.arguments)
            own = {name: value for name, value in given.arguments.items() if name not in held}
            with workers(given.arguments.get("workers")):
                return shown(function.__name__, show, options, lambda: function(**own, **made))
        except OptionError as error:
            raise SummandError(f"--{error.option.replace('_', '-')} {in_shell_words(error.rest, options)}") from error
        except SummandError as error:
            raise SummandError(in_shell_words(str(error), options)) from error

    called.__name__, called.__module__ = function.__name__, function.__module__
    # in bold, for "Examples:" would be read as a section of entries, and that of the parameters not at all
    about = function.__doc__ or holders["options"].__doc__ or ""
    called.__doc__ = about.replace("Examples:\n", "**Examples:**\n")
    called.__signature__ = signature  # type: ignore[attr-defined]
    return called


def _filled(holder: str, kind: type[Any], held: dict[str, Flattened], given: dict[str, Any]) -> Any:
    return kind(**{name: given[name] for name, option in held.items() if option.holder == holder})


_SHOWN = frozenset(field.name for field in fields(Show))


def _annotation(name: str, option: Flattened) -> Any:
    hint = get_type_hints(option.kind, include_extras=True)[name]
    about = said(option.kind).get(name, "")
    more: dict[str, Any] = {"alias": SHORT[name]} if name in SHORT else {}
    if hasattr(option.kind, "GROUP"):
        more["group"] = option.kind.GROUP
    default = option.field.default
    if default is False:
        more["negative"] = ()
    if default is None or default is False or default in ("", ()):
        more["show_default"] = False
    return Annotated[hint, Parameter(help=about, negative_iterable=(), **more)]


def in_shell_words(message: str, options: Any) -> str:
    """A message of the library in the words of the shell: `checkpoint=FILE` is `--checkpoint FILE` there.

    >>> in_shell_words("pass checkpoint=FILE, or random_init=True", ["checkpoint", "random_init"])
    'pass --checkpoint FILE, or --random-init'
    """
    names = sorted(map(re.escape, options), key=len, reverse=True)
    if not names:
        return message

    def shell(found: re.Match[str]) -> str:
        name, value = found[1].replace("_", "-"), found[2]
        if value in (None, "True"):
            return f"--{name}"
        return f"--no-{name}" if value == "False" else f"--{name} {value}"

    return re.sub(rf"(?<![\w:,'\"])({'|'.join(names)})=('[^']*'|[^\s,;)]+)?", shell, message)
