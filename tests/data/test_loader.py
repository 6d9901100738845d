"""Pictures read by other processes: the same as by this one, whatever happens to these."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import summand
from summand import SummandError
from summand.data import open_images, open_source
from summand.data.loader import Loaded, fitting, loaded
from summand.data.sources import FileImages
from summand.processes import workers

pytestmark = pytest.mark.slow


def stacked(images: list) -> torch.Tensor:
    return torch.stack([torch.from_numpy(np.asarray(image.resize((8, 8))).copy()) for image in images])


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for number in range(14):
        Image.fromarray(rng.integers(0, 255, (10, 12, 3), dtype=np.uint8)).save(place / f"{number:02}.png")
    (place / "05.png").write_bytes(b"no picture")
    return place


PLAN = [[3, 1, 4], [5, 9], [2], [5], [6, 7, 8, 0], [10, 11, 12, 13]]


def told(found: list[Loaded]) -> list[tuple]:
    return [(each.indices, [item.name for item in each.skipped]) for each in found]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_any_number_of_processes_reads_the_same_in_the_same_order(folder, count):
    source = open_source(str(folder))
    one, many = (list(loaded(source, PLAN, stacked, count=some)) for some in (0, count))
    assert told(one) == told(many)
    assert [each.indices for each in one] == [[3, 1, 4], [9], [2], [], [6, 7, 8, 0], [10, 11, 12, 13]]
    for a, b in zip(one, many, strict=True):
        assert (a.pixels is None) == (b.pixels is None)
        assert a.pixels is None or torch.equal(a.pixels, b.pixels)


def test_scenes_and_lists_are_read_by_processes_too(vit):
    source = open_source("scenes:count=9,seed=3")
    one, many = (list(loaded(source, [[0, 1, 2], [5, 8]], vit.preprocess, count=some)) for some in (0, 2))
    assert all(torch.equal(a.pixels, b.pixels) for a, b in zip(one, many, strict=True))
    with pytest.raises(SummandError, match="image 0 is dict"):
        list(loaded(open_images([{}]), [[0]], stacked, count=1))


class Deadly(FileImages):
    """Pictures of which some kill whoever reads them, or never end."""

    def __init__(self, folder: Path, dead: set[int] = frozenset(), endless: set[int] = frozenset()) -> None:
        super().__init__(sorted(folder.iterdir()), "deadly", folder, None)
        self.dead, self.endless, self.home = dead, endless, os.getpid()

    def image(self, index: int) -> Image.Image:
        if index in self.dead and os.getpid() != self.home:
            os.kill(os.getpid(), signal.SIGKILL)
        if index in self.endless:
            time.sleep(3600)
        return super().image(index)


def test_a_picture_that_kills_its_process_is_skipped_and_named(folder):
    found = list(loaded(Deadly(folder, dead={4, 8}), PLAN, stacked, count=2, timeout=60))
    assert [each.indices for each in found] == [[3, 1], [9], [2], [], [6, 7, 0], [10, 11, 12, 13]]
    lost = {item.name: item.reason for each in found for item in each.skipped}
    assert set(lost) == {"04.png", "08.png", "05.png"}
    assert "the process that read it" in lost["04.png"]


def test_a_picture_that_never_ends_is_given_up(folder):
    found = list(loaded(Deadly(folder, endless={2}), PLAN, stacked, count=1, timeout=2))
    assert [each.indices for each in found] == [[3, 1, 4], [9], [], [], [6, 7, 8, 0], [10, 11, 12, 13]]
    assert {item.name: item.reason for item in found[2].skipped} == {
        "02.png": "the process that read it did not end in 2 s"
    }


_READ = """
import sys
from summand.data import open_source
from summand.data.loader import loaded
from tests.data.test_loader import stacked
found = loaded(open_source(sys.argv[1]), [[0, 1], [2, 3], [4, 6]], stacked, count=2)
print(next(found).indices if sys.argv[2] == "first" else [each.indices for each in found])
"""


@pytest.mark.parametrize("how", ["all", "first"])
def test_the_process_ends_in_peace_behind_it(folder, how):
    """Also where not all is read: a thread that is still at work would abort it."""
    home = Path(__file__).parents[2]
    known = {**os.environ, "PYTHONPATH": f"{home}/src:{home}"}
    command = [sys.executable, "-c", _READ, str(folder), how]
    ended = subprocess.run(command, capture_output=True, text=True, env=known, timeout=300, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.strip() == ("[0, 1]" if how == "first" else "[[0, 1], [2, 3], [4, 6]]")


def test_how_many_processes_fit(folder):
    source = open_source(str(folder))
    assert fitting(source, 10, "cpu") == 0
    assert fitting(open_source("scenes"), 10_000, "cpu") == 0
    assert fitting(source, 10_000, "cpu") == (1 if (os.cpu_count() or 1) > 1 else 0)
    assert fitting(source, 10_000, "cuda") == (min(8, os.cpu_count() or 1) if (os.cpu_count() or 1) > 1 else 0)
    with workers(3):
        assert fitting(source, 1, "cpu") == 3
    with pytest.raises(SummandError, match="--workers"), workers(-1):
        pass


def test_a_survey_is_the_same_with_processes(vit, folder):
    options = {"units": "heads", "top": 2, "batch_size": 4, "progress": False}
    one, many = (summand.survey(vit, str(folder), workers=some, **options) for some in (0, 2))
    assert one.images.equals(many.images)
    np.testing.assert_array_equal(one.dataset("heads")["covariance"], many.dataset("heads")["covariance"])
    assert [item["name"] for item in many.manifest.skipped] == ["05.png"]


def test_too_many_unreadable_pictures_stop_a_survey_and_nothing_is_lost(vit, tmp_path):
    for number in range(40):
        Image.new("RGB", (9, 9), (number, 0, 99)).save(tmp_path / f"{number:02}.png")
        if number >= 28:
            (tmp_path / f"{number:02}.png").write_bytes(b"broken")
    options = {"units": "heads", "top": 0, "held_out": 0, "out": tmp_path / "run", "batch_size": 8, "progress": False}
    with pytest.raises(
        SummandError, match=r"12 of 40 images could not be read, .* than 1 % \(28\.png: .*--max-skipped"
    ):
        summand.survey(vit, str(tmp_path), **options)
    found = summand.survey(vit, str(tmp_path), max_skipped=0.5, **options)
    assert len(found.images) == 28


def test_memory_that_runs_out_halves_the_batch(vit, monkeypatch, capsys):
    from summand.survey.batch import Batch

    make, seen = Batch.make, []

    def small(self: Batch) -> None:
        if len(self) > 3:
            raise torch.OutOfMemoryError("no room")
        seen.append(len(self))
        make(self)

    monkeypatch.setattr(Batch, "make", small)
    pictures = summand.scenes.sample(16, seed=2).images
    options = {"units": "heads", "top": 0, "held_out": 0, "progress": False}
    found = summand.survey(vit, pictures, batch_size=12, **options)
    assert seen == [3, 3, 3, 3, 3, 1]
    assert "out of memory; 6 images at a time" in capsys.readouterr().err
    monkeypatch.undo()
    whole = summand.survey(vit, pictures, batch_size=16, **options)
    np.testing.assert_allclose(found.dataset("heads")["mean"], whole.dataset("heads")["mean"], atol=1e-6)


def test_an_output_that_is_not_finite_is_named(vit):
    pixels = vit.preprocess(summand.scenes.sample(6, seed=2).images)
    pixels[4] *= 1e38
    with pytest.raises(SummandError, match="image 4"):
        summand.survey(vit, list(pixels), units="heads", top=0, held_out=0, progress=False)
