"""Every shape annotation of the package is checked at run time while the tests run."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import tempfile

from jaxtyping import install_import_hook

import tests.shape_checker  # noqa: F401 - the hook finds it by name

_hook = install_import_hook("summand", "tests.shape_checker.check")

import matplotlib  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
from hypothesis import settings  # noqa: E402

import summand  # noqa: E402

matplotlib.use("Agg")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["SUMMAND_CACHE"] = tempfile.mkdtemp(prefix="summand-cache-")
atexit.register(shutil.rmtree, os.environ["SUMMAND_CACHE"], ignore_errors=True)
torch.set_num_threads(1)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background starts with interrupts ignored
settings.register_profile("summand", deadline=None, max_examples=25, derandomize=True)
settings.load_profile("summand")


@pytest.fixture(scope="session")
def vit() -> summand.Model:
    return summand.load("scenes-vit")


@pytest.fixture(scope="session")
def resnet() -> summand.Model:
    return summand.load("scenes-rn")


@pytest.fixture(scope="session")
def pixels(vit: summand.Model) -> torch.Tensor:
    return vit.preprocess(summand.scenes.sample(6, seed=11).images)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def unchecked():
    """As users run it: without the run-time shape checker, so that our own errors are what comes."""
    import jaxtyping

    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
