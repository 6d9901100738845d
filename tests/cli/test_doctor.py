"""`summand doctor`, as a user runs it."""

from __future__ import annotations

import pytest

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
