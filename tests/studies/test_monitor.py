"""A stream that comes bit by bit is tested as one set is, and alarms call back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import summand
from summand.studies.shift.options import ShiftOptions
from summand.studies.shift.reference import Reference
from summand.studies.shift.result import Shift
from tests.border import stats
from tests.depth import deep
from tests.studies.results import assert_page, assert_whole

pytestmark = pytest.mark.slow

BEFORE, AFTER = "scenes:count=60,seed=1", "scenes:count=48,seed=2,shift=place/sea/0.5"
OPTIONS = ShiftOptions(permutations=99, batch_size=16)


@pytest.fixture(scope="module")
def whole(vit) -> Shift:
    return summand.shift(BEFORE, AFTER, vit, options=OPTIONS, concept="the sea")


@pytest.fixture(scope="module")
def pixels(vit) -> torch.Tensor:
    return vit.preprocess(summand.scenes.parse_source(AFTER).sample().images)


@pytest.fixture(scope="module")
def kept(vit, tmp_path_factory):
    path = tmp_path_factory.mktemp("reference") / "r.npz"
    summand.shift(BEFORE, model=vit, options=OPTIONS, concept="the sea", save_reference=path)
    return path


def monitor(vit, reference, **options) -> summand.Monitor:
    return summand.Monitor(reference, vit, permutations=99, batch_size=16, **options)


def assert_same(report: Shift, whole: Shift, within: float) -> None:
    both = report.rows.set_index("unit"), whole.rows.set_index("unit")
    for column in ("p", "q", "effect", "distance", "strength"):
        mine, theirs = both[0][column].to_numpy(), both[1].loc[both[0].index, column].to_numpy()
        assert mine == pytest.approx(theirs, rel=within, abs=within), column
    assert both[0]["concept"].to_dict() == both[1]["concept"].to_dict()
    assert (report.mmd_p, report.alarm) == (pytest.approx(whole.mmd_p, rel=within), whole.alarm)
    assert report.concepts[0]["p"] == pytest.approx(whole.concepts[0]["p"], rel=within)


def test_batches_are_tested_as_the_whole_is(vit, whole, pixels):
    watching = monitor(vit, BEFORE, concept="the sea")
    for some in pixels.split(16):
        watching.update(some)
    assert len(watching) == 48
    report = watching.report()
    assert_same(report, whole, 1e-12)
    assert [name.replace("image", "scene") for name in report.rows["pictures"][0]] == whole.rows["pictures"][0]


@settings(max_examples=deep(6, 2), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(1, 12), min_size=4, max_size=10))
def test_however_the_stream_is_cut_the_tests_are_the_same(vit, whole, pixels, kept, cuts):
    watching, start = monitor(vit, kept), 0
    for size in [*cuts, 48]:
        watching.update(pixels[start : start + size])
        start += size
        if start >= 48:
            break
    report = watching.report()  # numbers of single precision: another batch rounds otherwise, orders stay
    assert len(watching) == 48
    assert report.rows.set_index("unit")["p"].to_dict() == pytest.approx(whole.rows.set_index("unit")["p"].to_dict())
    assert report.mmd_p == pytest.approx(whole.mmd_p)


def test_images_of_every_form_are_read(vit, whole, kept, tmp_path):
    images = summand.scenes.parse_source(AFTER).sample().images
    for i in range(16, 32):
        Image.fromarray(images[i]).save(tmp_path / f"{i}.png")
    (tmp_path / "zz.png").write_bytes(b"no")
    watching = monitor(vit, kept)
    watching.update(images[:16])
    watching.update(str(tmp_path))
    watching.update([Image.fromarray(image) for image in images[32:47]])
    watching.update(Image.fromarray(images[47]))
    report = watching.report()
    assert_same(report, whole, 1e-5)  # 15 images and one round otherwise than 16
    assert [item["name"] for item in report.skipped] == ["zz.png"]
    assert any("zz.png" in note for note in report.notes)
    assert_whole(report)
    assert_page(report)
    assert "a stream of 48 images" in report.page()


def test_p_values_are_scipys(vit, kept, pixels):
    watching = monitor(vit, kept)
    watching.update(pixels)
    report, made = watching.report(), Reference.load(kept)
    readings = made.readings.read(vit.decompose(pixels).head_effects().coefficients).numpy()
    row = report.rows.iloc[0]
    columns = [i for i, name in enumerate(made.readings.names) if name == row["unit"]]
    smallest = min(stats.ks_2samp(made.measured.readings[:, i], readings[:, i]).pvalue for i in columns)
    assert row["p"] == pytest.approx(min(1, len(columns) * smallest), rel=1e-6)


def test_alarms_call_back_and_quiet_streams_do_not(vit, kept):
    found: list[Shift] = []
    watching = monitor(vit, kept, on_alarm=found.append, window=40)
    watching.update(summand.scenes.sample(4, seed=9).images)  # too few for any test
    watching.update(summand.scenes.sample(36, seed=3).images)
    assert found == []
    drifted = summand.scenes.parse_source("scenes:count=40,seed=5,shift=place/sea/0.9").sample().images
    watching.update(drifted)
    assert [result.alarm for result in found] == [True]
    assert found[0].rows["concept"][0] == "the sea"
    assert found[0].images["current"] == 40  # what came before has left the window
    alone = monitor(vit, kept)
    alone.update(drifted)
    assert_same(found[0], alone.report(), 1e-12)
    watching.reset()
    assert len(watching) == 0
    with pytest.raises(summand.SummandError, match="has 0 image"):
        watching.report()


def test_a_survey_is_a_reference(vit, tmp_path, unchecked):
    from tests.commands import command

    made = command("decompose", "--images", BEFORE, "--units", "heads", "--out", tmp_path / "run")
    assert made.code == 0, made.error
    watching = summand.Monitor(tmp_path / "run", options=OPTIONS)
    assert watching.reference.measured.readings == pytest.approx(
        monitor(vit, BEFORE).reference.measured.readings, abs=1e-6
    )
    assert watching.model.name == "scenes-vit"


def test_bad_input(vit, kept, pixels, unchecked):
    watching = monitor(vit, kept)
    for wrong, said in (
        (pixels[0], r"\[image, 3, height, width\]"),
        (pixels.to(torch.uint8), "as floats"),
        (7, "got int"),
        (pixels * np.nan, "NaN"),
    ):
        with pytest.raises(summand.SummandError, match=said):
            watching.update(wrong)
    with pytest.raises(summand.SummandError, match="a stream has none"):
        monitor(vit, kept, by="place")
    with pytest.raises(summand.SummandError, match="window must be at least 8"):
        monitor(vit, kept, window=3)
    with pytest.raises(summand.SummandError, match="the saved reference"):
        monitor(vit, kept, units="heads")
