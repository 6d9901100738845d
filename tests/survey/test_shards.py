"""What is on the disk of a survey, on its way and after its end: killed, damaged, shared."""

from __future__ import annotations

import errno
import multiprocessing
import os
import shutil
import signal
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import summand
from summand.border import foreign
from summand.data import open_source
from summand.scenes.as_data import SceneImages
from summand.survey import Group, store
from summand.survey.lock import locked
from summand.survey.make import make
from summand.survey.manifest import Manifest
from summand.survey.means import mean_terms
from tests.depth import deep

pytestmark = pytest.mark.slow

SCENES = "scenes:count=24,seed=3"
GROUPS = (Group("heads"), Group("neurons", 4))


class Counting(SceneImages):
    """Scenes that count what is read of them, and fail at the `last` batch."""

    def __init__(self, last: int = 10**9) -> None:
        super().__init__(SCENES, None)
        self.read: list[int] = []
        self.last = last

    def pick(self, indices: np.ndarray) -> np.ndarray:
        self.last -= 1
        if self.last == 0:
            raise RuntimeError("the lights went out")
        self.read += indices.tolist()
        return super().pick(indices)


def surveyed(
    vit: summand.Model, out: Path | None, source: SceneImages, groups=GROUPS[:1], every: float = 0.0, batch: int = 4
) -> summand.Survey:
    asked = Manifest.of(vit.name, source, SCENES, top=3, held_out=0.25, kept=(5,))
    return make(vit, source, asked, groups, out, batch_size=batch, every=every, progress=False)


