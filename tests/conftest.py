"""Every shape annotation of the package is checked at run time while the tests run."""

from __future__ import annotations

import atexit
import gc
import os
import shutil
import signal
import sys
import tempfile
from typing import TYPE_CHECKING

import pytest

from tests import shape_checker

if TYPE_CHECKING:
    import numpy as np
    import torch

    import summand

shape_checker.install("summand")
os.environ["MPLBACKEND"] = "Agg"
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["SUMMAND_CACHE"] = tempfile.mkdtemp(prefix="summand-cache-")
atexit.register(shutil.rmtree, os.environ["SUMMAND_CACHE"], ignore_errors=True)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background starts with interrupts ignored


def pytest_sessionstart(session: pytest.Session) -> None:
    if getattr(session.config.option, "numprocesses", None):
        return  # hands the tests out to others and runs none: importing torch would only keep these waiting
    import torch
    from hypothesis import settings

    torch.set_num_threads(1)
    settings.register_profile("quick", deadline=None, max_examples=10, derandomize=True)
    settings.register_profile("deep", deadline=None, max_examples=25, derandomize=True)
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


def pytest_collection_finish() -> None:
    if "open_clip" in sys.modules:
        from tests.vocabulary import read_once

        read_once()
    gc.collect()
    gc.freeze()  # what was imported stays: there is no need to look through it again and again


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    shape_checker.next_test()


@pytest.fixture(scope="session")
def vit() -> summand.Model:
    import summand

    return summand.load("scenes-vit")


@pytest.fixture(scope="session")
def resnet() -> summand.Model:
    import summand

    return summand.load("scenes-rn")


@pytest.fixture(scope="session")
def pixels(vit: summand.Model) -> torch.Tensor:
    import summand

    return vit.preprocess(summand.scenes.sample(6, seed=11).images)


@pytest.fixture
def rng() -> np.random.Generator:
    import numpy as np

    return np.random.default_rng(0)


@pytest.fixture
def unchecked():
    """As users run it: without the run-time shape checker, so that our own errors are what comes."""
    import jaxtyping

    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
