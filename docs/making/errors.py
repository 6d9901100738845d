"""Every message of every error that the library raises on purpose, read from its source."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "src" / "summand"
BASE = "SummandError"
HOLE = "…"
_LEAST = 3  # words of ours: below it a message is another library's, passed on

ROOMS = {
    "cli": "Commands and their arguments",
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

HEAD = """# Every error, word for word

Made from the source by `docs/making/errors.py`: each message that Summand raises on purpose, with … where a name or a number
stands. Search this page for a few words of yours. A message says what was expected, what came and what to do;
[Troubleshooting](troubleshooting.md) says more about the common ones. All are `summand.SummandError` in Python, and one line on
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


def kinds() -> dict[str, str]:
    """SummandError and every class below it, by name, with the first line of its docstring."""
    classes = [node for tree in _trees().values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    found = {BASE: ""}
    for _ in classes:  # a class may stand before the one that it is made of
        for one in classes:
            if one.name in found or any(isinstance(base, ast.Name) and base.id in found for base in one.bases):
                found[one.name] = (ast.get_docstring(one) or "").partition("\n\n")[0].replace("\n", " ")
    return found


def messages() -> list[Message]:
    """All of them, in the order of files and lines."""
    known, found = kinds(), []
    for path, tree in _trees().items():
        file = path.relative_to(PACKAGE).as_posix()
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in known:
                text = _collapsed(" ".join(_text(argument) for argument in node.args[: _said(node.func.id)]))
                if len(re.findall(r"[A-Za-z]{2,}", text)) >= _LEAST:
                    found.append(Message(text, node.func.id, file))
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
            yield f"\n## {ROOMS.get(room, room)}\n\n| message | raised in |\n|---|---|"
            yield from (f"| {_cell(message.text)} | `{message.file}` |" for message in by_room[room])


def _trees() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}


def _said(kind: str) -> int:
    """How many of its arguments make the message: of an option its name and the rest."""
    return 2 if kind == "OptionError" else 1


def _text(node: ast.expr) -> str:
    """The literal words of an expression, and a hole for everything that is known only when it runs."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(value) for value in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left) + _text(node.right)
    return HOLE


def _collapsed(text: str) -> str:
    return re.sub(rf"{HOLE}(?:[\s,;]*{HOLE})+", HOLE, " ".join(text.split()))


def _cell(text: str) -> str:
    escaped = re.sub(r"([\\`*_<>\[\]|{}])", r"\\\1", text)
    return escaped


if __name__ == "__main__":
    print("\n".join(lines()))
