"""Every message of every error that the library raises on purpose, read from its source."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import groupby, product
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parents[2] / "src" / "summand"
BASE = "SummandError"
HOLE = "…"
_LEAST = 3  # words of ours: below it a message is another library's, passed on

ROOMS = {
    "cli": "Commands and their arguments",
    "arguments": "Arguments of functions",
    "report": "Pages, figures and sheets",
    "studies": "Studies",
    "scenes": "Scenes",
    "maps": "Maps",
    "survey": "Surveys and their folders",
    "models": "Models, weights, tokenizers",
    "text": "Texts and pools",
    "statistics": "Statistics",
    "effects": "Terms and effects",
    "towers": "Towers",
    "data": "Images, tables, data sets",
    "": "Units and other small things",
}

HEAD = """---
search:
  boost: 8
---
# Every error, word for word

Made from the source by `docs/making/errors.py`: each message that Summand raises on purpose, with … where a name or a number
stands, below the file that raises it. Search for the rarest words of yours. A message says what was expected, what came and what to do;
[Troubleshooting](troubleshooting.md) says more about the common ones. What reads `count=N` here is `--count N` in a shell. All are `summand.SummandError` in Python, and one line on
stderr with exit code 2 on the command line. Anything else (a traceback, exit code 3) is a fault of Summand's own.
"""


@dataclass(frozen=True)
class Message:
    """One message: its text, the kind of error (a class), and the file below src/summand that raises it."""

    text: str
    kind: str
    file: str

    @property
    def room(self) -> str:
        return self.file.partition("/")[0] if "/" in self.file else ""


@cache
def kinds() -> dict[str, str]:
    """SummandError and every class below it, by name, with the first line of its docstring."""
    classes = [node for tree in _trees().values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    found = {BASE: ""}
    for _ in range(4):  # a class may stand before the one that it is made of
        for one in classes:
            if one.name in found or any(isinstance(base, ast.Name) and base.id in found for base in one.bases):
                found[one.name] = (ast.get_docstring(one) or "").partition("\n\n")[0].replace("\n", " ")
    return found


@cache
def messages() -> list[Message]:
    """All of them, in the order of files and lines."""
    known, found, trees = kinds(), [], _trees()
    helpers = _helpers(trees)
    for path, tree in trees.items():
        file = path.relative_to(PACKAGE).as_posix()
        for node, local in _calls(tree):
            if node.func.id in known:
                said = [_texts(argument, {**helpers, **local}) for argument in node.args[: _said(node.func.id)]]
                texts = (_collapsed(" ".join(words)) for words in product(*said))
                found += [Message(text, node.func.id, file) for text in texts if _is_ours(text)]
    return list(dict.fromkeys(found))


def lines() -> Iterator[str]:
    """The page, line by line."""
    yield HEAD
    by_room: dict[str, list[Message]] = defaultdict(list)
    for message in messages():
        by_room[message.room].append(message)
    yield "## Kinds\n\n| kind | what it is |\n|---|---|"
    yield from (f"| `{name}` | {about} |" for name, about in kinds().items())
    for room in [*ROOMS, *sorted(set(by_room) - set(ROOMS))]:
        if by_room[room]:
            yield f"\n## {ROOMS.get(room, room)}"
            for file, own in groupby(by_room[room], key=lambda message: message.file):  # a heading is found by itself
                yield f"\n### {file}\n"
                yield from (f"- {_plain(message.text)}" for message in own)


@cache
def _trees() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}


def _said(kind: str) -> int:
    """How many of its arguments make the message: of an option its name and the rest."""
    return 2 if kind == "OptionError" else 1


def _calls(
    tree: ast.AST, local: dict[str, list[ast.expr]] | None = None
) -> Iterator[tuple[Any, dict[str, list[ast.expr]]]]:
    """Every call of a plain name, with what the names of its function were given."""
    local = local or {}
    for node in ast.iter_child_nodes(tree):
        inside = local
        if isinstance(node, ast.FunctionDef):
            inside = defaultdict(list)
            for one in ast.walk(node):
                if isinstance(one, ast.Assign) and isinstance(one.targets[0], ast.Name):
                    inside[one.targets[0].id].append(one.value)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node, inside
        yield from _calls(node, inside)


def _helpers(trees: dict[Path, ast.Module]) -> dict[str, list[ast.expr]]:
    """What the functions that make messages return, by name."""
    found: dict[str, list[ast.expr]] = defaultdict(list)
    for tree in trees.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                returned = [one.value for one in ast.walk(node) if isinstance(one, ast.Return) and one.value]
                found[f"{node.name}()"] += [one for one in returned if isinstance(one, ast.JoinedStr | ast.Constant)]
    return found


def _texts(node: ast.expr, known: dict[str, list[ast.expr]]) -> list[str]:
    """The literal words of an expression, in every form that it may have; a hole for what is known only when it runs."""
    if isinstance(node, ast.IfExp):
        return [*_texts(node.body, known), *_texts(node.orelse, known)]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return ["".join(pair) for pair in product(_texts(node.left, known), _texts(node.right, known))]
    name = node.id if isinstance(node, ast.Name) else None
    if isinstance(node, ast.Call):
        name = f"{getattr(node.func, 'id', None) or getattr(node.func, 'attr', None)}()"
    given = known.get(name or "", [])
    inside = {one: values for one, values in known.items() if one != name}
    return [text for value in given for text in _texts(value, inside)] or [_text(node)]


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(value) for value in node.values)
    return HOLE


def _is_ours(text: str) -> bool:
    """Whether words of our own stand in it: else it is another library's message, passed on."""
    return len(re.findall(r"[A-Za-z]{2,}", text)) >= _LEAST


def _collapsed(text: str) -> str:
    return re.sub(rf"{HOLE}(?:[\s,;]*{HOLE})+", HOLE, " ".join(text.split()))


def _plain(text: str) -> str:
    escaped = re.sub(r"([\\`*_<>\[\]|{}])", r"\\\1", text)
    return escaped


if __name__ == "__main__":
    print("\n".join(lines()))
