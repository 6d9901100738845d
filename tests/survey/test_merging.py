"""Surveys of different images joined, against one survey of all of them; and what is told of a folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import summand
from summand.effects.effects import Effects
from summand.statistics.moments import Moments
from summand.statistics.recentred import recentred
from summand.statistics.top_images import TopImages
from summand.survey.means import mean_terms
from summand.survey.merging import merge
from tests.commands import command, error_of

pytestmark = pytest.mark.slow

UNITS = "heads,neurons:4"


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> list[Path]:
    """Two folders of pictures, of two kinds of scenes, so that their means lie apart; one picture is broken."""
    home = tmp_path_factory.mktemp("merging")
    for name, seed, count in (("a", 1, 20), ("b", 2, 16)):
        (home / name).mkdir()
        pictures = summand.scenes.sample(count, seed=seed).images
        for number, picture in enumerate(pictures if name == "a" else 255 - pictures // 2):
            Image.fromarray(picture).save(home / name / f"{number:02}.png")
    (home / "b" / "07.png").write_bytes(b"no picture")
    return [home / "a", home / "b"]


@pytest.fixture(scope="module")
def parts(vit, folders):
    options = {"units": UNITS, "top": 3, "held_out": 0.25, "keep": "neurons:4", "progress": False, "batch_size": 8}
    return [summand.survey(vit, str(folder), out=folder.parent / f"run-{folder.name}", **options) for folder in folders]


def effects_of(model, survey, group):
    """φ of the images that a survey's statistics are made of, and their numbers, one by one."""
    images = survey.images
    numbers = images.index[~images["held_out"]].to_numpy()
    source = survey.source()
    pixels = torch.stack([model.preprocess(source.image(int(number))) for number in numbers])
    effects = model.second_order(pixels, 4) if group == "neurons.4" else model.decompose(pixels).head_effects()
    return effects, numbers


@pytest.mark.parametrize("exact", [False, True])
def test_the_whole_says_what_all_images_say(vit, parts, tmp_path, exact):
    found = merge(parts, tmp_path / "whole", exact=exact, progress=False)
    whole = summand.open(tmp_path / "whole")
    assert len(whole.images) == 20 + 15
    assert list(whole.skipped["id"]) == [f"{parts[1].source().label}/07.png"]
    assert sorted(whole.held_out_images) == [*parts[0].held_out_images, *(parts[1].held_out_images + 20)]
    for group in ("heads", "neurons.4"):
        effects, numbers = effects_of(vit, whole, group)
        c = effects.coefficients.double()
        moments = whole.moments(group)
        assert moments.count == len(numbers)
        torch.testing.assert_close(moments.mean, c.mean(dim=0), atol=1e-6, rtol=1e-5)
        centred = c - c.mean(dim=0)
        covariance = torch.einsum("i...p,i...q->...pq", centred, centred) / len(c)
        torch.testing.assert_close(moments.covariance, covariance, atol=1e-6, rtol=1e-4)
        data = whole.dataset(group)
        norms = effects.with_coefficients(centred.float()).vectors().double().norm(dim=-1)
        best = torch.tensor(numbers)[norms.argsort(dim=0, descending=True)[:3].movedim(0, -1)]
        same = (best == torch.from_numpy(data["top_image"].values.astype(int))).all(dim=-1)
        if exact:
            assert same.double().mean() > 0.99  # equal norms apart
        held = whole.held_out(group)
        assert held.shape[0] == len(whole.held_out_images)
        scale = whole.dataset(group)["scale"].values
        along = whole.rank_one(group).project(effects).double()
        np.testing.assert_allclose(along.std(dim=0, correction=0).numpy(), scale, rtol=1e-3, atol=1e-6)
    assert (found.certain == 1) or not exact
    means, source = mean_terms(whole), whole.source()
    used = np.setdiff1d(whole.images.index, whole.held_out_images)
    written = vit.decompose(torch.stack([vit.preprocess(source.image(int(number))) for number in used]))
    assert means is not None
    for name, term in (("mlps", written.mlps()), ("heads", written.heads().sum(dim=(1, 2)))):
        torch.testing.assert_close(means[name], term.double().mean(dim=0), atol=1e-5, rtol=1e-5)
    assert whole.shelf.dataset("terms")["image"].values.tolist() == whole.held_out_images.tolist()
    np.testing.assert_array_equal(whole.embeddings[:20], parts[0].embeddings)
    np.testing.assert_array_equal(whole.embeddings[20:], parts[1].embeddings)
    kept = whole.coefficients("neurons.4").coefficients
    assert torch.equal(kept[20:], parts[1].coefficients("neurons.4").coefficients)
    assert whole.source().name(20) == f"{parts[1].source().label}/00.png"
    whole.label(most=5)
    assert command("info", whole.path).code == 0


