"""The command or snippet on the pages: complete, or it says what must be filled in."""

from __future__ import annotations

import ast
import shlex
from dataclasses import replace

import numpy as np
import pytest
from open_clip.tokenizer import SimpleTokenizer

import summand
from summand.cli import app
from summand.report.site import recipe
from tests.report.site.test_build import squashed
from tests.tiny import clip


def commands(text: str) -> list[list[str]]:
    return [shlex.split(line) for line in text.splitlines()]


def test_the_commands_of_a_survey_of_named_images_are_whole(vit, survey):
    """Each is read by the command line itself, which refuses what it does not know."""
    text = recipe.making(survey, "scenes", recipe.unusual({"most": 24, "size": 10, "no_images": True, "layers": "4,5"}))
    made, label, atlas = commands(text)
    assert made[:2] == ["summand", "survey"]
    assert "--held-out 0.25" in " ".join(made)
    assert "scenes:count=160,seed=1" in made
    assert label == ["summand", "label", "run", "--pool", "scenes"]
    assert "--most 24 --no-images --layers 4,5" in " ".join(atlas)
    assert "--size" not in atlas
    for words in (made, label, atlas):
        _, bound, unread = app.made(words[1]).parse_args(words[1:])[:3]
        assert bound.arguments
        assert not unread


@pytest.mark.slow
def test_no_path_of_the_machine_stands_on_a_page(tmp_path, vit):
    from PIL import Image

    (tmp_path / "secret" / "photos").mkdir(parents=True)
    for i in range(24):
        noise = np.random.default_rng(i).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / "secret" / "photos" / f"{i}.png")
    run = summand.survey(vit, "scenes:count=24", units="heads", held_out=0.2, progress=False)
    run.manifest = replace(run.manifest, source="photos", location=str(tmp_path / "secret" / "photos"),
                        checkpoint=str(tmp_path / "secret" / "own.pt"))  # fmt: skip
    text = recipe.making(run, "general", {})
    assert "secret" not in text
    assert "--checkpoint own.pt" in text
    assert "--images photos" in text


@pytest.fixture(scope="module")
def wrapped():
    model = summand.wrap(clip(), preprocess=squashed, tokenizer=SimpleTokenizer(context_length=16), name="mine")
    pictures = np.random.default_rng(1).integers(0, 256, (24, 32, 32, 3), dtype=np.uint8)
    return model, pictures, summand.survey(model, pictures, units="heads", held_out=0.4, progress=False)


@pytest.mark.slow
def test_of_a_wrapped_model_the_snippet_runs_once_it_is_filled_in(wrapped, tmp_path, monkeypatch):
    model, pictures, run = wrapped
    (tmp_path / "words.txt").write_text("a dog\na cat\nrust\nsnow\na red star\na house")
    text = recipe.making(run, str(tmp_path / "words.txt"), {"pictures": 2})
    assert "# fill in: clip, preprocess and tokenizer are your own model’s, images its images" in text
    monkeypatch.chdir(tmp_path)
    tokenizer = SimpleTokenizer(context_length=16)
    names = {"clip": clip(), "preprocess": squashed, "tokenizer": tokenizer, "images": pictures}
    exec(compile(text, "snippet", "exec"), names)
    assert (tmp_path / "atlas" / "index.html").is_file()
    assert len(list((tmp_path / "atlas" / "images").iterdir())) == 2
    opening = recipe.opening(summand.open(tmp_path / "run", model=model))
    exec(compile("import summand\n" + opening, "snippet", "exec"), names)
    assert names["survey"]["1.0"].called is not None
    ast.parse(opening)
