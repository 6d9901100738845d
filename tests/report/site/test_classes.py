"""What ablation does to the classes of one's own images, in folders: not scenes."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from open_clip.tokenizer import SimpleTokenizer
from PIL import Image

import summand
from summand import SummandError
from summand.data import open_source
from summand.report.site.ablation import changes_of, problems_of
from summand.report.site.beside import labelled
from summand.report.site.entries import entries_of
from summand.text.pools import pool
from tests.report.conftest import SCENES
from tests.tiny import clip

pytestmark = pytest.mark.slow
CLASSES = ("cat", "dog", "rust")
TEXTS = ("a dog", "a cat", "rust", "snow", "a house", "tea")


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """A folder a class, of pictures that a random model tells apart a little: each class has its own colour."""
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for number, name in enumerate(CLASSES):
        (folder / name).mkdir()
        for i in range(16):
            pixels = rng.integers(0, 90, (32, 32, 3), dtype=np.uint8)
            pixels[..., number] += rng.integers(60, 160, dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.png")
    return folder


def bright(image: Image.Image) -> torch.Tensor:
    return 6 * (torch.tensor(np.asarray(image.convert("RGB"))).permute(2, 0, 1).float() / 255 - 0.3)


@pytest.fixture(scope="module")
def model():
    """Random weights of which the predictions differ, and hang on single heads."""
    return summand.wrap(clip(10), preprocess=bright, tokenizer=SimpleTokenizer(context_length=16))


@pytest.fixture(scope="module")
def run(model, photos):
    return summand.survey(model, str(photos), units="heads", held_out=0.5, progress=False)


def test_accuracy_is_the_models_own_with_and_without_a_head(model, photos, run):
    """Zero-shot with the templates of the model's world, head by head, against decompositions of the very images."""
    source = open_source(str(photos))
    (problem,) = problems_of(model, run, source, "folders")
    held = run.held_out_images
    truth = [CLASSES.index(Path(source.name(int(i))).parent.name) for i in held]
    assert problem.classes == CLASSES
    assert problem.labels.tolist() == truth
    assert problem.phrases[1] == model.world.class_templates()[0]("dog")
    texts = [[template(name) for template in model.world.class_templates()] for name in CLASSES]
    weights = torch.stack([model.encode_text(some).mean(dim=0) for some in texts])
    weights = torch.nn.functional.normalize(weights, dim=1).double()
    pixels = torch.stack([model.preprocess(source.image(int(i))) for i in held])
    whole, heads = model.encode_image(pixels).double(), model.decompose(pixels).heads().double()
    mean, words = (
        run.moments("heads").mean_vectors().double(),
        pool(["a dog", "a cat", "rust", "snow", "a house", "tea"]),
    )
    entries, _ = entries_of(labelled(run, model, words, model.encode_text(words.texts)), range(2), 10)
    changes = changes_of(run, [problem], entries)
    assert len(entries) == len(changes) == 4
    for entry in entries:
        layer, head = entry.unit.index
        without = whole - (heads[:, layer, head] - mean[layer, head])
        (change,) = changes[entry.name]
        for outputs, said in ((whole, change.before), (without, change.after)):
            right = (outputs @ weights.T).argmax(dim=1) == torch.tensor(truth)
            assert abs(float(right.double().mean()) - said) <= 1.01 / len(held)  # fp16 may turn one


def test_pages_say_it_class_by_class(model, photos, run, tmp_path):
    (tmp_path / "words.txt").write_text("\n".join(TEXTS))
    asked = {"pool": str(tmp_path / "words.txt"), "classes": "cat,dog,rust", "pictures": 5, "progress": False}
    made = summand.atlas(run, tmp_path / "a", model=model, **asked)
    pages = {path.stem: path.read_text() for path in (tmp_path / "a" / "heads").iterdir()}
    assert len(pages) == len(made.rows) == 4
    shown = [text.partition("What ablating it does")[2].partition("</section>")[0] for text in pages.values()]
    assert all("on 24 images kept aside" in text for text in shown)
    changed = [text for text in shown if "of 8 images right" in text]
    assert changed  # of a model of two layers some head turns some image
    assert any(re.search(r'title="(cat|dog|rust): ', text) for text in changed)
    front = (tmp_path / "a" / "index.html").read_text()
    assert 'data-measure="ablation"' in front
    assert '"classes": ' not in front
    assert "classes=" in front  # what makes the page says so: the model was wrapped
    for page in (tmp_path / "a" / "images").iterdir():
        name = re.search(r"<title>([^,]+),", page.read_text())[1]
        said = re.search(r"<b dir=\"auto\">(\w+)</b> <span class=\"soft\">\(class, (right|wrong)\)", page.read_text())
        assert said, name
        assert (said[1] == name.split("/")[0]) == (said[2] == "right")


def test_classes_that_the_images_do_not_have_are_refused(model, photos, run):
    source = open_source(str(photos))
    with pytest.raises(SummandError, match="class"):
        problems_of(model, run, source, "whale,bicycle")
    pictures = np.random.default_rng(1).integers(0, 256, (24, 32, 32, 3), dtype=np.uint8)
    memory = summand.survey(model, pictures, units="heads", held_out=0.4, progress=False)
    with pytest.raises(SummandError, match="in memory"):
        problems_of(model, memory, memory.source(), "cat,dog")


def test_attributes_that_scenes_do_not_have_are_refused(vit, survey):
    with pytest.raises(SummandError, match="no attribute 'weather'"):
        problems_of(vit, survey, open_source(SCENES), "weather")
