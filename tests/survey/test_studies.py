"""Studies that are given a survey use what it knows, without another pass over the reference images."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import summand
from summand.data import open_source
from summand.maps.methods import prepare
from summand.report.site import build
from summand.studies.concepts.image import image_concepts
from summand.studies.shift.reference import make_reference
from summand.survey.profile import profile, profile_of
from summand.text.pools import pool

pytestmark = pytest.mark.slow

SOURCE = "scenes:count=40,seed=5"


@pytest.fixture(scope="module")
def survey(vit):
    return summand.survey(vit, SOURCE, units="heads,neurons:3,neurons:4", held_out=0, keep=1, progress=False)


@pytest.fixture
def no_pass(monkeypatch, survey):
    def fail(*_, **__):
        raise AssertionError("a pass over reference data")

    monkeypatch.setattr("summand.survey.making.passes", fail)


@pytest.mark.slow
def test_a_profile_is_a_view_of_a_survey(vit, survey):
    found, made = profile_of(survey), profile(vit, open_source(SOURCE), survey.groups[1:])
    assert [group.name for group in found.groups] == ["neurons.3", "neurons.4"]
    torch.testing.assert_close(found.directions, made.directions)
    torch.testing.assert_close(found.limits, made.limits)
    assert torch.equal(found.centre, survey.centre)
    assert torch.equal(found.limits, torch.cat([survey.thresholds(f"neurons.{layer}") for layer in (3, 4)]))
    assert found.images == 40
    with pytest.raises(summand.SummandError, match="no neurons or pairs"):
        profile_of(summand.survey(vit, SOURCE, units="heads", held_out=0, top=0, progress=False))


@pytest.mark.usefixtures("no_pass")
def test_concepts_maps_and_shift_take_a_survey(vit, survey):
    scenes = pool("scenes")
    image = open_source(SOURCE).image(3)
    texts = vit.encode_text(scenes.texts)
    by_survey = image_concepts(vit, image, survey, scenes, texts, maps=0)
    by_view = image_concepts(vit, image, profile_of(survey), scenes, texts, maps=0)
    assert by_survey == by_view
    assert by_survey.code
    method = prepare(vit, "neurons", survey=survey, layers=[4])
    x = vit.preprocess(summand.scenes.sample(2, seed=1).images)
    assert method.maps(x, texts[:2]).shape == (2, 2, 8, 8)
    for watch in ("heads", "neurons"):
        made = make_reference(vit, open_source(SOURCE), scenes, watch, layers=[5], layer=4, survey=survey)
        assert len(made.measured) == 40


def test_a_reference_is_the_same_with_a_survey_and_without(vit, survey):
    scenes = pool("scenes")
    one = make_reference(vit, open_source(SOURCE), scenes, "heads", layers=[5], survey=survey)
    other = make_reference(vit, open_source(SOURCE), scenes, "heads", layers=[5])
    assert one.readings.names == other.readings.names
    np.testing.assert_allclose(one.measured.readings, other.measured.readings, atol=1e-4)


@pytest.mark.usefixtures("no_pass")
def test_an_atlas_is_built_of_a_survey(vit, survey, tmp_path):
    made = build(
        vit, open_source(SOURCE), tmp_path / "a", pool=pool("scenes"), layers=[5], survey=survey, progress=False
    )
    assert made.images == 40
    assert [label.layer for label in made.labels] == [5] * 8
