from __future__ import annotations

import json
import os
import signal

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import summand
from summand.data import open_source
from summand.scenes.as_data import SceneImages
from summand.survey import open_survey
from summand.survey.making import MOST_HELD_OUT, held_out_images
from tests.survey.conftest import SCENES, draft, made


@given(st.integers(1, 20_000), st.floats(0, 0.99))
def test_the_images_kept_aside_are_spread_and_bounded(count, share):
    found = held_out_images(count, share)
    assert len(found) == min(round(share * count), MOST_HELD_OUT)
    assert len(np.unique(found)) == len(found)
    if len(found):
        assert found.min() >= 0
        assert found.max() < count
        assert np.diff(found, prepend=-1).max() <= -(-count // len(found)) + 1


@pytest.mark.slow
def test_a_run_holds_what_all_images_at_once_give(run, vit, groups):
    x = vit.preprocess(summand.scenes.sample(60, seed=2).images)
    held = run.held_out_images
    used = np.setdiff1d(np.arange(60), held)
    assert len(held) == 24
    outputs = vit.encode_image(x)
    torch.testing.assert_close(run.embeddings, outputs / outputs.norm(dim=1, keepdim=True), atol=1e-3, rtol=0)
    np.testing.assert_allclose(run.images["norm"], outputs.norm(dim=1), rtol=1e-4)
    for group, effects in zip(groups, (vit.decompose(x).head_effects(), vit.second_order(x, 4)), strict=True):
        vectors = effects.vectors().double().flatten(1, -2)  # [image, unit, embed]
        mean = vectors[used].mean(dim=0)
        moments, top = run.moments(group), run.top_images(group)
        assert moments.count == len(used)
        assert (moments.units, moments.paths) == (effects.units, effects.paths)
        assert moments.path_index == effects.path_index
        torch.testing.assert_close(moments.mean_vectors().flatten(0, -2), mean, atol=1e-4, rtol=1e-3)
        norms = (vectors - mean).norm(dim=-1)
        best = norms[used].sort(dim=0, descending=True)
        torch.testing.assert_close(top.norms.flatten(0, -2), best.values[:5].T, atol=1e-4, rtol=1e-3)
        assert (np.array(used)[best.indices[0]] == top.ids.flatten(0, -2)[:, 0].numpy()).mean() > 0.99
        # r_n by a plain SVD of the five largest centred effects, x_n by its dot product
        directions = run.rank_one(group).directions.flatten(0, -2)
        found = run.held_out(group).flatten(1)
        for unit in range(0, vectors.shape[1], 37):
            five = (vectors[used][:, unit] - mean[unit])[best.indices[:5, unit]]
            first = torch.linalg.svd(five)[2][0]
            assert abs(float(first @ directions[unit])) > 0.999
            x_n = (vectors[held][:, unit] - mean[unit]) @ directions[unit]
            torch.testing.assert_close(found[:, unit].double(), x_n, atol=float(x_n.std()) * 0.01, rtol=0.01)


def test_data_sets_have_named_dimensions_and_open_without_us(run):
    data = xr.open_zarr(run.path / "neurons.4.zarr")
    assert data["covariance"].dims == ("neuron", "path", "path2")
    assert data["top_coefficient"].dims == ("neuron", "rank", "path")
    assert data["held_out"].dims == ("held_out_image", "neuron")
    assert data["later_layer"].values.tolist() == [5] * 8
    assert data["held_out_image"].values.tolist() == run.held_out_images.tolist()
    heads = xr.open_zarr(run.path / "heads.zarr")
    assert heads["directions"].dims == ("layer", "head", "path", "embed")
    assert json.loads((run.path / "manifest.json").read_text())["complete"] is True
    assert not (run.path / "checkpoint").exists()


class Stopping(SceneImages):
    """Scenes of which the n-th batch cannot be had: `stop` is called instead."""

    def __init__(self, after: int, stop) -> None:
        super().__init__(SCENES, None)
        self.left, self.stop, self.read = after, stop, 0

    def pick(self, indices):
        self.read += len(indices)
        self.left -= 1
        if self.left == 0:
            self.stop()
        return super().pick(indices)


def crash():
    raise RuntimeError("the lights went out")


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("batch", "stop", "error", "done"),
    [(2, crash, RuntimeError, 20), (3, interrupt, KeyboardInterrupt, 56), (5, crash, RuntimeError, 72)],
    ids=["in the moments", "interrupted in the top images", "in the images kept aside"],
)
def test_a_stopped_run_goes_on_where_it_was(run, vit, groups, tmp_path, batch, stop, error, done):
    out, source = tmp_path / "run", Stopping(batch, stop)
    with pytest.raises(error):
        made(vit, source, out, draft(), groups, batch_size=20, progress=False, every=0)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with pytest.raises(summand.SummandError, match=rf"not finished \({done} of 96 .*summand survey --model scenes-vit"):
        open_survey(out)
    source = Stopping(1000, crash)
    again = made(vit, source, out, draft(), groups, batch_size=20, progress=False)
    assert source.read == 96 - done
    for group in groups:
        one, two = run.dataset(group), again.dataset(group)
        assert set(one) == set(two)
        for name in ("mean", "covariance", "top_norm", "held_out"):
            np.testing.assert_allclose(one[name], two[name], rtol=1e-2, atol=2e-2 * float(abs(one[name]).max()))
        assert (one["top_image"].values[..., 0] == two["top_image"].values[..., 0]).mean() > 0.99
    torch.testing.assert_close(run.embeddings, again.embeddings, atol=1e-3, rtol=0)


