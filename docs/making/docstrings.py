"""Docstrings as pages show them: mathematics and names as they are written, doctests as code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import griffe

_SIGNS = re.compile(r"(`[^`]*`)|([*_<\[\]])")


class Plain(griffe.Extension):
    """Every docstring in Markdown that shows what is written."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None and not getattr(obj.docstring, "is_plain", False):
            obj.docstring.value = shown(obj.docstring.value)
            obj.docstring.__dict__["is_plain"] = True


def shown(text: str) -> str:
    r"""The docstring with its signs escaped, outside of code, and its doctests fenced.

    >>> print(shown("head_{l,h} = a * b, of `x_y`"))
    head\_{l,h} = a \* b, of `x_y`
    >>> shown(">" * 3 + " 1 + 1\n2\n\nThen.").replace(">", "")
    '```python\n 1 + 1\n2\n```\n\nThen.'
    """
    prose, _, inputs = text.partition("\nParameters\n----------\n")
    return "\n".join([*_lines(prose), *_inputs(inputs)])


def _inputs(section: str) -> Iterator[str]:
    """Of options: what the command of the same name takes besides, as a list."""
    if section:
        yield "\nInputs of the command:\n"
    for name, said in re.findall(r"^(\w+)\n((?:[ ]+.*\n?)+)", section, re.MULTILINE):
        yield f"- `{name}`: {' '.join(_escaped(said).split())}"


def _escaped(line: str) -> str:
    return _SIGNS.sub(lambda found: found[1] or f"\\{found[2]}", line)


def _lines(text: str) -> Iterator[str]:
    inside = False
    for line in text.splitlines():
        starts = line.lstrip().startswith(">>>")
        if starts and not inside:
            yield "```python"
        elif inside and not line.strip():
            yield "```"
        inside = starts or (inside and bool(line.strip()))
        yield line if inside else _escaped(line)
    if inside:
        yield "```"
