"""What a command says that is asked to end, or that finds the disk full; and that the next one does its work."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
import signal
import threading
import time
from pathlib import Path

import jaxtyping
import pytest

from tests import hostile
from tests.commands import command

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True, scope="module")
def as_users_run_it():
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="module")
def run(vit, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("ending") / "run"
    found = command("survey", "scenes:count=24,seed=1", "--units", "heads", "--top", "2", "--out", out)
    assert found.code == 0, found.error
    return out


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("verb", ["label", "shift", "retrieve"])
def test_a_command_that_is_told_to_end_says_so(run, tmp_path, monkeypatch, verb, number):
    """Also where it has only just begun: here while its model is loaded."""
    pictures = hostile.pictures(tmp_path / "pictures", 2)
    given = {"label": [run], "shift": [run, pictures], "retrieve": [pictures / "good 000.png", pictures]}[verb]
    import summand.models.load

    def slow(*args, **options):
        threading.Timer(0.1, os.kill, (os.getpid(), number)).start()
        time.sleep(30)

    monkeypatch.setattr(summand.models.load, "load", slow)
    monkeypatch.setattr(summand, "load", slow)
    monkeypatch.setattr("summand.survey.survey.load", slow)
    before = [(each, signal.signal(each, signal.SIG_DFL)) for each in (signal.SIGTERM, signal.SIGHUP)]
    try:
        found = command(verb, *given)
    finally:
        for each, handler in before:
            signal.signal(each, handler)
    assert found.code == 130
    assert f"interrupted by {signal.Signals(number).name}" in found.error


def limited(size: int, said: Path, arguments: tuple) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    with contextlib.suppress(OSError):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    found = command(*arguments)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    said.write_text(f"{found.code}\n{found.error}")


COMMANDS = {
    "survey": ("survey", "scenes:count=24,seed=2", "--units", "heads", "--top", "2"),
    "segment": ("segment", "scenes:groups=2,count=3", "--methods", "random"),
    "debias": ("debias", "scenes:count=40,seed=3", "--classes", "shape", "--groups", "place", "--allow-empty",
               "--units", "5.0"),
    "shift": ("shift", "scenes:count=40,seed=1", "scenes:count=40,seed=2"),
    "atlas": ("atlas", "scenes:count=24,seed=1", "--layers", "5"),
    "scenes": ("scenes", "--count", "12"),
    "sae": ("sae", "train", "scenes:count=24,seed=1", "--layer", "3", "--latents", "16", "--top-k", "2"),
    "align": ("align", "vit_tiny_patch16_224", "scenes:count=40,seed=1", "--random-vision", "--pixels", "clip",
              "--vision-settings", "img_size=64,patch_size=16,embed_dim=12,depth=2,num_heads=2"),
    "retrieve": ("retrieve", "PICTURES/good 000.png", "PICTURES"),
}  # fmt: skip


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n == "sae" else n for n in COMMANDS])
def test_a_full_disk_is_said_and_what_comes_after_it_goes_on(vit, tmp_path, monkeypatch, name):
    """No file may grow over 3 kB, in a process forked from this one; in a new one where there is training, which torch
    refuses in a fork of a process that has trained before."""
    monkeypatch.setenv("SUMMAND_CACHE", str(tmp_path / "cache"))
    pictures = hostile.pictures(tmp_path / "pictures", 4)
    given = (*(word.replace("PICTURES", str(pictures)) for word in COMMANDS[name]), "--out", tmp_path / "out")
    said = tmp_path / "said"
    spawn, fork = multiprocessing.get_context("spawn"), multiprocessing.get_context("fork")
    process = (spawn.Process if name == "sae" else fork.Process)(target=limited, args=(3000, said, given))
    process.start()
    process.join()
    assert process.exitcode == 0, "it died"
    code, _, error = said.read_text().partition("\n")
    assert code == "2", error
    assert "Traceback" not in error
    assert "damaged" not in error, error  # a text cache that could not be written is none that was damaged
    assert "larger files" in error or "make room" in error, error
    left = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert name == "survey" or not left, left
    found = command(*given)
    assert found.code in (0, 1), found.error
    assert "damaged" not in found.error, found.error
