from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from summand import SummandError
from summand.border import foreign
from summand.data.labelled import open_labelled
from summand.scenes import draw_causes


def write(path, *names):
    path.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", (8, 8), "red").save(path / name)


@pytest.fixture
def birds(tmp_path):
    """Waterbirds' own layout."""
    write(tmp_path / "001.Albatross", *(f"{i}.jpg" for i in range(6)))
    table = pd.DataFrame(
        {
            "img_id": range(1, 7),
            "img_filename": [f"001.Albatross/{i}.jpg" for i in range(6)],
            "y": [0, 1, 0, 1, 0, 1],
            "split": [0, 0, 0, 2, 2, 2],
            "place": [0, 1, 0, 0, 1, 1],
            "place_filename": ["/o/ocean/1.jpg"] * 6,
        }
    )
    table.to_csv(tmp_path / "metadata.csv", index=False)
    return tmp_path


def test_folders_are_classes_in_the_order_of_their_names(tmp_path):
    write(tmp_path / "b_dog", "1.png", "2.png")
    write(tmp_path / "a cat", "3.png")
    found = open_labelled(str(tmp_path))
    assert found.classes == ("a cat", "b dog")
    assert [found.source.name(i).split("/")[0] for i in range(3)] == ["a cat", "b_dog", "b_dog"]
    np.testing.assert_array_equal(found.labels, [0, 1, 1])
    assert open_labelled(str(tmp_path), ["tom", "rex"]).classes == ("tom", "rex")


@pytest.mark.parametrize("through_the_folder", [True, False])
def test_waterbirds_metadata_as_it_is(birds, through_the_folder):
    table = str(birds / "metadata.csv")
    names = ["landbird", "waterbird"]
    found = open_labelled(str(birds), names, groups=table) if through_the_folder else open_labelled(table, names)
    np.testing.assert_array_equal(found.labels, [1, 0, 1])
    np.testing.assert_array_equal(found.groups, [0, 1, 1])
    np.testing.assert_allclose(foreign(found.shares), [[2 / 3, 0], [0, 1 / 3]])
    assert found.source.image(0).size == (8, 8)
    assert len(open_labelled(table, names, split="train")) == 3
    pd.read_csv(table).query("split == 2").to_csv(table, index=False)
    assert open_labelled(table, names).shares is None  # no training row says how often a group is


def test_a_table_of_words_with_its_own_columns(tmp_path):
    write(tmp_path, "1.png", "2.png", "3.png")
    pd.DataFrame(
        {"path": ["1.png", "2.png", "3.png"], "kind": ["x", "y", "x"], "habitat": ["sea", "land", "land"]}
    ).to_csv(tmp_path / "t.csv", index=False)
    found = open_labelled(str(tmp_path / "t.csv"), groups="habitat", label_column="kind")
    assert (found.classes, found.values) == (("x", "y"), ("land", "sea"))
    np.testing.assert_array_equal(found.groups, [1, 0, 0])
    np.testing.assert_allclose(found.frequencies(), [[1 / 3, 1 / 3], [1 / 3, 0]])


def test_scenes_have_an_attribute_as_class_and_one_as_group():
    found = open_labelled("scenes:count=40,seed=3", "shape", groups="place")
    truth = draw_causes(40, 3).table()
    assert [found.classes[i] for i in found.labels] == list(truth["shape"])
    assert [found.values[i] for i in found.groups] == list(truth["place"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"place": [0, None, 0, 0, 1, 1]}, r"no value in column 'place' of line 3; fill it in"),
        ({"y": [0, 2, 0, 1, 0, 1]}, "goes up to 2, but there are 2 names"),
        ({"y": [0.5, 1, 0, 1, 0, 1]}, "expected whole numbers"),
        ({"y": ["landbird", "hen", "landbird", "hen", "hen", "hen"]}, "holds hen, which is not among the names"),
        ({"split": [0, 0, 0, 1, 1, 1]}, "no rows of split 'test'"),
    ],
)
def test_what_is_wrong_in_a_table_is_named(birds, change, said):
    table = birds / "metadata.csv"
    pd.read_csv(table).assign(**change).to_csv(table, index=False)
    with pytest.raises(SummandError, match=said):
        open_labelled(str(table), ["landbird", "waterbird"])


def test_what_is_wrong_elsewhere_is_named(birds, tmp_path):
    table = str(birds / "metadata.csv")
    with pytest.raises(SummandError, match="say what they mean with classes="):
        open_labelled(table)
    with pytest.raises(SummandError, match=r"needs a column 'habitat' for the groups"):
        open_labelled(table, ["a", "b"], groups="habitat")
    pd.read_csv(table).to_csv(birds / "other.csv")
    for data in ("other.csv", "nowhere"):
        with pytest.raises(SummandError, match=rf"{data} is no folder, and the table .* give their folder"):
            open_labelled(str(birds / data), ["a", "b"], groups=table)
    assert len(open_labelled(table, ["a", "b"], groups=table)) == 3
    with pytest.raises(SummandError, match=r"on scenes the classes and the groups are attributes"):
        open_labelled("scenes:count=20", "form")
    with pytest.raises(SummandError, match=r"say which attribute .*classes="):
        open_labelled("scenes:count=20")
    with pytest.raises(SummandError, match=r"has 3 image\(s\) for 10 classes"):
        open_labelled("scenes:count=3", "shape")
    with pytest.raises(SummandError, match=r"has 1 sub-folder\(s\)"):
        open_labelled(str(birds))
    write(tmp_path / "one", "1.png")
    write(tmp_path / "two", "1.png")
    with pytest.raises(SummandError, match=r"2 class names for the 3 folders"):
        open_labelled(str(tmp_path), ["a", "b"])
    with pytest.raises(SummandError, match="no labelled images at"):
        open_labelled(str(tmp_path / "nothing.csv"))