def test_files_that_cannot_be_read_are_left_out_and_listed(vit, tmp_path):
    from summand.survey import Group

    folder = tmp_path / "photos"
    folder.mkdir()
    for i, image in enumerate(summand.scenes.sample(9, seed=3).images):
        Image.fromarray(image).save(folder / f"{i}.png")
    (folder / "3.png").write_text("no picture")
    out = tmp_path / "run"
    asked = draft(str(folder), top=0)
    found = made(vit, open_source(str(folder)), out, asked, [Group("heads")], progress=False)
    assert [item["name"] for item in found.manifest.skipped] == ["3.png"]
    assert found.images.index.tolist() == [0, 1, 2, 4, 5, 6, 7, 8]
    assert found.images.loc[4, "name"] == "4.png"
    assert found.moments("heads").count + len(found.held_out_images) == 8
    assert found.rank_one("heads").weights.shape == (6, 8, 1, 16)  # from the moments
    with pytest.raises(summand.SummandError, match="--top 0"):
        found.top_images("heads")
    assert len(found.source()) == 9
    (folder / "8.png").unlink()
    with pytest.raises(summand.SummandError, match="no longer those of this run"):
        found.source()
    with pytest.raises(summand.SummandError, match=r"9 images, which are not the 8"):
        made(vit, open_source(str(folder)), out, draft(str(folder), top=0), [Group("heads")], progress=False)


def test_nothing_readable_leaves_no_run(vit, tmp_path):
    from summand.survey import Group

    for i in range(5):
        (tmp_path / f"{i}.png").write_text("no")
    with pytest.raises(summand.SummandError, match=r"only 0 could be read, at least 2 .*0\.png: not an image"):
        made(vit, open_source(str(tmp_path)), tmp_path / "run", draft(str(tmp_path)), [Group("heads")], progress=False)
    assert not list((tmp_path / "run").iterdir())


def test_a_finished_run_is_returned_and_another_is_refused(run, vit, groups):
    before = (run.path / "heads.zarr").stat().st_mtime_ns
    again = made(vit, Stopping(1, crash), run.path, draft(), groups, progress=False)
    assert again.manifest == run.manifest
    with pytest.raises(summand.SummandError, match=r"another run: --top 5, not 7\. Give another folder .* --restart"):
        made(vit, open_source(SCENES), run.path, draft(top=7), groups, progress=False)
    with pytest.raises(summand.SummandError, match=r"--units heads,neurons\.4, not heads"):
        made(vit, open_source(SCENES), run.path, draft(), groups[:1], progress=False)
    other = summand.load("scenes-vit", random_init=True)
    with pytest.raises(summand.SummandError, match="other weights, under the same name"):
        made(other, open_source(SCENES), run.path, draft(), groups, progress=False)
    assert (run.path / "heads.zarr").stat().st_mtime_ns == before


def test_restart_replaces_a_run_and_nothing_else(vit, tmp_path):
    from summand.survey import Group

    source = "scenes:count=8"
    out = tmp_path / "run"
    made(vit, open_source(source), out, draft(source), [Group("heads")], progress=False)
    (out / "notes.txt").write_text("mine")
    again = made(vit, open_source(source), out, draft(source, top=2), [Group("heads")], restart=True, progress=False)
    assert again.top_images("heads").k == 2
    assert (out / "notes.txt").read_text() == "mine"
