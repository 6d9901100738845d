from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import summand
from summand import Effects, Moments, TopImages, rank_one
from summand.survey import open_survey, store
from summand.survey.checksums import write_sealed
from tests.towers.test_directions import factored


@pytest.mark.parametrize(("units", "shared", "whole"), [((6,), 1, True), ((6,), 1, False), ((5, 3), 2, False)])
def test_statistics_come_back_from_zarr(tmp_path, units, shared, whole):
    path = 1 if len(units) > 1 else 4
    basis, dense = factored(units=units, path=path, shared=shared)
    coefficients = torch.randn(12, *units, path, dtype=torch.float64)
    index = ((1, 0), (1, 1), (2, 0), (2, 1)) if path > 1 else None
    names = ("neuron", "head")[: len(units)]
    paths = ("later layer", "later head") if path > 1 else ("value",)
    effects = Effects(coefficients, dense if whole else basis, names, paths, path_index=index)
    moments = Moments().update(effects)
    top = TopImages(5, moments.mean).update(effects, range(100, 112))
    directions = rank_one(top)
    held = torch.randn(3, *units).half()
    found = store.Statistics(moments, top, directions, torch.ones(units), held)
    store.write(store.to_dataset(found, np.array([7, 8, 9])), tmp_path / "a.zarr")
    assert [file.name for file in tmp_path.iterdir()] == ["a.zarr"]
    data = store.read(tmp_path / "a.zarr")
    read = store.basis_of(data)
    again, best, rank = store.moments_of(data, read), store.top_images_of(data, read), store.rank_one_of(data, read)
    assert len(read.factors()) == (1 if whole else 2)
    assert (again.count, again.units, again.paths, again.path_index) == (12, names, paths, index)
    torch.testing.assert_close(again.covariance, moments.covariance, rtol=0, atol=1e-14)
    torch.testing.assert_close(again.merge(moments).variance(), moments.variance())
    assert (best.k, best.count) == (5, 12)
    assert torch.equal(best.ids, top.ids)
    torch.testing.assert_close(best.coefficients, top.coefficients)
    torch.testing.assert_close(best.norms, top.norms, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(rank.project(effects), directions.project(effects), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(data["held_out"].values, held.numpy())


def test_what_is_missing_or_broken_is_named(tmp_path, run):
    with pytest.raises(summand.SummandError, match=r"there is no run folder .* summand survey|`summand survey"):
        open_survey(tmp_path / "none")
    with pytest.raises(summand.SummandError, match=r"no run folder: it has no manifest\.json"):
        open_survey(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(summand.SummandError, match="cannot be read"):
        open_survey(tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": 99}')
    with pytest.raises(summand.SummandError, match="this version reads format 2"):
        open_survey(tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": 2}')
    with pytest.raises(summand.SummandError, match="changed or damaged"):
        open_survey(tmp_path)
    write_sealed(tmp_path / "manifest.json", {"format": 2})
    with pytest.raises(summand.SummandError, match="not complete"):
        open_survey(tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps(json.loads((run.path / "manifest.json").read_text())))
    opened = open_survey(tmp_path)
    with pytest.raises(summand.SummandError, match=r"heads\.zarr is missing"):
        opened.moments("heads")
    with pytest.raises(summand.SummandError, match=r"images\.parquet is missing"):
        _ = opened.images


def test_a_run_says_what_it_holds(run, vit):
    assert "scenes-vit" in repr(run)
    with pytest.raises(summand.SummandError, match=r"holds heads, neurons\.4, not pairs"):
        run.moments("pairs")
    with pytest.raises(summand.SummandError, match="no group of units is called 'words'"):
        run.moments("words")
    run.check_unit("neurons.4", (511,))
    with pytest.raises(summand.SummandError, match="no neuron 512; neurons are counted from 0 to 511"):
        run.check_unit("neurons.4", (512,))
    assert run.load_model().name == "scenes-vit"
    assert len(run.source()) == 60
