"""docs/cli.md says what the commands are now, and a name means the same in all of them."""

from __future__ import annotations

import inspect
import typing
from collections import defaultdict
from pathlib import Path

from cyclopts import Parameter
from docs.reference import lines

import summand.cli
from summand.cli.app import COMMANDS, options_of

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"


def test_the_page_is_that_of_the_commands():
    assert PAGE.read_text() == "\n".join(lines()) + "\n", "python docs/reference.py > docs/cli.md"


def test_every_option_says_what_it_is():
    rows = [line for line in lines() if line.startswith("| `--")]
    assert [row for row in rows if row.rstrip(" |").endswith("|")] == []
    assert len(rows) > 150


def test_short_names_are_the_same_everywhere():
    meant = defaultdict(set)
    for one in COMMANDS:
        for parameter in inspect.signature(options_of(one.name)).parameters.values():
            for more in typing.get_args(parameter.annotation)[1:]:
                if isinstance(more, Parameter):
                    for alias in more.alias or ():
                        meant[alias].add(parameter.name)
    assert meant
    assert {alias: names for alias, names in meant.items() if len(names) > 1} == {}


def test_commands_are_short():
    sizes = {path.stem: len(path.read_text().splitlines()) for path in Path(summand.cli.__file__).parent.glob("*.py")}
    modules = {one.module for one in COMMANDS}
    assert {name: sizes[name] for name in modules if sizes[name] > 60} == {}
    assert sum(sizes.values()) <= 1000
