from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from summand.report.explorer.known import Known
    from summand.report.explorer.question import Reading

TEXTS = ("a red star", "a blue ring", "a green circle")


@pytest.fixture(scope="session")
def known(vit) -> Known:
    """scenes-vit with a labelled survey of its heads and the neurons of a layer."""
    import summand
    from summand.report.explorer.known import known_of

    survey = summand.survey(vit, "scenes:count=120,seed=8", units="heads,neurons:4", keep=2, progress=False)
    survey.label(most=24, progress=False)
    return known_of(survey)


@pytest.fixture(scope="session")
def reading(known) -> Reading:
    from PIL import Image

    from summand import scenes

    return known.read(Image.fromarray(scenes.describe("a red star and a blue ring in the snow").images[0]), TEXTS)
