"""Functions that are compiled once and kept with a model: the same numbers as eagerly, and no trace too many."""

import gc
import pickle
import weakref

import keras
import numpy as np
import pytest
from cases import CASES, QUICKLY, of_cases, vae
from keras import ops

from kvae.distributions import DiscretizedLogistic
from kvae.models import batches
from kvae.training.kept import MOST, as_array, kept

JAX, TORCH = (keras.backend.backend() == name for name in ("jax", "torch"))
PADDED = 41  # rows, which JAX fills up


def noisy(model, factor, noise, x):
    return factor * x + keras.random.normal(ops.shape(x), seed=noise)


def generator(seed=1):
    return keras.random.SeedGenerator(seed)


def verbs(model, x, y):
    """What the methods on arrays give."""
    y = () if y is None else (y,)
    found = [model.encode(x, *y), model.reconstruct(x, *y)]
    if hasattr(model, "elbo_terms"):
        found += model.elbo_terms(x, *y, num_samples=3, seed=1)
    if hasattr(model, "posterior"):
        found += model.posterior(x, *y)
    if hasattr(model, "draw"):
        found += [model.generate(*y, seed=1) if y else model.generate(len(x), seed=1)]
    return found


@pytest.mark.parametrize("name", of_cases(["vae", "cvae", "auxiliary-skip", "autoencoder", "hierarchical", "vaegan"]))
def test_the_methods_give_what_they_give_eagerly(name):
    model, (x, y) = CASES[name].build(), CASES[name].arrays(PADDED)
    compiled = verbs(model, x, y)
    model.run_eagerly = True
    for one, other in zip(compiled, verbs(model, x, y), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(TORCH, reason="PyTorch traces nothing")
def test_a_function_is_traced_once_for_all_calls_and_lengths():
    model, traces = vae(), []

    def counted(model, noise, x):
        traces.append(x.shape)
        return model.code(model.inference(x))

    x = np.zeros((64, 8, 8, 1), "float32")
    for n in (33, 64, 40, 33):
        kept(model, counted)(x[:n], most=1000)
    assert len(traces) == 1 + JAX  # JAX looks first which variables it reads
    for n in (1000, 999, 1):
        kept(model, counted)(np.zeros((n, 8, 8, 1), "float32"), most=1000)
    assert len({shape[0] for shape in traces}) == (3 if JAX else 1)  # 64, 1000 and 32 rows, or any number


@pytest.mark.parametrize(
    ("size", "network", "likelihood", "expected"),
    [
        (8, "mlp", "bernoulli", [5000, 1]),
        (8, "conv", "bernoulli", [1000] * 5 + [1]),  # hidden layers are many times larger than an image
        (64, "mlp", "bernoulli", [1000] * 5 + [1]),
        (28, "mlp", DiscretizedLogistic(), [2551, 2450]),  # two outputs per pixel, 16 MB
    ],
)
def test_dense_decoders_take_many_codes_at_a_time(monkeypatch, size, network, likelihood, expected):
    seen = []

    def generation(self, z, condition=(), training=False):
        seen.append(z.shape[1])
        return ops.zeros((1, z.shape[1], size, size, self.likelihood.num_outputs(1)))

    model = vae((size, size, 1), network=network, likelihood=likelihood)
    monkeypatch.setattr(type(model), "generation", generation)
    model.run_eagerly = True
    assert model.decode(np.zeros((5001, 2), "float32")).shape == (5001, size, size, 1)
    assert seen == expected


@pytest.mark.skipif(TORCH, reason="PyTorch traces nothing")
def test_as_many_functions_are_kept_as_fit():
    model = vae()
    for i in range(MOST + 2):
        kept(model, noisy, float(i))
    functions = vars(model)["_kept_functions"].by_key
    assert len(functions) == MOST
    assert kept(model, noisy, MOST + 1.0) is kept(model, noisy, MOST + 1.0)


def test_a_function_draws_anew_and_follows_its_seed():
    function, x = kept(vae(), noisy, 2.0), np.ones((3, 2), "float32")
    one, other = generator(), generator()
    runs = [[ops.convert_to_numpy(function(x, noise=noise)) for _ in range(2)] for noise in (one, other)]
    np.testing.assert_array_equal(*runs)
    assert not np.isclose(*runs[0]).any()
    eager = generator()
    for drawn in runs[0]:  # the numbers of Keras's own generator
        np.testing.assert_allclose(drawn, 2 + ops.convert_to_numpy(keras.random.normal((3, 2), seed=eager)), rtol=1e-5)
    np.testing.assert_array_equal(*(ops.convert_to_numpy(noise.state) for noise in (one, eager)))


def test_new_weights_are_seen(tmp_path, rng):
    model, x = vae(), rng.random((8, 8, 8, 1), dtype="float32")
    model.save_weights(tmp_path / "first.weights.h5")
    first = model.encode(x)
    model.set_weights([weight + 0.1 for weight in model.get_weights()])
    changed = model.encode(x)
    model.load_weights(tmp_path / "first.weights.h5")
    np.testing.assert_array_equal(model.encode(x), first)
    model.compile(keras.optimizers.Adam(0.1), **QUICKLY)
    model.encode(x)
    model.fit(x, epochs=1, batch_size=8, verbose=0)
    trained = model.encode(x)
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.encode(x), trained)
    assert not np.isclose(first, changed).any()
    assert not np.isclose(first, trained).any()


