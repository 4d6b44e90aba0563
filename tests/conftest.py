"""Fixtures shared by several test files."""

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # compilation dominates the tests' run time there

import keras
import numpy as np
import pytest
from hypothesis import settings

import kvae

settings.register_profile("same examples in every run", derandomize=True, deadline=None, database=None)
settings.load_profile("same examples in every run")

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def few_compiled_functions(request, _tests_so_far=[0]):  # noqa: B006
    """Clear JAX's caches regularly: a process crashes when it holds several thousand compiled functions."""
    yield
    _tests_so_far[0] += 1
    if keras.backend.backend() == "jax" and _tests_so_far[0] % 20 == 0:
        import jax

        jax.clear_caches()


@pytest.fixture(scope="session")
def digits():
    return kvae.load_data("digits")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def keras_home(tmp_path, monkeypatch):
    """A KERAS_HOME with MNIST for subprocesses, which does not write next to the shared file."""
    if not (SHARED_DATA / "datasets" / "mnist.npz").is_file():
        pytest.skip("MNIST is not there: ../shared/data/datasets/mnist.npz")
    (tmp_path / "keras" / "datasets").mkdir(parents=True)
    (tmp_path / "keras" / "datasets" / "mnist.npz").symlink_to(SHARED_DATA / "datasets" / "mnist.npz")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    return tmp_path / "keras"
