"""README's Python runs as it stands, with tiny random models in the place of the large ones."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from open_clip.tokenizer import SimpleTokenizer
from PIL import Image

import summand
from summand.scenes.pretrained import ScenePreprocess
from tests.tiny import clip

README = Path(__file__).parent.parent / "README.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def tiny(name: str, *_: object, **options: object) -> summand.Model:
    """A model of the same make: as many layers, as few of everything else as there can be."""
    size = int(options.get("image_size", 64))  # type: ignore[call-overload]
    vision = {"image_size": size, "patch_size": 16, "layers": 12}
    if name == "RN50":
        vision = {"image_size": 64, "patch_size": None, "layers": [1, 1, 1, 1], "width": 8}
    made = clip(vision=vision)
    return summand.wrap(made, preprocess=ScenePreprocess(size), tokenizer=SimpleTokenizer(context_length=16), name=name)


def test_there_is_python_in_readme():
    assert sum(block.count("\n") for block in BLOCKS) > 20


@pytest.mark.parametrize("block", BLOCKS)
def test_the_python_of_readme_runs(block, tmp_path, monkeypatch, unchecked):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(summand, "load", tiny)
    for name in ("dog", "street"):
        noise = np.random.default_rng(len(name)).integers(0, 256, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{name}.jpg")
    names: dict[str, object] = {}
    exec(compile(block, str(README), "exec"), names)
    assert Image.open(tmp_path / "dog.png").size[0] > 200
    parts, model, x = names["parts"], names["model"], names["x"]
    assert float((parts.total() - model.encode_image(x)).abs().max()) < 1e-4  # type: ignore[attr-defined]
