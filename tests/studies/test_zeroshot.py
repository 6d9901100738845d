from __future__ import annotations

import pytest
import torch
from open_clip.zero_shot_classifier import build_zero_shot_classifier

import summand
from summand import SummandError
from summand.studies.zeroshot import attribute_classes, classifier, named_classes, predict, read_names, read_templates
from tests.border import open_clip
from tests.tiny import clip


@pytest.fixture(scope="module")
def tiny():
    return summand.wrap(clip(), tokenizer=open_clip.SimpleTokenizer(context_length=16))


def test_the_classifier_is_open_clips(tiny):
    names, templates = ["goldfish", "great white shark", "hen"], open_clip.OPENAI_IMAGENET_TEMPLATES[:9]
    theirs = build_zero_shot_classifier(tiny.clip, open_clip.SimpleTokenizer(context_length=16), names, templates)
    torch.testing.assert_close(classifier(tiny, named_classes(names, templates)), theirs.T, rtol=1e-4, atol=1e-5)


def test_imagenet_is_built_in(tiny):
    assert read_names("imagenet") == list(open_clip.IMAGENET_CLASSNAMES)
    assert read_templates(None, tiny) == list(open_clip.OPENAI_IMAGENET_TEMPLATES)
    assert len(read_templates("simple", tiny)) == 7
    assert len(named_classes(read_names("imagenet"), ["a photo of {a}"])) == 1000


def test_names_and_templates_from_a_file_or_a_line(tmp_path, tiny):
    (tmp_path / "names.txt").write_text("# birds\nland bird\n\nowl\n")
    names = read_names(str(tmp_path / "names.txt"))
    assert names == read_names("land bird, owl") == ["land bird", "owl"]
    made = named_classes(names, read_templates("a photo of {a}", tiny))
    assert made.texts == (("a photo of a land bird",), ("a photo of an owl",))


def test_the_scenes_prompts_tell_shapes_apart(vit):
    weights = classifier(vit, attribute_classes(vit.world, "shape"))
    scenes = summand.scenes.sample(60, seed=2)
    guesses = predict(vit.encode_image(vit.preprocess(scenes.images)), weights)
    assert (guesses.numpy() == scenes.causes.codes("shape")).mean() > 0.8
    torch.testing.assert_close(weights.norm(dim=1), torch.ones(10))


def test_bad_names_and_templates_are_named(tmp_path, tiny):
    with pytest.raises(SummandError, match="empty class name"):
        read_names("owl,,hen")
    with pytest.raises(SummandError, match="cannot read class names"):
        read_names(str(tmp_path / "none.txt"))
    with pytest.raises(SummandError, match="given more than once"):
        named_classes(["owl", "owl"], ["{}"])
    (tmp_path / "t.txt").write_text("a photo\n")
    with pytest.raises(SummandError, match="a template must hold"):
        read_templates(str(tmp_path / "t.txt"), tiny)
