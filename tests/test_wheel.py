"""The wheel alone, without the source tree, carries everything that the main job needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
RUN = "import sys, summand; from summand.cli import main; print(summand.__file__, file=sys.stderr); main()"


def test_the_wheel_installed_alone_runs_the_atlas(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for needed in (
        "summand/py.typed",
        "summand/scenes/weights/scenes-vit.safetensors",
        "summand/scenes/weights/scenes-rn.safetensors",
        "summand/scenes/weights/scenes-vit-tied.safetensors",
        "summand/scenes/weights/SHA256SUMS",
        "summand/report/site/templates/index.html.j2",
        "summand/text/lists/colours.txt",
    ):
        assert needed in names
    assert wheel.stat().st_size < 20e6
    site = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    # The wheel's copy comes first on the path; the dependencies are those of the test environment.
    found = subprocess.run(
        [sys.executable, "-c", RUN, "atlas", "--count", "60", "--layers", "1", "--json"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stderr
    assert str(site) in found.stderr
    result = json.loads(found.stdout)
    assert len(result["rows"]) == 8
    assert (tmp_path / result["page"]).is_file()


def test_weights_are_small_and_half_precision():
    from safetensors import safe_open

    for name in ("scenes-vit", "scenes-rn", "scenes-vit-tied"):
        path = ROOT / "src" / "summand" / "scenes" / "weights" / f"{name}.safetensors"
        assert path.stat().st_size <= 8e6
        with safe_open(path, "pt") as file:
            kinds = {str(file.get_tensor(key).dtype) for key in file.keys()}  # noqa: SIM118 - not a dict
        assert kinds <= {"torch.float16", "torch.int64"}
