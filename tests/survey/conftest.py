from __future__ import annotations

import pytest

from summand.data import open_source
from summand.survey import Manifest
from summand.survey.make import make
from summand.survey.units import groups_of, parse_units

SCENES = "scenes:count=60,seed=2"


def draft(source: str = SCENES, **options) -> Manifest:
    return Manifest.draft("scenes-vit", None, open_source(source), source, **{"held_out": 0.4, "top": 5, **options})


def made(model, source, out, asked, groups, **options):
    """A survey in a folder."""
    return make(model, source, asked, groups, out, **options)


@pytest.fixture(scope="package")
def groups(vit):
    return groups_of(vit, parse_units("heads,neurons:4"))


@pytest.fixture(scope="package")
def run(vit, groups, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    return made(vit, open_source(SCENES), out, draft(), groups, batch_size=25, progress=False)
