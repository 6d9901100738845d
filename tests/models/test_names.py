"""What is suggested for names and tags that are not known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import summand
from summand.errors import nearest
from summand.models.names import hint_of_tag, unknown_model
from tests import tiny
from tests.border import open_clip


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("hf", ": write hf:org/name or hf:FOLDER, for a model of transformers"),
        ("HF:", ": write hf:org/name or hf:FOLDER"),
        ("huggingface", ": write hf:org/name or hf:FOLDER"),
        ("hf-hub", ": write hf-hub:org/name"),
        ("hf_hub:org/name", ": write hf-hub:org/name ("),
        ("HF:org/name", ": write hf:org/name ("),
        ("local-dir", ": write local-dir:FOLDER"),
        ("ViT-B-17", ", did you mean 'ViT-B-16'"),
        ("ViT-B/32", ", did you mean 'ViT-B-32'?"),
        ("vit_b_32", ", did you mean 'ViT-B-32'?"),
        ("ViT-L/14@336px", ", did you mean 'ViT-L-14-336'"),
        ("RN51", ", did you mean 'RN50'"),
        ("siglip", "SigLIP"),
        ("scenes", "'scenes-vit'"),
        ("ViT-B-32-openai", ": write ViT-B-32 and, as pretrained=, the tag 'openai'"),
        ("ViT-B-32-quickgelu/openai", ": write ViT-B-32-quickgelu and, as pretrained=, the tag 'openai'"),
        ("openai/clip-vit-base-patch32", ": write hf:openai/clip-vit-base-patch32 (in the layout of transformers) or"),
        ("https://huggingface.co/org/name/tree/main", ": write hf:org/name (in the layout of transformers) or hf-hub:"),
        ("zzzzzzzz", ", no similar name is known"),
        ("", ", no similar name is known"),
    ],
)
def test_names(name, hint):
    said = unknown_model(name, ("scenes-vit", "scenes-rn"))
    assert said.startswith(f"unknown model {name!r}")
    assert hint in said
    assert said.endswith(f"(`summand models` lists all {len(open_clip.list_models()) + 2})")


def test_folders_and_files(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "hugging").mkdir()
    (tmp_path / "hugging" / "config.json").write_text("{}")
    tiny.write_folder(tmp_path / "open", tiny.clip())
    (tmp_path / "file.pt").touch()
    for name, hint in (
        ("empty", "a model's folder holds config.json"),
        ("hugging", f"write hf:{tmp_path / 'hugging'}"),
        ("open", f"write local-dir:{tmp_path / 'open'}"),
        ("file.pt", "the name of its architecture, and the file as checkpoint="),
    ):
        with pytest.raises(summand.SummandError, match="unknown model") as refusal:
            summand.load(str(tmp_path / name))
        assert hint in str(refusal.value)


@pytest.mark.parametrize(
    ("tag", "hint"),
    [
        ("opnai", ", did you mean 'openai'?"),
        ("OPENAI_", "'openai'"),
        ("laion2b_s34b_b79", "'laion2b_s34b_b79k'"),
        ("dfn2b", ", which is a tag of ViT-B-16, "),
        ("quickgelu", ", did you mean the model 'ViT-B-32-quickgelu'?"),
        ("zzz", ""),
    ],
)
def test_tags(tag, hint):
    assert hint in hint_of_tag("ViT-B-32", tag)
    with pytest.raises(summand.SummandError) as refusal:
        summand.load("ViT-B-32", tag)
    assert f"ViT-B-32 has no pretrained tag {tag!r}{hint_of_tag('ViT-B-32', tag)} (tags: " in str(refusal.value)


@given(st.sampled_from(open_clip.list_models()), st.data())
def test_a_name_with_one_letter_wrong_is_found_again(name, data):
    at = data.draw(st.integers(0, len(name) - 1))
    letter = data.draw(st.sampled_from("abcXYZ019-"))
    close = nearest(name[:at] + letter + name[at + 1 :], open_clip.list_models(), count=12)
    assert repr(name) in close


def test_nearest_prefers_what_is_spelled_alike():
    assert nearest("VIT/b 32", ["ViT-B-16", "ViT-B-32"]) == ", did you mean 'ViT-B-32'?"
    assert nearest("colour", ["shape", "colour of the place"]) == ", did you mean 'colour of the place'?"
    assert nearest("q", ["quite another", "word"]) == ""
