"""What is said of an audit: nobody who did not look may say that there is no hole."""

from __future__ import annotations

import runpy
import subprocess

import pytest

from tests.pages import ROOT

AUDIT = runpy.run_path(str(ROOT / "packaging" / "audit.py"))
SOUND = {"name": "numpy", "version": "2.1", "vulns": []}
HOLE = {"name": "pillow", "version": "9.0", "vulns": [{"id": "CVE-1", "fix_versions": ["9.1"], "aliases": []}]}
AWAY = {"name": "torch", "skip_reason": "Dependency not found on PyPI"}


@pytest.mark.parametrize(
    ("packages", "code", "said"),
    [
        ([SOUND], 0, "1 package looked up: no known hole"),
        ([SOUND, AWAY], 0, "1 not looked up: torch (Dependency not found on PyPI)"),
        ([SOUND, HOLE], 1, "pillow 9.0: CVE-1, mended in 9.1"),
        ([AWAY, AWAY], 2, "NO VERDICT: none of 2 packages could be looked up (Dependency not found on PyPI)"),
        ([], 2, "NO VERDICT"),
    ],
)
def test_the_verdict(packages, code, said):
    found = AUDIT["verdict"]({"dependencies": packages})
    assert found[0] == code
    assert said in found[1]
    assert ("no known hole" in found[1]) == (code == 0)


@pytest.mark.parametrize("out", ["", "not json", "{}"])
def test_an_audit_that_broke_off_is_no_verdict(monkeypatch, capsys, out):
    ended = subprocess.CompletedProcess([], 1, out, "ERROR: ConnectionError: no route\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: ended)
    assert AUDIT["main"]() == 2
    assert "NO VERDICT: pip-audit did not end with a report: ERROR: ConnectionError" in capsys.readouterr().out
