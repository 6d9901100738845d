"""What is released says the same everywhere: version, requirements, licence; the container needs no root or HOME."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import tomllib
from pathlib import Path

from tests.pages import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
VERSION = PROJECT["version"]
RECIPE = (ROOT / "packaging" / "conda" / "recipe.yaml").read_text()
IN_CONDA = {"torch": "pytorch", "matplotlib": "matplotlib-base"}


def instructions() -> list[tuple[str, str]]:
    """Of the Dockerfile, in order: the word and what follows it, continued lines as one."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if line and not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines()
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in joined)]


def test_one_version_everywhere():
    changes = (ROOT / "CHANGELOG.md").read_text()
    assert re.search(r"^## ([\d.]+)", changes, re.MULTILINE)[1] == VERSION
    assert re.search(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)[1] == VERSION
    assert json.loads((ROOT / ".zenodo.json").read_text())["version"] == VERSION
    assert re.search(r'^  version: "(.+)"$', RECIPE, re.MULTILINE)[1] == VERSION


def test_one_licence_everywhere():
    assert PROJECT["license"] == "MIT"  # an SPDX expression
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")
    assert "\nlicense: MIT\n" in (ROOT / "CITATION.cff").read_text()
    assert json.loads((ROOT / ".zenodo.json").read_text())["license"] == "mit"
    assert "  license: MIT\n" in RECIPE


def test_the_conda_recipe_requires_what_pyproject_requires():
    listed = RECIPE.partition("  run:\n")[2].partition("tests:")[0]
    asked = dict(re.findall(r"^    - (\S+) (\S+)$", listed, re.MULTILINE))
    wanted = {"python": PROJECT["requires-python"]}
    for one in PROJECT["dependencies"]:
        name, bound = re.fullmatch(r"([\w.-]+)(.*)", one).groups()
        wanted[IN_CONDA.get(name, name.replace("_", "-"))] = bound
    assert asked == wanted


def test_the_container_is_not_root_and_writes_to_its_cache_alone():
    known = {"FROM", "WORKDIR", "COPY", "RUN", "LABEL", "ENV", "USER", "ENTRYPOINT", "CMD"}
    found = instructions()
    assert {word for word, _ in found} <= known
    last = max(i for i, (word, _) in enumerate(found) if word == "FROM")
    stage = found[last:]
    users = [rest for word, rest in stage if word == "USER"]
    assert users
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1])
    assert [word for word, _ in stage].index("USER") > max(i for i, (word, _) in enumerate(stage) if word == "RUN")
    environment = dict(one.split("=", 1) for word, rest in stage if word == "ENV" for one in shlex.split(rest))
    assert environment["SUMMAND_CACHE"].startswith("/cache/")
    assert environment["HF_HOME"].startswith("/cache/")
    assert environment["MPLCONFIGDIR"].startswith("/tmp/")
    assert "HOME" not in environment
    assert json.loads(next(rest for word, rest in stage if word == "ENTRYPOINT")) == ["summand"]


def test_what_the_container_copies_is_there_and_not_ignored():
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for word, rest in instructions():
        if word == "COPY" and not rest.startswith("--from"):
            *sources, _ = rest.split()
            assert set(sources) <= set(kept)
            assert all((ROOT / source).exists() for source in sources)


def test_the_workflow_checks_what_it_publishes():
    workflow = (ROOT / ".github" / "workflows" / "release.yml").read_text()
    for needed in ("twine check --strict", "check-wheel-contents", "summand doctor", "id-token: write", "sha256sum"):
        assert needed in workflow
    assert "password" not in workflow
    for script in re.findall(r"python (\S+\.py)", workflow):
        assert (ROOT / script).is_file()


def test_the_registry_shows_no_link_that_leads_nowhere():
    ours = runpy.run_path(str(ROOT / "packaging" / "for_the_registry.py"))
    readme = (ROOT / "README.md").read_text()
    shown = ours["absolute"](readme, "https://host.example/o/n", "v1")
    linked = re.findall(r"\]\(([^)]+)\)", readme)
    assert len(linked) > 20
    for before, after in zip(linked, re.findall(r"\]\(([^)]+)\)", shown), strict=True):
        path = before.partition("#")[0]
        assert (ROOT / path).exists(), before
        kind = "raw" if path.endswith(".png") else "blob"
        assert after == f"https://host.example/o/n/{kind}/v1/{before}"
    project = ours["with_addresses"]((ROOT / "pyproject.toml").read_text(), "https://host.example/o/n", "v1")
    assert set(tomllib.loads(project)["project"]["urls"]) == {"Source", "Issues", "Documentation", "Changes"}
    assert tomllib.loads(project)["project"]["scripts"] == PROJECT["scripts"]


def test_the_versions_of_python_that_are_named_are_those_that_are_tried():
    named = {one.rpartition(" ")[2] for one in PROJECT["classifiers"] if re.search(r"Python :: 3\.\d+$", one)}
    for name in ("ci", "release"):
        workflow = (ROOT / ".github" / "workflows" / f"{name}.yml").read_text()
        assert set(re.findall(r'"(3\.\d+)"', re.search(r"python: (\[.*\])", workflow)[1])) == named


def test_every_extra_is_said_to_be_for_something():
    page = (ROOT / "docs" / "start" / "install.md").read_text()
    listed = set(
        re.findall(r"^\| `(\w+)` \| \S", page.partition("| extra | for |")[2].partition("\n\n")[0], re.MULTILINE)
    )
    assert listed == set(PROJECT["optional-dependencies"]) - {"dev"}


def test_errors_name_our_distribution():
    named = [
        (path, found)
        for path in (ROOT / "src").rglob("*.py")
        for found in re.findall(r"pip install ['\"]?(summand[\w-]*)(?:\[(\w+)\])?", Path(path).read_text())
    ]
    assert len(named) >= 5
    assert {name for _, (name, _) in named} == {"summand-clip"}
    assert {extra for _, (_, extra) in named if extra} <= set(PROJECT["optional-dependencies"])
