"""Miniatures of the papers' data, written once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import summand
from tests.studies.reproduce import miniatures


@dataclass(frozen=True)
class Miniatures:
    root: Path
    data: dict[str, str]
    vit: summand.Model
    wide: summand.Model
    resnet: summand.Model

    def asked(self, **more: Any) -> dict[str, Any]:
        """Options that fit the miniatures."""
        usual = {"data": self.data, "classes": str(self.root / "classes.txt"), "templates": miniatures.TEMPLATE}
        return {**usual, "pool": str(self.root / "pool.txt"), "neurons": 2, **more}


@pytest.fixture(scope="session")
def minis(tmp_path_factory) -> Miniatures:
    root = tmp_path_factory.mktemp("papers")
    return Miniatures(root, miniatures.everything(root), miniatures.vit(), miniatures.wide(), miniatures.resnet())


@pytest.fixture
def small(monkeypatch):
    """Lists of thousands of texts and of all training images in the size of the miniatures."""
    from summand.data.masks import imagenet
    from summand.studies.reproduce import job, paper_a_layer, paper_a_words, paper_b_use, sets
    from summand.text.pools import pool

    strided = sets.strided
    monkeypatch.setattr(imagenet, "_imagenet_classes", lambda: miniatures.WORDS)
    monkeypatch.setattr(paper_a_layer, "read_pool", lambda name: pool(miniatures.POOL))
    monkeypatch.setattr(paper_a_words, "_PICTURES", 3)
    monkeypatch.setattr(paper_b_use, "_NEURON", 3)
    monkeypatch.setattr(paper_b_use, "_HEAD", 1)
    steps = {250: 1, 50: 1, 10: 1}
    monkeypatch.setattr(job.sets, "strided", lambda data, every, start=0: strided(data, steps.get(every, every)))
