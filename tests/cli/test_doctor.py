"""`summand doctor`, as a user runs it."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pytest
import torch

import summand
from summand.models import load as loading
from tests.commands import command
from tests.models.tiny_clip import clip

pytestmark = pytest.mark.usefixtures("unchecked")


def run(*arguments):
    return command("doctor", *arguments)


def test_a_healthy_model():
    found = run("scenes-vit", "--json")
    result = found.json
    assert found.code == 0
    assert result["exact"]
    assert result["findings"] == []
    assert [row["holds"] for row in result["rows"]] == [True] * 8
    assert all(row["error"] < 1e-5 for row in result["rows"])


def test_an_attention_pool_has_pairs():
    found = run("scenes-rn")
    assert found.code == 0
    assert "pairs: sum to encode_image" in found.out
    assert "can be explained exactly" in found.error


def test_what_does_not_hold_is_an_alarm_with_its_cause(monkeypatch):
    made = clip().float()
    made.visual.transformer.resblocks[1].attn.register_forward_hook(lambda _, __, out: (out[0] / 2, *out[1:]))
    monkeypatch.setattr(summand, "load", lambda *_, **__: summand.wrap(made))
    found = run("anything")
    assert loading.load is not summand.load
    assert found.code == 1
    assert "image: terms sum to encode_image" in found.out
    assert "forward hooks of yours on visual.transformer.resblocks.1.attn" in found.error
    assert "cannot be explained exactly" in found.error


def test_bad_input():
    assert run("scenes-vit", "--pretrained", "x").code == 2


def test_without_a_model_it_says_what_is_installed():
    found = run("--json")
    result = found.json
    assert found.code == 0, found.error
    assert result["exact"]
    facts = {fact["what"]: fact["value"] for fact in result["installation"]}
    assert {"summand", "python", "processor", "cache", "hub"} <= set(facts)
    assert f"torch {torch.__version__}" in facts["beside it"]
    assert facts["hub"].startswith("offline by wish")
    assert os.environ["SUMMAND_CACHE"] in facts["cache"]
    for name in ("scenes-vit", "scenes-rn", "scenes-vit-tied"):
        weights = Path(summand.scenes.__file__).parent / "weights" / f"{name}.safetensors"
        assert facts[weights.name] == f"sha256 {hashlib.sha256(weights.read_bytes()).hexdigest()[:16]}"
    shown = run()
    assert all(what in shown.out for what in facts)
    assert "installation" not in run("scenes-vit").out


def test_the_strangers_package_and_damaged_weights_are_alarms(monkeypatch, tmp_path):
    from summand.studies.inspect import installation

    known = installation._version
    monkeypatch.setattr(installation, "_version", lambda name: "0.1.0" if name == "summand" else known(name))
    found = run()
    assert found.code == 1
    assert "pip uninstall summand; then: pip install --force-reinstall --no-deps summand-clip" in found.error
    monkeypatch.setattr(installation, "_version", known)
    shutil.copytree(Path(summand.scenes.__file__).parent / "weights", tmp_path / "weights")
    whole = bytearray((tmp_path / "weights" / "scenes-rn.safetensors").read_bytes())
    whole[-1] ^= 1
    (tmp_path / "weights" / "scenes-rn.safetensors").write_bytes(whole)
    (tmp_path / "weights" / "scenes-vit.safetensors").unlink()
    monkeypatch.setattr(installation, "files", lambda _: tmp_path)
    problems = {fact.what: fact.problem for fact in installation.installation() if fact.problem}
    assert set(problems) == {"scenes-rn.safetensors", "scenes-vit.safetensors"}
    assert all("install summand-clip again" in said for said in problems.values())
