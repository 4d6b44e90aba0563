"""Fixtures that several test files share."""

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pytest

import kvae

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def digits():
    return kvae.load_data("digits")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def keras_home(tmp_path, monkeypatch):
    """A KERAS_HOME for subprocesses that holds MNIST, without writing beside the shared file."""
    if not (SHARED_DATA / "datasets" / "mnist.npz").is_file():
        pytest.skip("MNIST is not there: ../shared/data/datasets/mnist.npz")
    (tmp_path / "keras" / "datasets").mkdir(parents=True)
    (tmp_path / "keras" / "datasets" / "mnist.npz").symlink_to(SHARED_DATA / "datasets" / "mnist.npz")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    return tmp_path / "keras"
