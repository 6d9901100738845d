"""`--config FILE`: options by name from a .toml file, or from the .json of a result."""

from __future__ import annotations

from pathlib import Path

from cyclopts import App
from cyclopts.config import Dict

from ..errors import SummandError
from ..studies.saved_options import read


def configured(app: App, arguments: list[str]) -> None:
    """Take `--config FILE` out of the arguments, and what stands in it as the options that are not given."""
    found = next((i for i, one in enumerate(arguments) if one == "--config" or one.startswith("--config=")), None)
    if found is None:
        return
    whole = arguments.pop(found)
    if "=" in whole:
        given = whole.partition("=")[2]
    elif found < len(arguments):
        given = arguments.pop(found)
    else:
        raise SummandError("--config needs a file: a .toml of options by name, or the .json of a result")
    name = arguments[0] if arguments and not arguments[0].startswith("-") else ""
    options = read(Path(given).expanduser(), name)
    # Below the command's name, for at the top an option that is called as some command is (`--shift`) would be lost.
    app.config = [Dict({name: options}, source=given)]
