"""No code comes out of data: what the package may not call, and what a terminal may not be sent."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import summand
from summand.visible import escape, visible
from tests.commands import command

HOME = Path(summand.__file__).parent
MODULES = {"pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "subprocess", "pty", "commands"}
CALLS = {"eval", "exec", "compile", "__import__"}
SHELLS = {("os", "system"), ("os", "popen"), ("os", "spawnl"), ("os", "execv"), ("yaml", "load"), ("pd", "read_pickle"),
          ("torch", "jit.load"), ("tarfile", "extractall")}  # fmt: skip
NEEDED = {("torch", "load"): ("weights_only", True), ("np", "load"): ("allow_pickle", False)}


def name_of(node: ast.AST) -> tuple[str, str]:
    if isinstance(node, ast.Attribute):
        return (ast.unparse(node.value), node.attr)
    return ("", node.id if isinstance(node, ast.Name) else "")


def faults(tree: ast.AST) -> list[str]:
    """What may not stand in a file."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [each.name for each in node.names]
            found += [f"{node.lineno}: imports {name}" for name in names if name.partition(".")[0] in MODULES]
        if isinstance(node, ast.Call):
            owner, name = name_of(node.func)
            given = {
                word.arg: ast.literal_eval(word.value) for word in node.keywords if isinstance(word.value, ast.Constant)
            }
            if (not owner and name in CALLS) or (owner, name) in SHELLS or name in ("extractall", "extract"):
                found.append(f"{node.lineno}: calls {owner}.{name}")
            if given.get("shell"):
                found.append(f"{node.lineno}: uses a shell")
            wanted = NEEDED.get((owner, name))
            if wanted is not None and given.get(wanted[0]) is not wanted[1]:
                found.append(f"{node.lineno}: {owner}.{name} without {wanted[0]}={wanted[1]}")
        if isinstance(node, ast.Attribute) and node.attr == "MAX_IMAGE_PIXELS" and isinstance(node.ctx, ast.Store):
            found.append(f"{node.lineno}: Pillow's limit is changed")
    return found


def test_nothing_runs_what_is_in_a_file():
    said = {str(path.relative_to(HOME)): faults(ast.parse(path.read_text("utf-8"))) for path in HOME.rglob("*.py")}
    assert len(said) > 300
    assert {path: found for path, found in said.items() if found} == {}


@pytest.mark.parametrize(
    "code",
    ["import pickle", "from subprocess import run", "eval('1')", "import os\nos.system('ls')", "np.load(path)",
     "torch.load(path, weights_only=False)", "run('x', shell=True)", "archive.extractall(path)",
     "Image.MAX_IMAGE_PIXELS = None"],
)  # fmt: skip
def test_the_search_finds_what_it_looks_for(code):
    assert faults(ast.parse(code))


def test_texts_cannot_steer_a_terminal(tmp_path, unchecked):
    """A pool with escapes, markup and marks of direction, from the file to the table on the screen."""
    nasty = "a \x1b[31mred\x1b[0m \x9b31m star [bold]x[/bold] \u202eleft <script>"
    (tmp_path / "pool.txt").write_text("\n".join([nasty, "a star", "a ring", "a red cross", "a blue heart"]))
    given = ("--images", "scenes:count=24,seed=1", "--units", "heads", "--top", "2", "--out", tmp_path / "run")
    assert command("survey", *given).code == 0
    found = command("pools", tmp_path / "pool.txt")
    assert found.code == 0
    assert "\\x1b[31mred" in found.out
    assert "[bold]x[/bold]" in found.out
    for said in (found, command("label", tmp_path / "run", "--pool", tmp_path / "pool.txt", "--all"),
                 command("survey", "\x1b[31mno\x07such", "--out", tmp_path / "x\x1b[2J")):  # fmt: skip
        assert all(c.isprintable() or c == "\n" for c in said.out + said.error), said


def test_what_is_escaped():
    assert visible("a\tb\nc\x07\x1b]0;title\x07") == "a\tb\nc\\x07\\x1b]0;title\\x07"
    assert escape("[red]\x1b") == "\\[red]\\x1b"