@given(st.integers(0, 10_000))
def test_recentred_top_images_are_right_wherever_they_say_so(seed):
    """Against all norms about the common mean, for parts whose means lie apart."""
    rng = np.random.default_rng(seed)
    directions = torch.from_numpy(rng.normal(size=(5, 2, 4)))
    counts, away = rng.integers(2, 12, size=3), rng.choice([0, 2], size=3)
    groups = [
        torch.from_numpy(rng.normal(size=(int(n), 5, 2)) + rng.normal(size=2) * far)
        for n, far in zip(counts, away, strict=True)
    ]
    moments, tops, starts, at = Moments(), [], [], 0
    for some in groups:
        own = Moments().update(Effects(some, directions))
        tops.append(TopImages(3, own.mean).update(Effects(some, directions), range(len(some))))
        moments.merge(own)
        starts.append(at)
        at += len(some)
    found, certain = recentred(tops, starts, moments.mean, 3)
    everything = torch.cat(groups)
    norms = torch.einsum("iup,upe->iue", everything - everything.mean(dim=0), directions).norm(dim=-1)
    best = norms.argsort(dim=0, descending=True)[:3].movedim(0, -1)
    assert torch.equal(found.ids[certain], best[certain])
    assert found.count == len(everything)
    torch.testing.assert_close(found.norms[certain], norms.gather(0, best.movedim(-1, 0)).movedim(0, -1)[certain])


def test_what_cannot_be_merged_is_said(vit, resnet, parts, tmp_path):
    one = str(parts[0].path)
    assert "at least two" in error_of("merge", one, "--out", tmp_path / "x")
    assert "given twice" in error_of("merge", one, one, "--out", tmp_path / "x")
    shutil.copytree(parts[0].path, tmp_path / "copy")
    assert "twice" in error_of("merge", one, parts[1].path, tmp_path / "copy", "--out", tmp_path / "x")
    other = summand.survey(vit, "scenes:count=12,seed=1", units="heads", top=2, out=tmp_path / "o", progress=False)
    assert "same units" in error_of("merge", one, other.path, "--out", tmp_path / "x")
    strange = summand.survey(resnet, "scenes:count=12,seed=1", units="heads", top=2, out=tmp_path / "r", progress=False)
    assert "one model" in error_of("merge", one, strange.path, "--out", tmp_path / "x")
    assert "not empty" in error_of("merge", one, parts[1].path, "--out", tmp_path / "o")


def test_the_command_merges_and_info_tells(parts, tmp_path):
    found = command("merge", parts[0].path, parts[1].path, "--out", tmp_path / "whole", "--json")
    assert found.code == 0, found.error
    assert [row["images"] for row in found.json["rows"]] == [20, 15]
    told = command("info", tmp_path / "whole", "--json")
    assert told.code == 0, told.error
    kinds = {row["part"]: row["sound"] for row in told.json["rows"]}
    assert set(kinds) >= {"manifest.json", "checksums.json", "images.parquet", "skipped.parquet", "heads.zarr"}
    assert all(kinds.values())
    assert json.loads((tmp_path / "whole" / "manifest.json").read_text())["parts"][1]["location"].endswith("/b")
    table = pd.read_parquet(tmp_path / "whole" / "skipped.parquet")
    assert list(table.columns) == ["id", "reason"]


@pytest.mark.parametrize(
    "file", ["manifest.json", "checksums.json", "skipped.parquet", "images.parquet", "heads.zarr/mean/zarr.json"]
)
def test_info_names_a_flipped_bit_and_exits_with_1(parts, tmp_path, file):
    copy = tmp_path / "run"
    shutil.copytree(parts[0].path, copy)
    content = bytearray((copy / file).read_bytes())
    content[len(content) // 2] ^= 4
    (copy / file).write_bytes(content)
    told = command("info", copy)
    assert told.code == 1
    assert str(copy / file) in told.error
    assert ("--restart" in told.error) == (file in ("manifest.json", "checksums.json"))
    assert "WRONG" in told.out


def test_info_tells_a_missing_file_and_a_strange_one(parts, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(parts[0].path, copy)
    (copy / "images.parquet").unlink()
    (copy / "mine.txt").write_text("notes")
    told = command("info", copy, "--json")
    assert told.code == 1
    rows = {row["part"]: row for row in told.json["rows"]}
    assert rows["images.parquet"]["sound"] is False
    assert rows["mine.txt"]["sound"] is None
    assert rows["mine.txt"]["what"] == "not of the survey"
    assert "no run folder" in error_of("info", tmp_path)
