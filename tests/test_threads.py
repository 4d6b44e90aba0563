"""Draws without a seed, from several threads at once: no two threads get the same random numbers."""

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import kvae

X = np.zeros((1, 8, 8, 1), "float32")
VERBS = {
    "sample_prior": lambda model: model.sample_prior(1),
    "generate": lambda model: model.generate(1),
    "elbo": lambda model: model.elbo(X),
}


@pytest.fixture
def busy_threads():
    """Threads that switch as often as possible."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.long
@pytest.mark.parametrize("verb", VERBS)
def test_threads_draw_different_numbers(verb, busy_threads):
    model = kvae.VAE(*kvae.networks.mlp((8, 8, 1), 2, hidden=(8,)), seed=0)
    start = int(np.asarray(model.seed_generator.state)[1])
    draws = 80
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: VERBS[verb](model), range(draws)))
    assert int(np.asarray(model.seed_generator.state)[1]) == start + draws  # each took a seed of its own
