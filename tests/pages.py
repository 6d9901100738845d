"""Pages of documentation as somebody follows them, from top to bottom: Python and commands, in one process."""

from __future__ import annotations

import re
import shlex
import textwrap
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from open_clip.tokenizer import SimpleTokenizer
from PIL import Image

from summand.scenes.pretrained import ScenePreprocess
from tests.commands import command
from tests.tiny import clip

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SMALL = 48  # scenes, where a page asks for hundreds
_FENCED = re.compile(r"^( *)```(python|sh)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_COUNT = re.compile(r"(count=|--count )(\d+)")


@dataclass(frozen=True)
class Step:
    """A block of a page. kind: "python" or "sh"."""

    kind: str
    code: str


def steps(page: Path) -> list[Step]:
    """What a page asks its reader to run, in order."""
    found = _FENCED.findall(page.read_text(encoding="utf-8"))
    return [Step(kind, textwrap.dedent(code)) for _, kind, code in found]


def lines(code: str) -> list[str]:
    """The commands of a block, each on one line, without comments."""
    joined = code.replace("\\\n", " ").splitlines()
    return [line for line in joined if line.strip() and not line.lstrip().startswith("#")]


def small(code: str) -> str:
    """The same with few scenes: what is tested is that it runs as it stands."""
    return _COUNT.sub(lambda found: f"{found[1]}{min(int(found[2]), SMALL)}", code)


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def follow(page: Path) -> dict[str, Any]:
    """Run every block of a page in the current folder; the names that its Python left. Fails at the first command
    whose exit code is neither 0 nor one that the line itself allows for (`|| …`)."""
    names: dict[str, Any] = {"__name__": "__page__"}
    for step in steps(page):
        if step.kind == "python":
            exec(compile(small(step.code), name_of(page), "exec"), names)
            continue
        for line in lines(small(step.code)):
            given, _, otherwise = line.partition("||")
            words = shlex.split(given, comments=True)
            if words[0] != "summand":
                assert sets_up(words), f"{name_of(page)}: {line}"
                continue
            said = command(*words[1:])
            assert said.code == 0 or (otherwise and said.code == 1), (line, said.code, said.error)
            out = words[words.index("--out") + 1] if "--out" in words else None
            assert out is None or Path(out).exists(), line
    return names


def sets_up(words: list[str]) -> bool:
    """Whether it is a command that is there, of a tool that is not run here: pip of our own name and extras, a target
    of the Makefile, a script of the repository."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    if words[:2] == ["pip", "install"]:
        named = re.fullmatch(r"(?:summand-clip|\.)(?:\[(.+)\])?", words[2])
        extras = set((named[1] or "").split(",")) - {""} if named else set()
        return words[2] == "torch" or (named is not None and extras <= set(project["optional-dependencies"]))
    if words[0] == "make":
        return all(f"\n{target}:" in (ROOT / "Makefile").read_text() for target in words[1:])
    return words[0] in ("python", "torchrun") and any((ROOT / word).exists() for word in words[1:])


def draw(folder: Path) -> None:
    """The pictures and lists that pages take as given: photographs of noise, texts of one's own."""
    names = ["dog.jpg", "street.jpg", *(f"photos/{number}.png" for number in range(12))]
    for number, name in enumerate(names):
        noise = np.random.default_rng(number).integers(0, 256, (48, 64, 3), dtype=np.uint8)
        (folder / name).parent.mkdir(exist_ok=True)
        Image.fromarray(noise).save(folder / name)
    (folder / "my-texts.txt").write_text("a red thing\na blue thing\na dog\na cat\nthe sea\na house at night\n")
    (folder / "docs" / "images").mkdir(parents=True)


def of_open_clip(name: str, *_: object, **__: object) -> tuple[Any, Any, Any]:
    """What stands for a model of open_clip: its layers and its neurons, and few of everything else."""
    vision = {"image_size": 32, "patch_size": 16, "layers": 12, "mlp_ratio": 96.0}
    if name.startswith("RN"):
        vision = {"image_size": 64, "patch_size": None, "layers": [1, 1, 1, 1], "width": 8}
    made = clip(vision=vision, text={"context_length": 24})
    return made, ScenePreprocess(int(vision["image_size"])), SimpleTokenizer(context_length=24)
