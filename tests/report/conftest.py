from __future__ import annotations

import pytest

import summand
from summand.report.site.beside import labelled
from summand.text.pools import pool
from tests.browser import launched

SCENES = "scenes:count=160,seed=1"


@pytest.fixture(scope="session")
def survey(vit):
    """Heads and the neurons of one layer, without labels."""
    return summand.survey(vit, SCENES, units="heads,neurons:4", held_out=0.25, progress=False)


@pytest.fixture(scope="session")
def in_words(vit, survey):
    """The same with labels, which the survey itself does not get."""
    scenes = pool("scenes")
    found = labelled(survey, vit, scenes, vit.encode_text(scenes.texts))
    assert found.labelled
    assert not survey.labelled
    return found


@pytest.fixture(scope="module")
def browser():
    """Of one module: a second one in the same process could not be driven beside it."""
    with launched() as found:
        yield found
