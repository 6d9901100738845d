"""What is wrong is said before any work: missing data, wrong layouts, weights that are not there."""

from __future__ import annotations

from pathlib import Path

import pytest

import summand
from summand import SummandError
from summand.studies.reproduce import before
from summand.studies.reproduce.needs import NEEDS
from summand.studies.reproduce.row import Weights
from tests.commands import command, error_of
from tests.studies.reproduce import miniatures


def test_data_that_were_not_given_are_asked_for_by_name():
    said = command("reproduce", "C:table3").error
    assert "--data imagenet-seg=PATH" in said
    assert "--on scenes" in said
    assert "gtsegs_ijcv.mat" in said
    assert "none of these rows" in error_of("reproduce", "C")


@pytest.mark.parametrize("name", [name for name in NEEDS if name != "reference"])
def test_a_wrong_layout_shows_the_expected_tree(tmp_path, name):
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    (wrong / "notes.txt").write_text("nothing")
    with pytest.raises(SummandError, match="is not") as caught:
        NEEDS[name].check(wrong)
    assert NEEDS[name].tree in str(caught.value)
    with pytest.raises(SummandError, match="no such path"):
        NEEDS[name].check(tmp_path / "nowhere")


def test_pictures_of_all_classes_in_one_folder_are_named(tmp_path):
    for i in range(3):
        miniatures.picture(tmp_path / f"ILSVRC2012_val_{i:08d}.JPEG", i)
    said = error_of("reproduce", "C:fig2", "--data", f"imagenet-val={tmp_path}")
    assert "3 pictures lie in it that are sorted into no classes" in said


def test_a_part_of_imagenet_asks_for_its_names(minis):
    with pytest.raises(SummandError, match=r"4 classes, and there are 1,000 names.*--classes FILE"):
        summand.reproduce("C:fig2", minis.vit, data=minis.data)


def test_classes_of_imagenet_r_that_validation_lacks(tmp_path, minis, small):
    root = miniatures.imagenet(tmp_path / "r", 1)
    (root / "n01440764").rename(root / "n09999999")
    asked = minis.asked(data={**minis.data, "imagenet-r": str(root)})
    with pytest.raises(SummandError, match="n09999999"):
        summand.reproduce("A:fig10", minis.vit, **asked)


def test_tables_of_cars_that_are_none(tmp_path, minis):
    root = miniatures.cars(tmp_path / "cars")
    (root / "devkit" / "cars_meta.mat").write_bytes(b"nothing")
    with pytest.raises(SummandError, match=r"cannot be read.*\n.*stanford_cars"):
        summand.reproduce("B:cars", minis.resnet, data={"stanford-cars": str(root)})
    other = miniatures.cars(tmp_path / "others")
    (other / "colours.csv").write_text("file,colour\n00001.jpg,red\n")
    with pytest.raises(SummandError, match="no columns image and colour"):
        summand.reproduce("B:cars", minis.resnet, data={"stanford-cars": str(other)})


def test_missing_weights_are_named_with_their_place(monkeypatch, tmp_path, minis):
    monkeypatch.setattr(before, "reachable", lambda: False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(SummandError, match="not there") as caught:
        before.check_weights(Weights("ViT-B-16", "laion2b_s34b_b88k"), "C:fig2")
    said = str(caught.value)
    assert "tag 'laion2b_s34b_b88k'" in said
    assert "laion/CLIP-ViT-B-16-laion2B-s34B-b88K" in said
    assert str(tmp_path / "hub" / "models--laion--CLIP-ViT-B-16-laion2B-s34B-b88K") in said
    before.check_weights(Weights("scenes-vit"), "C:fig2")  # shipped


def test_options_are_checked():
    assert "takes NAME=PATH" in error_of("reproduce", "C:fig2", "--data", "imagenet-val")
    assert "imagenet-val" in error_of("reproduce", "C:fig2", "--data", "imagenet-vall=x")
    assert "must be at least 20" in error_of("reproduce", "C:fig2", "--count", 5)
    assert "no table or figure 'D'" in error_of("reproduce", "D")


def test_rows_without_their_data_are_left_out_of_all(minis, small):
    asked = minis.asked(data={"stanford-cars": minis.data["stanford-cars"]})
    found = summand.reproduce("B", minis.resnet, **asked)
    assert list(found.seconds) == ["B:cars"]
    assert any("left out" in note and "B:context59" in note for note in found.notes)


def test_the_list_in_the_shell():
    found = command("reproduce")
    assert found.code == 0
    assert "C:table13" in found.out
    assert command("reproduce", "list", "--json").json["rows"][0]["row"] == "C:fig2"


def test_paths_may_begin_with_the_home_folder(monkeypatch, tmp_path, minis, small):
    monkeypatch.setenv("HOME", str(tmp_path))
    Path(tmp_path / "cars").symlink_to(minis.data["stanford-cars"])
    found = summand.reproduce("B:cars", minis.resnet, **minis.asked(data=["stanford-cars=~/cars"]))
    assert len(found.numbers) == 2
