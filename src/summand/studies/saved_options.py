"""Options by name from a .toml file, or from the .json of a result: a study done again as it was."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from ..errors import SummandError


def read(path: Path, command: str) -> dict[str, Any]:
    """The options in a file. A .toml holds them for all commands, and in a table of a command's name for it alone."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        found = json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
    except FileNotFoundError:
        raise SummandError(f"--config {path}: there is no such file") from None
    except (OSError, ValueError) as error:
        raise SummandError(
            f"--config {path}: cannot be read ({error}); give a .toml, or the .json of a result"
        ) from error
    if not isinstance(found, dict):
        raise SummandError(f"--config {path}: holds no options by name")
    if "command" in found and "options" in found:  # a result of ours
        if command and found["command"] != command:
            raise SummandError(f"--config {path}: is a result of summand {found['command']}, not of {command}")
        found = found["options"]
    own = found.get(command)
    plain = {key: value for key, value in found.items() if not isinstance(value, dict)}
    plain |= own if isinstance(own, dict) else {}
    return {key.replace("_", "-"): value for key, value in plain.items() if value is not None}
