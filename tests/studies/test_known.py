"""A survey stands for the images that it is of: studies that are given one read none of them again."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

import summand
from summand.studies.ablation.accuracy import read
from summand.studies.debias.choice import choose_way
from summand.studies.debias.options import Way
from summand.studies.debias.spurious import span
from summand.studies.debias.ways import Ways
from tests.counting import Counted

pytestmark = pytest.mark.slow

COUNT = 60
DATA = "scenes:count=30,seed=3"


def reference(seed: int = 8) -> Counted:
    return Counted(f"scenes:count={COUNT},seed={seed}")


@pytest.fixture(scope="module")
def kept(vit):
    """Of heads and of neurons of one layer, with the heads' coefficients of every layer."""
    return summand.survey(vit, reference(), units="heads,neurons:3", held_out=0, top=2, keep=6, progress=False)


@pytest.mark.parametrize(
    ("given", "rows"),
    [
        ({"what": "mlps"}, 1),
        ({"what": "attention+mlps"}, 6),
        ({"what": "textspan", "size": "2", "pool": "scenes"}, 2),
        ({"what": "second-order,sparse,reconstruction", "layers": "3", "size": "2", "pool": "scenes"}, 9),
        ({"units": "5.0,4.1; 3:7,3:8"}, 2),
    ],
)
def test_ablate_reads_nothing_that_a_survey_knows(vit, kept, given, rows, monkeypatch):
    def read(image: int) -> None:
        raise AssertionError("read again")

    plain = summand.ablate(vit, "scenes:count=30,seed=3", reference(), classes="shape", batch_size=20, **given)
    monkeypatch.setattr(kept.source(), "image", read)
    found = summand.ablate(vit, "scenes:count=30,seed=3", kept, classes="shape", batch_size=20, **given)
    assert found.rows.equals(plain.rows)
    assert len(found.rows) == rows


@pytest.mark.parametrize(
    "given",
    [{"what": "mlps"}, {"what": "attention+mlps"}, {"what": "textspan", "size": "2", "pool": "scenes"}],
)
def test_means_of_all_terms_are_in_every_survey(vit, given, tmp_path):
    """Without coefficients of single images, and from a folder; images kept aside are no part of a mean."""
    source = reference(seed=10)
    known = summand.survey(vit, source, units="heads", held_out=0.5, top=0, progress=False).save(tmp_path / "run")
    source.read = 0
    found = summand.ablate(vit, DATA, known, classes="shape", **given)
    assert source.read == 0
    half = [source.image(i) for i in range(COUNT) if i not in known.held_out_images]
    pd.testing.assert_frame_equal(found.rows, summand.ablate(vit, DATA, half, classes="shape", **given).rows)


def test_every_way_to_repair_takes_a_surveys_means(vit):
    """Found from its images as batches, and from what it knows: the same means, to rounding."""
    source, heads = reference(seed=11), [(5, 0), (4, 1)]
    known = summand.survey(vit, source, units="heads", held_out=0, top=0, progress=False)
    source.read = 0
    axes = span(vit.encode_text(["a scene by the sea", "a scene in the forest", "a scene at night"]), "attribute")
    for units in (heads, []):
        ways: list[Way] = ["units", "measured", "units-axis"] if units else []
        recalled, learnt = (Ways(vit, units, axes, 1.3, [*ways, "terms-axis", "text-axis"]) for _ in range(2))
        assert recalled.recall(known, vit.device)
        assert source.read == 0
        for batch in read(vit, source, 20, "", False):
            learnt.learn(0, batch)
        other = next(iter(read(vit, Counted("scenes:count=9,seed=12"), 9, "", False)))
        for (name, one), (_, two) in zip(recalled.versions(other), learnt.versions(other), strict=True):
            torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5, msg=str(name))
        source.read = 0


def test_what_no_survey_holds_is_learnt_from_its_images(vit, kept):
    source = kept.source()
    before = source.read
    summand.ablate(vit, "scenes:count=20,seed=3", kept, classes="shape", what="class-token+mlps")
    assert source.read == before + COUNT


def test_ablate_of_pairs_takes_a_survey_of_them(resnet):
    given = {"classes": "shape", "units": "3x1,5x0", "what": "reconstruction,pairs", "components": "1", "keep": "10"}
    source = reference()
    known = summand.survey(resnet, source, units="pairs", held_out=0, top=50, progress=False)
    source.read = 0
    found = summand.ablate(resnet, "scenes:count=20,seed=3", known, **given, variance=4)
    assert source.read == 4 * COUNT  # of neurons, all heads together, which the survey does not know
    assert found.rows.equals(summand.ablate(resnet, "scenes:count=20,seed=3", reference(), **given).rows)
    pairs = next(share for share in found.variance if share["effects"] == "pairs")
    assert (pairs["images"], pairs["units"], pairs["top"]) == (COUNT, 4, 50)
    assert pairs["everywhere"] == pytest.approx(1)  # a pair is of rank one


def test_debias_reads_nothing_that_a_survey_knows(vit, kept):
    given = {"classes": "shape", "groups": "place", "allow_empty": True, "draws": 2, "units": "5.0,4.1"}
    plain = summand.debias(vit, "scenes:count=30,seed=3", reference=reference(), **given)
    source = kept.source()
    before = source.read
    found = summand.debias(vit, "scenes:count=30,seed=3", reference=kept, **given)
    assert source.read == before
    pd.testing.assert_frame_equal(found.rows, plain.rows)
    assert found.summary == plain.summary


def test_debias_seeks_and_weighs_by_what_a_survey_kept(vit):
    source = reference(seed=9)
    known = summand.survey(vit, source, units="heads", held_out=0.5, top=0, keep=6, progress=False)
    source.read = 0
    given = {"classes": "shape", "groups": "place", "allow_empty": True, "draws": 1, "cover": 0.5}
    found = summand.debias(vit, "scenes:count=30,seed=3", reference=known, **given)
    assert source.read == 0
    assert found.leaks
    units = [tuple(map(int, row["unit"].split("."))) for row in found.removed] or [(5, 0)]
    attribute = vit.encode_text(["a scene by the sea", "a scene in the forest", "a scene at night"])
    classes = vit.encode_text(["a star", "a ring", "a square"])
    axes = span(attribute, "attribute")
    by_memory = choose_way(vit, source, units, axes, attribute, classes, survey=known)
    assert source.read == 0
    forgetful = summand.survey(vit, source, units="heads", held_out=0.5, top=0, progress=False)
    source.read = 0
    by_images = choose_way(vit, source, units, axes, attribute, classes, survey=forgetful)
    assert source.read == COUNT
    assert by_memory.images == by_images.images == len(known.held_out_images)
    assert by_memory.leaks == pytest.approx(by_images.leaks, rel=1e-3)
    assert by_memory.way == by_images.way


def test_subconcepts_of_a_survey_take_one_pass(resnet):
    source = reference()
    known = summand.survey(resnet, source, units="pairs", held_out=0, top=0, progress=False)
    source.read = 0
    found = summand.subconcepts(resnet, known, "3,9", top=4).found
    assert source.read == COUNT
    plain = summand.subconcepts(resnet, reference(), "3,9", top=4).found
    np.testing.assert_array_equal(found.pair_images, plain.pair_images)
    np.testing.assert_array_equal(found.neuron_images, plain.neuron_images)
    torch.testing.assert_close(found.pair_inertia, plain.pair_inertia)
    torch.testing.assert_close(found.directions()[0], plain.directions()[0], rtol=1e-4, atol=1e-5)
