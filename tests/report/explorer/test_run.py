"""The explorer as it is started and ended, without a browser."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import pytest

import summand
from summand import SummandError
from summand.cli import main
from summand.report.explorer import run
from summand.report.explorer.known import Known
from summand.report.explorer.options import ExploreOptions
from summand.report.explorer.run import known_for
from tests.commands import command

pytestmark = pytest.mark.slow

gradio = pytest.importorskip("gradio", reason="gradio is not installed")


def test_it_is_served_until_it_is_closed_and_what_was_sent_is_deleted(vit, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", "/somewhere/else")
    monkeypatch.setenv("GRADIO_SHARE", "True")
    with summand.explore(Known(vit)) as first, summand.explore(Known(vit)) as second:
        assert first.url != second.url
        assert first.url.startswith("http://127.0.0.1:")
        assert first.url in first._repr_html_()
        for one in (first, second):
            assert b"Summand explorer" in urllib.request.urlopen(one.url).read()
        assert os.environ["GRADIO_TEMP_DIR"] == str(first.folder)
        first.close()
        assert second.folder.is_dir()
    assert not second.folder.exists()
    assert os.environ["GRADIO_TEMP_DIR"] == "/somewhere/else"
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(second.url)


def test_a_port_that_is_taken_is_refused_in_words(vit):
    with summand.explore(Known(vit)) as page:
        port = int(page.url.rstrip("/").rpartition(":")[2])
        with pytest.raises(SummandError, match=f"port {port}.*give another port"):
            summand.explore(Known(vit), port=port)


def test_without_gradio_it_says_how_to_get_it(vit, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(SummandError, match=r"pip install 'summand-clip\[explore\]'"):
        summand.explore(Known(vit))


@pytest.mark.parametrize("version", ["5.49.1", "6.4.0"])
def test_an_older_gradio_is_refused(vit, monkeypatch, version):
    monkeypatch.setattr(gradio, "__version__", version)
    with pytest.raises(SummandError, match=f"needs gradio 6.31, and {version} is installed"):
        summand.explore(Known(vit))


def test_the_oldest_gradio_is_that_of_pyproject():
    text = (Path(__file__).parents[3] / "pyproject.toml").read_text()
    assert set(re.findall(r'"gradio>=([\d.]+)"', text)) == {".".join(map(str, run._OLDEST))}


def test_a_survey_gives_its_model_and_words(known):
    found = known_for(known.survey)
    assert found.model is known.survey.model
    assert set(found.words) == set(known.survey.labels["unit"])


def test_an_ablated_model_and_what_is_no_survey_are_refused(known, tmp_path):
    from summand.report.explorer.off import switched_off, without

    with pytest.raises(SummandError, match="load it without ablation"):
        known_for(without(known, switched_off(known, ["4.6"])))
    found = command("explore", "scenes:count=5")
    assert (found.code, found.out) == (2, "")
    assert "is no survey; make one with summand survey" in found.error
    with pytest.raises(SummandError):
        known_for(str(tmp_path))


@pytest.mark.parametrize("wrong", [{"port": 0}, {"port": 70000}, {"upload_mb": 0}, {"at_once": 0}, {"waiting": 0}])
def test_options_that_make_no_sense_are_refused(wrong):
    with pytest.raises(SummandError, match=next(iter(wrong))):
        ExploreOptions(**wrong)


def interrupted(said) -> None:
    """`summand explore` in a process of its own, whose stderr is a file."""
    with open(said, "w") as sys.stderr:
        os._exit(main(["explore"]))


def test_interrupting_closes_it_deletes_what_was_sent_and_leaves_with_130(tmp_path, known, monkeypatch):
    monkeypatch.setattr(run, "surveyed", lambda model: known.survey)
    said = tmp_path / "said"
    process = multiprocessing.get_context("fork").Process(target=interrupted, args=(said,))
    process.start()
    try:
        for _ in range(600):
            if said.exists() and "Ctrl-C" in said.read_text():
                break
            time.sleep(0.1)
        folders = set(Path(tempfile.gettempdir()).glob("summand-explorer-*"))
        os.kill(process.pid, signal.SIGINT)
        process.join(60)
    finally:
        process.kill()
    assert process.exitcode == 130, said.read_text()
    assert "Traceback" not in said.read_text()
    assert "explore at http://127.0.0.1:" in said.read_text()
    assert len(set(Path(tempfile.gettempdir()).glob("summand-explorer-*"))) < len(folders)
