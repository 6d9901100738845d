"""Exit code 1 is an alarm and nothing else; whatever else ends a command is said in one line."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest
import torch

from summand import SummandError
from summand.border import foreign
from summand.cli import main


def full_disk():
    raise OSError(errno.ENOSPC, "No space left on device", "/out/run")


def nothing_of_that_name():
    raise FileNotFoundError(errno.ENOENT, "No such file or directory", "/out/x.png")


def forbidden():
    raise PermissionError(errno.EACCES, "Permission denied", "/out/run")


def out_of_memory_in_torch():
    torch.empty(2**55)


def raising(error):
    def work():
        raise error

    return work


CASES = [
    (raising(SummandError("a wrong word; give another")), 2, "a wrong word; give another"),
    (raising(KeyboardInterrupt()), 130, "interrupted"),
    (raising(BrokenPipeError(errno.EPIPE, "Broken pipe")), 141, ""),
    (full_disk, 2, "/out/run: No space left on device; make room"),
    (forbidden, 2, "/out/run: Permission denied; choose a place"),
    (nothing_of_that_name, 2, "/out/x.png: No such file or directory; check the name"),
    (raising(MemoryError()), 2, "out of memory"),
    (raising(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")), 2, "smaller --batch-size"),
    (out_of_memory_in_torch, 2, "out of memory"),
    (
        lambda: 1 / 0,
        3,
        "a fault of summand, not of yours: ZeroDivisionError: division by zero (studies/inspect/pools.py, line",
    ),
    (raising(KeyError("vision_cfg")), 3, "KeyError: 'vision_cfg'"),
    (raising(AssertionError()), 3, "AssertionError"),
    (raising(EOFError("Ran out of input")), 3, "EOFError: Ran out of input"),
    (raising(OSError("a library's own words")), 3, "OSError: a library's own words"),
    (raising(OSError(errno.EBADF, "Bad file descriptor")), 3, "Bad file descriptor"),
    (raising(RuntimeError("first line\nand pages of advice")), 3, "RuntimeError: first line ("),
    (raising(BaseException("of no kind")), 3, "of no kind"),
    (raising(SystemExit("last words")), 3, "last words"),
    (raising(GeneratorExit()), 3, "GeneratorExit"),
]


@pytest.fixture
def end(monkeypatch, capsys, unchecked):
    """Runs `summand pools general` with something else in the place of its work."""
    monkeypatch.setattr("os.dup2", lambda *_: None)  # pytest's own output goes on

    def run(work, *options: str) -> tuple[int, str, str]:
        monkeypatch.setattr("summand.studies.inspect.pools.pool", lambda _: work())
        monkeypatch.setattr(sys, "argv", ["summand", *options, "pools", "general"])
        with pytest.raises(SystemExit) as left:
            main()
        out, said = capsys.readouterr()
        return foreign(left.value.code), out, said

    return run


@pytest.mark.parametrize(("work", "code", "words"), CASES, ids=[str(i) for i in range(len(CASES))])
def test_every_way_to_end(end, work, code, words):
    found, out, said = end(work)
    assert found == code
    assert words in said
    assert len(said.splitlines()) == (1 if words else 0)
    assert out == ""


@pytest.mark.parametrize("how", ["option", "variable"])
def test_the_traceback_is_shown_where_it_is_asked_for(end, monkeypatch, how):
    assert "Traceback" not in end(lambda: 1 / 0)[2]
    monkeypatch.setenv("SUMMAND_TRACEBACK", "1" if how == "variable" else "0")
    code, _, said = end(lambda: 1 / 0, *(["--traceback"] if how == "option" else []))
    assert code == 3
    assert "Traceback (most recent call last)" in said
    assert "lambda: 1 / 0" in said
    assert said.rstrip().splitlines()[-1].startswith("error: a fault of summand")
    assert "Traceback" in end(raising(SummandError("mine")))[2]


def test_an_alarm_is_still_1_and_usage_2(end, monkeypatch, capsys):
    assert end(raising(SystemExit(1)))[0] == 1
    monkeypatch.setattr(sys, "argv", ["summand", "nonsense"])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    assert "nonsense" in capsys.readouterr().err


@pytest.mark.slow
def test_a_reader_that_leaves_and_a_terminal_without_the_signs():
    """`| head` ends it quietly; a terminal in ASCII shows what it can."""
    code = (
        "import subprocess, sys; run = subprocess.Popen([sys.executable, '-m', 'summand', 'pools', 'words-30k'],"
        " stdout=subprocess.PIPE, stderr=subprocess.PIPE); run.stdout.close(); said = run.stderr.read();"
        " print(run.wait(), said)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "141 b''"
    plain = subprocess.run(
        [sys.executable, "-m", "summand", "shift", "--help"],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii", "COLUMNS": "120"},
    )
    assert plain.returncode == 0
    assert b"Usage" in plain.stdout
