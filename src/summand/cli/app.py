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
    """A command: its module in this folder (and the function of that name), its group, and what it does in a line."""

    name: str
    group: str
    about: str
    called: str = ""
    """The command that it is another name of; such names are not listed."""

    @property
    def path(self) -> str:
        name = self.called or self.name
        return f"{__package__}.{name}:{name}"


COMMANDS = (
    Named("survey", "Label", "Take every image apart and keep statistics of all units; goes on where it stopped."),
    Named("label", "Label", "Put every unit into words, and score the words on images that were held out."),
    Named("unit", "Label", "Tell and show one unit of a survey: its words, their evidence, its top images."),
    Named("head", "Label", "The same for an attention head, LAYER.HEAD."),
    Named("neuron", "Label", "The same for an MLP neuron, LAYER:NEURON."),
    Named("pair", "Label", "The same for a neuron–head pair, NEURONxHEAD."),
    Named("atlas", "See", "Label every head of the last layers and build a site that shows what each one sees."),
    Named("decompose", "Label", "The former name of survey.", called="survey"),
    Named("heatmap", "See", "Show which parts of a picture speak for a text, and which against it."),
    Named("perturb", "Study", "Take patches away in a map's order: does the answer follow?"),
    Named("registers", "Study", "Find the neurons that make a sink, and see what becomes of it without them."),
    Named("segment", "Study", "Segment a data set by maps of its class names, and score every method."),
    Named("ablate", "Study", "Mean-ablate units or kinds of terms and measure zero-shot accuracy each time."),
    Named("debias", "Study", "Find the heads that carry a spurious attribute, remove them, and look at every group."),
    Named("truth", "Study", "Score the labels of a model's heads against the truth, on scenes."),
    Named("words", "See", "Show how much each word of a text adds to its similarity with a picture or another text."),
    Named("concepts", "See", "Say what a picture holds, in the words of the neurons that it moves, and show where."),
    Named("retrieve", "See", "Find the pictures most like one, in what a unit or a property says, or as a whole."),
    Named("subconcepts", "Study", "Set the top images of a neuron against those of its pairs with single heads."),
    Named("attack", "Study", "Find words that pull one class towards another, and draw pictures that mislead."),
    Named("shift", "Study", "Say which units changed between two sets of images, in words; an alarm exits with 1."),
    Named("scenes", "See", "Draw scenes with known causes: a contact sheet, or a folder with masks and attributes."),
    Named("models", "Inspect", "List every model by name, the terms of its sum, and whether the sum is exact."),
    Named("pools", "Inspect", "List the description pools, or the texts of one."),
    Named("doctor", "Inspect", "Check every identity that explanations of a model rest on."),
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
    for one in COMMANDS:
        about = _prose(options_of(one.name)) if one.name == called else one.about
        app.command(one.path, name=one.name, group=groups[one.group], show=not one.called, help=about)
    app.register_install_completion_command(group=groups["Inspect"])
    return app


def _prose(function: Any) -> str:
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
    return f"{str(error).strip().rstrip('.')}; {help_of} says what there is"


def options_of(name: str) -> Any:
    """The options of a command, by name."""
    one = next(one for one in COMMANDS if one.name == name)
    module, _, function = one.path.partition(":")
    return getattr(import_module(module), function)