def test_another_network_and_eager_execution_are_respected(rng):
    model, other, x = vae(), vae(), rng.random((4, 8, 8, 1), dtype="float32")
    other.set_weights([weight + 0.1 for weight in other.get_weights()])
    model.encode(x)
    model.encoder = other.encoder
    np.testing.assert_array_equal(model.encode(x), other.encode(x))
    seen = []

    def looking(model, noise, x):
        seen.append(np.asarray(ops.convert_to_numpy(x)))  # fails for a symbolic tensor
        return x

    model.compile("adam", run_eagerly=True)
    for _ in range(2):
        kept(model, looking)(x)
    assert len(seen) == 2


def test_what_a_function_assigns_is_kept(rng):
    class Counting(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.count = self.add_weight(shape=(), initializer="zeros")

        def call(self, x):
            self.count.assign_add(1.0)
            return x

    z = keras.Input((8, 8, 1))
    layer = Counting()
    network = keras.Model(z, layer(z))

    def called(model, noise, x):
        return model(x)

    before = float(layer.count)
    for _ in range(3):
        kept(network, called)(rng.random((2, 8, 8, 1), dtype="float32"))
    assert float(layer.count) == before + 3


def test_a_kept_function_does_not_keep_its_model():
    model = vae()
    model.generate(2, seed=0)
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="graphs are TensorFlow's")
def test_no_graph_outlives_its_model(rng):
    """TensorFlow never forgets a gradient that is registered in a graph, nor that graph: 3 MB for each model."""
    import tensorflow as tf

    x = rng.random((32, 8, 8, 1), "float32")

    def graphs():
        for num_samples in (1, 3):
            vae().elbo(x, num_samples=num_samples, seed=0)
        gc.collect()
        return sum(isinstance(each, tf.Graph) for each in gc.get_objects())

    graphs()  # what is traced once for all models
    assert graphs() == graphs()


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_a_batch_that_cannot_be_stored_is_an_error(failing, monkeypatch):
    """It is stored in another thread, beside the next batch."""
    stored = []

    def as_array_or_not(tensor):
        stored.append(tensor)
        if len(stored) == failing + 1:
            raise MemoryError("no room")
        return as_array(tensor)

    monkeypatch.setattr(batches, "as_array", as_array_or_not)
    with pytest.raises(MemoryError, match="no room"):
        batches.in_batches(ops.square, np.ones((5, 1)), batch_size=2)
