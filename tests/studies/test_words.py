"""Words' contributions add up to the model's own cosine, and are what leaving the sum's other terms alone means."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import summand
from summand.studies.words import words

TEXT = "a red star on the left"


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    return Image.fromarray(summand.scenes.sample(1, seed=3).images[0])


def total(made) -> float:
    return sum(made.contributions) + sum(made.other.values())


def test_the_sum_is_the_cosine_with_an_image(vit, picture):
    made = words(vit, TEXT, image=picture)
    image = torch.nn.functional.normalize(vit.encode_image(vit.preprocess(picture)[None]), dim=-1)
    cosine = float(vit.encode_text(TEXT)[0] @ image[0])
    assert total(made) == pytest.approx(cosine, abs=1e-5)
    assert made.similarity == pytest.approx(cosine, abs=1e-6)
    assert made.residual < 1e-5
    assert made.words == ("<start>", "a", "red", "star", "on", "the", "left", "<end>")
    array = words(vit, TEXT, image=np.array(picture))
    assert array.contributions == pytest.approx(made.contributions)


def test_the_sum_is_the_cosine_with_a_text(vit):
    other = "a blue ring"
    made = words(vit, TEXT, versus=other)
    assert total(made) == pytest.approx(float(vit.encode_text(TEXT)[0] @ vit.encode_text(other)[0]), abs=1e-5)


def test_a_text_with_itself_sums_to_one(vit):
    assert total(words(vit, TEXT)) == pytest.approx(1, abs=1e-5)


def test_one_comparison_at_a_time(vit, picture):
    with pytest.raises(summand.SummandError, match="not with both"):
        words(vit, TEXT, image=picture, versus="a ring")


def test_the_command_line(tmp_path, picture, monkeypatch, capsys, unchecked):
    from summand.cli import main

    picture.save(tmp_path / "scene.png")
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["summand", "words", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        return (end.value.code, *capsys.readouterr())

    code, out, _ = run(TEXT, "--image", "scene.png", "--json")
    assert code == 0
    result = json.loads(out)
    assert [row["word"] for row in result["rows"]][1:4] == ["a", "red", "star"]
    summed = sum(row["contribution"] for row in result["rows"]) + sum(result["other"].values())
    assert summed == pytest.approx(result["similarity"], abs=1e-5)
    assert (result["command"], result["model"], result["data"]) == ("words", "scenes-vit", "scene.png")
    code, out, _ = run(TEXT)
    assert code == 0
    assert "cosine similarity" in out
    assert "+1.000" in out
    assert run(TEXT, "--image", "none.png")[0] == 2
    assert run(TEXT, "--image", "scene.png", "--versus", "a ring")[0] == 2
    code, _, error = run("a red zeppelin")
    assert code == 2
    assert "zeppelin" in error
