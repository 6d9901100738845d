"""The commands by name, in groups; each is imported when it is called."""

from __future__ import annotations

import inspect
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from cyclopts import App, CycloptsError, Group

from .. import __version__
from .configuration import configured
from .console import escape, stderr

ABOUT = "Take CLIPs apart exactly, and say in words and pictures what each part does."
GROUPS = ("See", "Label", "Study", "Inspect")


@dataclass(frozen=True)
class Named:
    """A command: its group, its module in this folder, and the function there of its name. called: the command that it
    is another name of; such names are not listed."""

    group: str
    module: str
    name: str
    called: str = ""

    @property
    def path(self) -> str:
        return f"{__package__}.{self.module}:{self.called or self.name}"


COMMANDS = (
    *(Named("See", "see", name) for name in ("heatmap", "words", "concepts", "retrieve", "scenes")),
    Named("See", "comparing", "match"),
    Named("Label", "comparing", "find"),
    Named("See", "surveys", "atlas"),
    Named("See", "joined", "explore"),
    *(Named("Label", "surveys", name) for name in ("survey", "label", "unit", "head", "neuron", "pair")),
    Named("Label", "surveys", "decompose", called="survey"),
    *(Named("Label", "joined", name) for name in ("info", "merge")),
    *(Named("Study", "study", name) for name in ("ablate", "debias", "registers", "subconcepts", "truth")),
    *(Named("Study", "changing", name) for name in ("align", "export", "inject", "sae")),
    Named("Study", "comparing", "compare"),
    Named("Study", "inspection", "reproduce"),
    *(Named("Study", "testing", name) for name in ("segment", "perturb", "attack", "shift")),
    *(Named("Inspect", "inspection", name) for name in ("models", "pools", "doctor")),
)


def made(called: str | None = None) -> App:
    """The command line. called: the command that is about to be run, which says by itself what it does."""
    app = App(
        name="summand",
        help=ABOUT,
        version=f"summand {__version__}",
        help_format="markdown",
        help_on_error=False,
        error_formatter=None,
        exit_on_error=False,
        print_error=False,
        suppress_keyboard_interrupt=False,
        result_action="return_value",
    )
    groups = {name: Group(name, sort_key=place) for place, name in enumerate(GROUPS)}
    listed = called not in [one.name for one in COMMANDS]
    for one in COMMANDS:
        about = prose(options_of(one.name)) if listed or one.name == called else ""
        about = about.partition("\n\n")[0] if listed else about
        app.command(one.path, name=one.name, group=groups[one.group], show=not one.called, help=about)
    app.register_install_completion_command(group=groups["Inspect"])
    return app


def prose(function: Any) -> str:
    """A docstring without its section of parameters."""
    return inspect.cleandoc(function.__doc__).partition("\nParameters\n---")[0].strip()


def run(arguments: Sequence[str]) -> int:
    """Run one command line; its exit code. What is wrong with its arguments is said on stderr (2); the rest raises."""
    arguments = list(arguments)
    if "--traceback" in arguments:
        arguments.remove("--traceback")
        os.environ["SUMMAND_TRACEBACK"] = "1"
    app = made(arguments[0] if arguments else None)
    configured(app, arguments)
    try:
        found = app(arguments or ["--help"])
    except CycloptsError as error:
        stderr.print(f"[bold red]error:[/] {escape(_said(error))}", soft_wrap=True)
        return 2
    return int(found) if isinstance(found, int) else 0


def _said(error: CycloptsError) -> str:
    """What is wrong, and where help is."""
    chain = [name for name in (error.command_chain or ()) if name]
    help_of = " ".join(["summand", *chain, "--help"])
    said = str(error).partition(" Available commands")[0]
    return f"{said.strip().rstrip('.')}; {help_of} says what there is"


def options_of(name: str) -> Any:
    """The options of a command, by name."""
    one = next(one for one in COMMANDS if one.name == name)
    module, _, function = one.path.partition(":")
    return getattr(import_module(module), function)
