"""A survey on a Ray of this machine, with two mappers: the same as in this process, whoever is killed."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import summand
from summand.survey.on_ray import sized

OPTIONS = {"units": "heads,neurons:4", "top": 4, "held_out": 0.25, "batch_size": 4, "progress": False}
SCENES = "scenes:count=96,seed=3"


@pytest.mark.parametrize(
    ("resources", "gpu", "workers", "said"),
    [
        ({"CPU": 0.5}, False, None, "has 0.5 CPUs, and this needs 1 "),
        ({"CPU": 2.0}, False, 9, "needs 3.5"),
        ({"CPU": 8.0}, True, None, "the Ray cluster has none"),
        ({}, False, None, "has 0 CPUs"),
    ],
)
def test_a_cluster_that_is_too_small_is_refused(resources, gpu, workers, said):
    with pytest.raises(summand.SummandError, match=said):
        sized(resources, gpu, workers)


@pytest.mark.parametrize("cpus", [1, 1.5, 2, 3, 8, 64])
def test_there_is_always_room_for_those_that_read(cpus):
    """Two of one core each would leave none, and wait for ever."""
    mappers, readers = sized({"CPU": cpus}, False, None)
    assert mappers >= 1
    assert readers >= 1
    assert mappers * 0.5 + readers * 0.25 + 0.25 <= cpus


def computing() -> list[int]:
    """The processes that pass images through the model."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if (place / "cmdline").read_bytes().startswith(b"ray::MapWorker(MapBatches(Passing))"):
                found.append(int(place.name))
        except OSError:
            continue
    return [number for number in found if Path(f"/proc/{number}/stat").exists()]


@pytest.mark.slow
def test_a_survey_on_ray_is_the_same_with_a_worker_killed(vit, tmp_path, monkeypatch, capfd):
    import ray

    monkeypatch.setenv("RAY_worker_niceness", "0")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(str(Path(package.__file__).parents[1]) for package in (summand,)))
    killed: list[int] = []
    over = threading.Event()

    def kill_one() -> None:
        while not over.is_set() and not killed:
            if ready := computing():
                os.kill(ready[0], signal.SIGKILL)
                killed.append(ready[0])
            time.sleep(0.02)

    thread = threading.Thread(target=kill_one)
    try:
        ray.init(address="local", num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
        thread.start()
        found = summand.survey(vit, SCENES, engine="ray", out=tmp_path / "run", **OPTIONS)
    finally:
        over.set()
        thread.join()
        ray.shutdown()
    assert killed
    expected = summand.survey(vit, SCENES, **OPTIONS)
    for group in ("heads", "neurons.4"):
        one, other = expected.dataset(group), found.dataset(group)
        np.testing.assert_array_equal(one["top_image"], other["top_image"])
        for name in ("mean", "covariance", "direction_weight", "scale", "top_norm"):
            scale = np.abs(one[name].values).max()
            tolerance = 1e-9 if one[name].dtype == np.float64 else 1e-6
            np.testing.assert_allclose(one[name], other[name], rtol=0, atol=tolerance * scale, err_msg=name)
        np.testing.assert_array_equal(one["held_out_image"], other["held_out_image"])
    assert expected.images.drop(columns="norm").equals(found.images.drop(columns="norm"))
    np.testing.assert_array_equal(expected.embeddings, found.embeddings)
    assert summand.open(tmp_path / "run").manifest.passed == 96 + 72
    said = capfd.readouterr().err.splitlines()
    assert len(said) < 5, said
