"""Words' contributions add up to the model's own cosine, and are what leaving the sum's other terms alone means."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import summand
from summand import words
from tests.commands import command

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


def test_the_command_line(tmp_path, picture, monkeypatch, unchecked):
    picture.save(tmp_path / "scene.png")
    monkeypatch.chdir(tmp_path)
    result = command("words", TEXT, "--image", "scene.png", "--json").json
    assert [row["word"] for row in result["rows"]][1:4] == ["a", "red", "star"]
    summed = sum(row["contribution"] for row in result["rows"]) + sum(result["other"].values())
    assert summed == pytest.approx(result["similarity"], abs=1e-5)
    assert (result["command"], result["model"], result["data"]) == ("words", "scenes-vit", "scene.png")
    found = command("words", TEXT)
    assert (found.code, "cosine similarity" in found.out, "+1.000" in found.out) == (0, True, True)
    assert command("words", TEXT, "--image", "none.png").code == 2
    assert command("words", TEXT, "--image", "scene.png", "--versus", "a ring").code == 2
    found = command("words", "a red zeppelin")
    assert found.code == 2
    assert "zeppelin" in found.error
