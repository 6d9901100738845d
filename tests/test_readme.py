"""README's Python and its commands run as they stand, with tiny random models in the place of the large ones."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from open_clip.tokenizer import SimpleTokenizer
from PIL import Image

import summand
from summand.scenes.pretrained import ScenePreprocess
from tests.commands import command
from tests.tiny import clip

pytestmark = pytest.mark.slow

README = Path(__file__).parent.parent / "README.md"
TEXT = README.read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
COMMANDS = [block.splitlines() for block in re.findall(r"^```sh\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)]
SET_UP = ["make atlas", "make test"]  # install the package and its extras


def tiny(name: str, *_: object, **options: object) -> summand.Model:
    """A model of the same make: as many layers, as few of everything else as there can be."""
    size = int(options.get("image_size", 64))  # type: ignore[call-overload]
    vision = {"image_size": size, "patch_size": 16, "layers": 12}
    if name == "RN50":
        vision = {"image_size": 64, "patch_size": None, "layers": [1, 1, 1, 1], "width": 8}
    made = clip(vision=vision)
    return summand.wrap(made, preprocess=ScenePreprocess(size), tokenizer=SimpleTokenizer(context_length=16), name=name)


def draw(folder: Path, *names: str) -> None:
    """Pictures of noise."""
    for number, name in enumerate(names):
        noise = np.random.default_rng(number).integers(0, 256, (48, 64, 3), dtype=np.uint8)
        (folder / name).parent.mkdir(exist_ok=True)
        Image.fromarray(noise).save(folder / name)


def of_open_clip(name: str, *_: object, **__: object) -> tuple[Any, Any, Any]:
    """What stands for a model of open_clip: its layers and its neurons, and few of everything else."""
    made = clip(
        vision={"image_size": 32, "patch_size": 16, "layers": 12, "mlp_ratio": 96.0}, text={"context_length": 24}
    )
    return made, ScenePreprocess(32), SimpleTokenizer(context_length=24)


def test_there_is_python_in_readme():
    assert sum(block.count("\n") for block in BLOCKS) > 20


@pytest.mark.parametrize("block", BLOCKS)
def test_the_python_of_readme_runs(block, tmp_path, monkeypatch, unchecked):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(summand, "load", tiny)
    draw(tmp_path, "dog.jpg", "street.jpg")
    names: dict[str, object] = {}
    exec(compile(block, str(README), "exec"), names)
    assert Image.open(tmp_path / "dog.png").size[0] > 200
    parts, model, x = names["parts"], names["model"], names["x"]
    assert float((parts.total() - model.encode_image(x)).abs().max()) < 1e-4  # type: ignore[attr-defined]


def test_what_is_no_command_of_ours_sets_up():
    given = [shlex.split(line, comments=True) for block in COMMANDS for line in block]
    assert [" ".join(words) for words in given if words[0] != "summand"] == SET_UP
    assert sum(words[0] == "summand" for words in given) >= 8


@pytest.mark.parametrize("block", [block for block in COMMANDS if block[0].startswith("summand ")], ids=lambda b: b[0])
def test_the_commands_of_readme_run(block, tmp_path, monkeypatch, unchecked):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("summand.models.load.load_open_clip", of_open_clip)
    draw(tmp_path, "dog.jpg", "street.jpg", "scene.png", *(f"photos/{number}.png" for number in range(12)))
    for line in block:
        words = shlex.split(line, comments=True)
        said = command(*words[1:])
        assert said.code == 0, (line, said.error)
        out = words[words.index("--out") + 1] if "--out" in words else None
        assert out is None or (tmp_path / out).exists(), line
