"""What goes wrong in the data of a study is named, with what to do, whatever it is and wherever it stands."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from summand import SummandError
from summand.data.labelled import Labelled, open_labelled
from summand.studies.debias.groups import check_groups
from tests.commands import command
from tests.depth import deep
from tests.studies.pictures import Noise

NAMES = ["hen", "owl", "gull"]
quick = settings(max_examples=deep(25, 8), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def frame(tmp_path):
    for i in range(9):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{i}.png")
    return pd.DataFrame({
        "path": [f"{i}.png" for i in range(9)],
        "label": [i % 3 for i in range(9)],
        "place": ["sea", "land", "land"] * 3,
    })  # fmt: skip


@quick
@given(column=st.sampled_from(["path", "label", "place"]), row=st.integers(0, 8))
def test_a_missing_value_is_named_by_its_column_and_line(tmp_path, frame, column, row):
    table = tmp_path / "birds.csv"
    broken = frame.astype(object)
    broken.loc[row, column] = np.nan
    broken.to_csv(table, index=False)
    with pytest.raises(SummandError, match=rf"birds\.csv: no value in column '{column}' of line {row + 2}; fill it in"):
        open_labelled(str(table), NAMES, groups="place")


@quick
@given(
    row=st.integers(0, 8),
    value=st.one_of(
        st.integers(3, 10**9),
        st.integers(-(10**9), -1),
        st.sampled_from([float("inf"), -float("inf"), 0.5, 1e300]),
        st.sampled_from(["swan", "Hen", "hen "]),
    ),
)
def test_labels_that_disagree_with_the_class_list_are_named(tmp_path, frame, row, value):
    table = tmp_path / "birds.csv"
    broken = frame.astype({"label": object})
    if isinstance(value, str):
        broken["label"] = [NAMES[label] for label in frame["label"]]
    broken.loc[row, "label"] = value
    broken.to_csv(table, index=False)
    with pytest.raises(SummandError, match=r"birds\.csv, column 'label'") as said:
        open_labelled(str(table), NAMES)
    assert any(remedy in str(said.value) for remedy in ("give one for each", "expected whole numbers", "make the two"))


@quick
@given(counts=st.lists(st.lists(st.integers(0, 2), min_size=3, max_size=3), min_size=2, max_size=4))
def test_every_empty_group_is_named(counts):
    """counts: images of each class (row) and value of the second attribute (column)."""
    cells = [(i, j) for i, row in enumerate(counts) for j, count in enumerate(row) for _ in range(count)]
    if len({j for _, j in cells}) < 2:
        return
    classes, values = tuple(f"class{i}" for i in range(len(counts))), ("sea", "land", "snow")
    labels, groups = (np.array([cell[axis] for cell in cells]) for axis in (0, 1))
    data = Labelled(Noise(len(cells)), classes, labels, values, groups)
    empty = [f"{classes[i]} / {values[j]}" for i, row in enumerate(counts) for j, count in enumerate(row) if not count]
    if not empty:
        check_groups(data, False)
        return
    with pytest.raises(SummandError, match=rf"^{len(empty)} group\(s\) have no images: .*allow_empty=True") as said:
        check_groups(data, False)
    assert all(name in str(said.value) for name in empty[:4])
    check_groups(data, True)


@quick
@given(images=st.integers(1, 9))
def test_fewer_images_than_classes_is_an_error(images):
    with pytest.raises(SummandError, match=rf"has {images} image\(s\) for 10 classes; give at least one image a class"):
        open_labelled(f"scenes:count={images}", "shape")


def test_an_unreachable_language_model_leaves_the_words_and_the_question(tmp_path, monkeypatch, unchecked):
    monkeypatch.chdir(tmp_path)
    found = command("attack", "star", "cross", "--reference", "scenes:count=20", "--layers", "4", "--llm",
                    "http://127.0.0.1:1/v1", "--repeats", "0")  # fmt: skip
    assert (found.code, found.out) == (2, "")
    error = found.error
    assert "http://127.0.0.1:1/v1/chat/completions cannot be reached" in error
    assert "give another --llm, or write the prompts yourself from the words file" in " ".join(error.split())
    assert json.loads((tmp_path / "attack" / "words.json").read_text())["words"]
    assert "star" in (tmp_path / "attack" / "instruction.txt").read_text()
