"""docs/cli.md, made of the commands themselves: `python docs/reference.py > docs/cli.md`."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterator
from typing import Any

from cyclopts import Parameter

from summand.cli.app import COMMANDS, GROUPS, Named, options_of, prose

HEAD = """# The command line

Made by `python docs/reference.py`. A name means the same in every command that has it. `--config FILE.toml`
gives options by name, for all commands or in a table of a command's name; `--config RESULT.json` makes a result again.
Exit codes: 0 success, 1 an alarm, 2 bad input, 3 a fault of Summand's own, 130 interrupted.
"""


def lines() -> Iterator[str]:
    """The page, line by line."""
    yield HEAD
    for group in GROUPS:
        yield f"## {group}\n"
        for one in COMMANDS:
            if one.group == group and not one.called:
                yield from _command(one)


def _command(one: Named) -> Iterator[str]:
    function: Any = options_of(one.name)
    parameters = inspect.signature(function).parameters.values()
    inputs = [parameter for parameter in parameters if parameter.kind == inspect.Parameter.POSITIONAL_OR_KEYWORD]
    words = [parameter.name.upper() if _needed(parameter) else f"[{parameter.name.upper()}]" for parameter in inputs]
    yield f"### summand {' '.join([one.name, *words])}\n"
    yield prose(function) + "\n"
    yield "| option | default | what it is |\n|---|---|---|"
    for parameter in parameters:
        default = "" if _needed(parameter) or parameter.default in (None, False, "", ()) else f"`{parameter.default}`"
        yield f"| `--{parameter.name.replace('_', '-')}` | {default} | {_about(function, parameter)} |"
    yield ""


def _needed(parameter: inspect.Parameter) -> bool:
    return parameter.default is inspect.Parameter.empty


def _about(function: Any, parameter: inspect.Parameter) -> str:
    """What the option's field, or the docstring of the command, says of it."""
    for more in typing.get_args(parameter.annotation)[1:]:
        if isinstance(more, Parameter) and more.help:
            return more.help.replace("|", "\\|")
    section = inspect.cleandoc(function.__doc__).partition("\nParameters\n---")[2].splitlines()
    place = next((i for i, line in enumerate(section) if line.strip() == parameter.name), None)
    said = [] if place is None else section[place + 1 :]
    end = next((i for i, line in enumerate(said) if not line.startswith(" ")), len(said))
    return " ".join(line.strip() for line in said[:end]).replace("|", "\\|")


if __name__ == "__main__":
    print("\n".join(lines()))