def flip(file: Path, bit: int) -> None:
    content = bytearray(file.read_bytes())
    place = bit % (8 * len(content))
    content[place // 8] ^= 1 << place % 8
    file.write_bytes(bytes(content))


def look_at_all(folder: Path) -> None:
    opened = summand.open(folder)
    _ = opened.images, opened.skipped, opened.embeddings, opened.kept
    _ = opened.shelf.dataset("terms"), opened.shelf.dataset("means")
    for group in opened.groups:
        opened.dataset(group)


def same(one: summand.Survey, other: summand.Survey) -> None:
    assert one.groups == other.groups
    for group in one.groups:
        a, b = one.dataset(group), other.dataset(group)
        assert set(a) == set(b)
        np.testing.assert_array_equal(a["top_image"], b["top_image"])
        for name in a:
            scale = float(np.abs(a[name].values).max(initial=0)) or 1.0
            loose = 2e-3 if name == "held_out" else 1e-9 if a[name].dtype == np.float64 else 1e-5  # fp16, fp64, fp32
            np.testing.assert_allclose(a[name], b[name], rtol=0, atol=loose * scale, err_msg=str(name))
    for name, value in foreign(mean_terms(one)).items():
        np.testing.assert_allclose(value, foreign(mean_terms(other))[name], rtol=1e-9, atol=1e-9, err_msg=name)
    assert one.images.drop(columns="norm").equals(other.images.drop(columns="norm"))
    np.testing.assert_allclose(one.images["norm"], other.images["norm"], rtol=1e-6)
    np.testing.assert_allclose(one.embeddings, other.embeddings, atol=1e-3)  # fp16
    np.testing.assert_allclose(one.kept.coefficients, other.kept.coefficients, atol=1e-5)


@pytest.fixture(scope="module")
def whole(vit):
    return surveyed(vit, None, Counting(), GROUPS)


@pytest.fixture(scope="module")
def heads(vit):
    return surveyed(vit, None, Counting())


@pytest.fixture(scope="module")
def finished(vit, tmp_path_factory):
    return surveyed(vit, tmp_path_factory.mktemp("finished") / "run", Counting(), GROUPS)


def test_shards_change_nothing(whole, finished):
    same(whole, finished)
    assert not (finished.path / "shards").exists()


@given(st.lists(st.integers(1, 6), min_size=1, max_size=4))
@settings(max_examples=deep(5, 3))
def test_a_survey_that_dies_at_any_batches_goes_on_and_loses_one_shard_at_most(vit, heads, stops):
    with tempfile.TemporaryDirectory() as folder:
        read = 0
        for last in stops:
            source = Counting(last)
            try:
                surveyed(vit, Path(folder, "run"), source)
            except RuntimeError:
                read += len(source.read)
            else:
                break
        found = surveyed(vit, Path(folder, "run"), again := Counting())
        same(heads, found)
    assert read + len(again.read) <= 18 + 18 + 6 or len(again.read) == 0


def test_shards_are_merged_as_a_binary_counter_counts(vit, tmp_path):
    with pytest.raises(RuntimeError):
        surveyed(vit, tmp_path / "run", Counting(15), batch=1)
    names = sorted(path.name for path in (tmp_path / "run" / "shards").iterdir())
    assert names == ["0-0-8", "0-12-14", "0-8-12"]  # 14 = 8 + 4 + 2


def test_a_damaged_shard_is_named_and_it_alone_is_passed_again(vit, tmp_path, capsys):
    whole = surveyed(vit, None, Counting(), batch=3)
    with pytest.raises(RuntimeError):
        surveyed(vit, tmp_path / "run", Counting(8), batch=3)  # 18 images, then 3 of the second pass
    files = [path for path in (tmp_path / "run" / "shards").rglob("*") if path.is_file()]
    assert {path.relative_to(tmp_path / "run" / "shards").parts[0] for path in files} == {"0-0-12", "0-12-18", "1-0-3"}
    rng = np.random.default_rng(0)
    for number in rng.choice(len(files), 3, replace=False):
        copy = tmp_path / "copy"
        shutil.copytree(tmp_path / "run", copy)
        file = copy / files[number].relative_to(tmp_path / "run")
        flip(file, int(rng.integers(1 << 30)))
        again = Counting()
        found = surveyed(vit, copy, again, batch=3)
        said = capsys.readouterr().err
        assert str(file) in said
        assert "passed again" in said
        stage, start, stop = map(int, file.relative_to(copy / "shards").parts[0].split("-"))
        assert len(again.read) == 15 + 6 + (stop - start), (stage, start, stop)
        same(whole, found)
        shutil.rmtree(copy)


def test_every_damaged_file_of_a_finished_survey_is_named(vit, whole, finished, tmp_path):
    """One flipped bit in each file in turn; where it is data, only that is made again."""
    files = [path.relative_to(finished.path) for path in finished.path.rglob("*") if path.is_file()]
    rng = np.random.default_rng(1)
    assert len(files) > 40
    copy = tmp_path / "run"
    shutil.copytree(finished.path, copy)
    for name in files:
        before = (copy / name).read_bytes()
        flip(copy / name, int(rng.integers(1 << 30)))
        with pytest.raises(summand.SummandError) as error:
            look_at_all(copy)
        assert name.name in str(error.value), name
        (copy / name).write_bytes(before)
    look_at_all(copy)


@pytest.mark.parametrize("part", ["heads.zarr", "neurons.4.zarr", "images.parquet", "kept.zarr", "terms.zarr"])
def test_only_what_is_damaged_is_made_again(vit, whole, finished, tmp_path, part, capsys):
    copy = tmp_path / "run"
    shutil.copytree(finished.path, copy)
    files = [copy / part, *(copy / part).rglob("*")]
    file = max((path for path in files if path.is_file()), key=lambda path: path.stat().st_size)
    flip(file, 12_345)
    others = {path: path.stat().st_mtime_ns for path in copy.rglob("*") if path.is_file() and ".zarr" in str(path)}
    found = surveyed(vit, copy, Counting(), GROUPS)
    assert str(file) in capsys.readouterr().err
    same(whole, found)
    kept = {path for path, changed in others.items() if path.exists() and path.stat().st_mtime_ns == changed}
    remade = {path.relative_to(copy).parts[0] for path in set(others) - kept}
    assert remade <= {part, "images.zarr"}
    surveyed(vit, copy, again := Counting(), GROUPS)
    assert not again.read


def test_a_second_process_is_refused(vit, tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    with locked(out), pytest.raises(summand.SummandError, match=rf"another process works in .*process {os.getpid()}"):
        surveyed(vit, out, Counting())
    surveyed(vit, out, Counting())
    assert not (out / ".lock").exists()


def test_a_killed_process_loses_nothing_but_a_shard(vit, tmp_path):
    out = tmp_path / "run"
    # As if it had been started anew, but that everything is imported: a process forked from this one.
    process = multiprocessing.get_context("fork").Process(
        target=surveyed, args=(vit, out, Counting()), kwargs={"batch": 2}
    )
    process.start()
    ended = time.monotonic() + 120
    while not list(out.glob("shards/0-*[0-9]/shard.json")) and time.monotonic() < ended and process.is_alive():
        time.sleep(0.02)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL, "it had ended"
    assert list(out.glob("shards/0-*[0-9]")), "it was killed before its first shard"
    again = Counting()
    same(surveyed(vit, None, Counting(), batch=2), surveyed(vit, out, again, batch=2))
    assert len(again.read) < 18 + 18 + 6


def test_manifests_with_values_of_another_kind_are_refused(finished, tmp_path):
    from dataclasses import asdict

    from summand.survey.checksums import write_sealed

    good = asdict(finished.manifest)
    for name, value in (
        ("groups", [1]),
        ("model", 5),
        ("complete", "false"),
        ("images", None),
        ("held_out", "a"),
        ("seed", True),
    ):
        write_sealed(tmp_path / "manifest.json", {**good, name: value})
        with pytest.raises(summand.SummandError, match=name):
            summand.open(tmp_path)


def test_a_finished_survey_is_compared_with_its_checksums_once(vit, finished, monkeypatch):
    from summand.survey import checksums

    read: list[str] = []
    digest = checksums.hashlib.file_digest

    def counted(file, name):
        read.append(file.name)
        return digest(file, name)

    monkeypatch.setattr(checksums.hashlib, "file_digest", counted)
    found = surveyed(vit, finished.path, Counting(), GROUPS)
    _ = found.images, found.embeddings, found.dataset("heads")["mean"].values
    assert read
    assert len(read) == len(set(read))


@pytest.mark.parametrize(
    ("number", "remedy"),
    [(errno.ENOSPC, "make room"), (errno.EACCES, "can be written to"), (errno.EROFS, "written to")],
)
@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_disk_that_fails_at_a_later_shard_keeps_those_before(vit, heads, tmp_path, monkeypatch, at, number, remedy):
    real, commits, out = store.write_zip, [], tmp_path / "run"

    def write(data, path):
        if path.name.startswith("moments") and "shards" in str(path):
            commits.append(path)
        if len(commits) > 2 * at:
            path.write_bytes(b"half")
            raise OSError(number, os.strerror(number))
        real(data, path)

    monkeypatch.setattr(store, "write_zip", write)
    first = Counting()
    with pytest.raises(summand.SummandError, match=rf"cannot write to .*{remedy}.*the same command goes on"):
        surveyed(vit, out, first)
    monkeypatch.setattr(store, "write_zip", real)
    kept = [path.name.split("-") for path in (out / "shards").iterdir()]
    assert kept
    assert not [path for path in out.rglob("*") if ".part" in path.name]
    found = surveyed(vit, out, again := Counting())
    same(heads, found)
    done = sum(int(stop) - int(start) for _, start, stop in kept)
    assert len(again.read) == len(surveyed_in_all()) - done < len(surveyed_in_all())
    assert len(first.read) - done <= 8  # the shard at hand, and the batch that was read ahead of it


def surveyed_in_all() -> list[int]:
    """18 images for moments, again for top images, and 6 that are held out."""
    return [0] * (18 + 18 + 6)


def pictures_of(folder: Path, count: int = 12) -> Path:
    folder.mkdir()
    for number, picture in enumerate(summand.scenes.sample(count, seed=4).images):
        Image.fromarray(picture).save(folder / f"{number:02}.png")
    return folder


def of_folder(vit: summand.Model, given: Path, out: Path, last: int = 10**9) -> summand.Survey:
    source, left = open_source(str(given)), [last]
    read = source.image

    def image(index: int):
        left[0] -= 1
        if left[0] < 0:
            raise RuntimeError("the lights went out")
        return read(index)

    source.image = image
    asked = Manifest.of(vit.name, source, str(given), top=2, held_out=0.0)
    return make(vit, source, asked, GROUPS[:1], out, batch_size=4, every=0.0, progress=False)


@pytest.mark.parametrize("what", ["added", "removed", "renamed", "replaced", "touched", "nothing"])
def test_pictures_that_change_between_the_stop_and_going_on(vit, tmp_path, capsys, what):
    """Others are refused; the same names with other contents are said, since what was read of them stands."""
    folder, out = pictures_of(tmp_path / "pictures"), tmp_path / "run"
    with pytest.raises(RuntimeError):
        of_folder(vit, folder, out, last=6)
    first = folder / "00.png"
    if what == "added":
        shutil.copy(first, folder / "new.png")
    elif what == "removed":
        first.unlink()
    elif what == "renamed":
        first.rename(folder / "new.png")
    elif what == "replaced":
        state = (folder / "01.png").stat()
        first.write_bytes((folder / "01.png").read_bytes())
        os.utime(first, ns=(state.st_atime_ns, state.st_mtime_ns - 10**12))  # by an older one
    elif what == "touched":
        os.utime(first)
    if what in ("added", "removed", "renamed"):
        with pytest.raises(summand.SummandError, match=r"holds another run: 12 images, which are not the 1[123]"):
            of_folder(vit, folder, out)
        return
    of_folder(vit, folder, out)
    assert ("were changed since" in capsys.readouterr().err) == (what != "nothing")


def test_one_folder_by_several_paths_is_one(vit, tmp_path, monkeypatch):
    folder, out = pictures_of(tmp_path / "pictures"), tmp_path / "run"
    of_folder(vit, folder, out)
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    for other in (Path("pictures"), Path("pictures/../pictures"), tmp_path / "link", Path("./link")):
        of_folder(vit, other, out, last=0)  # finished: nothing is read
    shutil.copytree(folder, tmp_path / "copy")
    with pytest.raises(summand.SummandError, match=r"holds another run: images .*pictures, not .*copy"):
        of_folder(vit, tmp_path / "copy", out)


@pytest.mark.parametrize("name", ["manifest.json", "checksums.json"])
def test_a_file_that_may_not_be_read_is_not_called_damaged(finished, monkeypatch, name):
    read = Path.read_text

    def refuse(path, *args, **options):
        if path.name == name:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return read(path, *args, **options)

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(summand.SummandError, match=rf"^no permission to read .*{name}$"):
        look_at_all(finished.path)
