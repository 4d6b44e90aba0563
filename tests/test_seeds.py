"""Several draws that come from one integer are independent of one another."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest

import kvae
from kvae import checks, evaluation
from kvae.cli import saved_model
from kvae.data import Dataset
from kvae.distributions import Normal, StudentT


def vae(prior):
    return kvae.VAE(*kvae.networks.mlp((2,), 2, hidden=(), likelihood=Normal()), likelihood=Normal(), prior=prior)


def two_layers():
    return kvae.priors.Hierarchical(*kvae.networks.mlp((2,), 2, hidden=(), likelihood=Normal()))


def scored():
    model = vae(two_layers())
    model.sample_and_score(keras.ops.zeros((3, 2)), keras.ops.zeros((3, 4)), (), 2, 0)


DRAWS = {
    "two layers": lambda: vae(two_layers()).prior.sample(3, (), 0),
    "a mixture": lambda: vae("mixture").prior.sample(3, (), 0),
    "Student's t": lambda: StudentT(df=3.0).sample(keras.ops.zeros((3, 4)), 2, 0),
    "codes and what their prior draws": scored,
}


@pytest.mark.parametrize("name", DRAWS)
def test_parts_of_a_draw_have_seeds_of_their_own(name, monkeypatch):
    seen = []
    for kind in ("normal", "uniform", "categorical"):
        draw = getattr(keras.random, kind)

        def record(*args, seed=None, draw=draw, **kwargs):
            if isinstance(seed, int):
                seen.append(seed)
            return draw(*args, seed=seed, **kwargs)

        monkeypatch.setattr(keras.random, kind, record)
    DRAWS[name]()
    assert len(seen) == len(set(seen)) == 2


@pytest.mark.long
def test_the_inference_gap_is_not_judged_by_the_noise_that_it_was_optimised_for(monkeypatch):
    model, seen, make = vae("standard"), [], keras.random.SeedGenerator
    monkeypatch.setattr(keras.random, "SeedGenerator", lambda seed=None, **kwargs: seen.append(seed) or make(seed))
    evaluation.inference_gap(model, np.zeros((2, 2)), num_samples=2, steps=1, seed=2**32 - 1)
    optimised, of_encoder, of_best, sampled, scored = seen
    assert of_encoder == of_best
    assert len({optimised, of_best, sampled, scored}) == 4


def test_the_doctor_gets_training_images_binarized_by_other_noise_than_test_images(monkeypatch):
    grey = np.full((20, 4, 4, 1), 0.5, "float32")
    data = Dataset(grey, None, grey, None, None, "grey", "dynamic")
    model = SimpleNamespace(capabilities=frozenset())
    x_test, _ = saved_model.test_arrays(data, 0, model)
    monkeypatch.setattr(evaluation, "diagnose", lambda model, x_test, y_test, x_train, *_: x_train)
    x_train = saved_model.diagnose(model, data, x_test, None, 0)
    assert 0.3 < np.mean(x_train == x_test) < 0.7


def test_seeds_are_reproducible_and_those_of_nothing_stay_random():
    assert checks.seeds(0, 3)[:2] == checks.seeds(np.int64(0), 2)
    assert all(type(seed) is int and 0 <= seed < 2**31 for seed in checks.seeds(2**32 - 1, 9))
    generator = keras.random.SeedGenerator(0)
    assert checks.seeds(None, 2) == [None, None]
    assert checks.seeds(generator, 2) == [generator, generator]
