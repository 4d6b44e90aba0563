"""User-defined extensions train, log, save, load and resume like the built-in models."""

import functools
import math
from pathlib import Path

import fresh
import keras
import numpy as np
import pytest
from cases import QUICKLY, parameters
from extensions import planar, terms, verbs
from keras import layers, ops

import kvae
from kvae.callbacks import Checkpoint

N = 12
EXTENSIONS = Path(planar.__file__).parent


def pair(**kwargs):
    return kvae.networks.mlp((8, 8, 1), 2, hidden=(8,), **kwargs)


def spatial():
    """Codes of shape (4, 4, 2)."""
    x, z = keras.Input((8, 8, 1)), keras.Input((4, 4, 2))
    encoder = keras.Model(x, layers.Conv2D(4, 3, strides=2, padding="same")(x))
    return encoder, keras.Model(z, layers.Conv2DTranspose(1, 3, strides=2, padding="same")(z))


def several():
    """Networks with a label of three classes and an image of half the size as additional inputs."""

    def network(shape, out):
        first, label, image = keras.Input(shape), keras.Input((3,)), keras.Input((4, 4, 1))
        h = layers.Concatenate()([layers.Flatten()(first), label, layers.Flatten()(image)])
        return keras.Model([first, label, image], layers.Reshape(out)(layers.Dense(math.prod(out))(h)))

    return network((8, 8, 1), (4,)), network((2,), (8, 8, 1))


def label_and_image(rng):
    return rng.integers(3, size=N), rng.random((N, 4, 4, 1), dtype="float32")


BUILD = {
    "planar flow": (lambda: kvae.VAE(*pair(), posterior=planar.Planar(2), seed=0), None),
    "codes (4, 4, 2)": (lambda: kvae.VAE(*spatial(), seed=0), None),
    "codes (4, 4, 2), mixture": (lambda: kvae.VAE(*spatial(), prior=kvae.priors.Mixture(3), seed=0), None),
    "label and image": (lambda: kvae.CVAE(*several(), num_classes=(3, None), prior="learned", seed=0), label_and_image),
    "terms of a bound": (lambda: kvae.VAE(*pair(), bound=terms.Watched(), num_samples=3, seed=0), None),
    "terms of a penalty": (lambda: kvae.VAE(*pair(), penalty=terms.Narrow(0.1), seed=0), None),
    "terms of a model": (lambda: terms.Scored(*pair(), seed=0), None),
    "inference": (lambda: verbs.LogInputs(*pair(), seed=0), None),
    "generation": (lambda: verbs.Brighter(*pair(), seed=0), None),
}
COMPILED = ("planar flow",)  # as users run it; the others as `QUICKLY` says, to save time
OPERATIONS = ("planar flow", "codes (4, 4, 2)", "label and image")  # with tensors of their own, on each backend
MORE_TERMS = {
    "terms of a bound": {"effective_sample_size"},
    "terms of a penalty": {"penalty_loss", "mean_sigma"},
    "terms of a model": {"squared_error"},
}


def built(name):
    keras.utils.set_random_seed(0)
    model = BUILD[name][0]()
    model.compile(optimizer=keras.optimizers.Adam(1e-2), **({} if name in COMPILED else QUICKLY))
    rng = np.random.default_rng(0)
    x, y = rng.random((N, 8, 8, 1), dtype="float32"), BUILD[name][1]
    return model, x, None if y is None else y(rng)


def fitted(name, epochs=2, **kwargs):
    model, x, y = built(name)
    data = (x,) if y is None else (x, y)
    options = {"batch_size": 5, "validation_data": data, "validation_batch_size": N, "verbose": 0}
    return model, x, y, model.fit(x, y, epochs=epochs, **options, **kwargs)


@functools.cache
def trained(name):
    """An extension, trained for two epochs, which the tests leave as it is."""
    return fitted(name)


@pytest.mark.long
@pytest.mark.parametrize("name", parameters(BUILD, OPERATIONS))
def test_it_trains_and_logs_its_terms(name):
    model, x, y, history = trained(name)
    logs = {"loss", "reconstruction_loss", "kl_loss", "elbo", *MORE_TERMS.get(name, ())}
    assert set(history.history) == logs | {f"val_{each}" for each in logs}
    assert all(np.isfinite(values).all() for values in history.history.values())
    assert history.history["loss"][1] < 1.05 * history.history["loss"][0]  # two epochs of few images are noisy
    z = model.encode(x, y)
    assert z.shape == (N, *model.latent_shape)
    np.testing.assert_allclose(model.reconstruct(x, y), model.decode(z, y), atol=1e-6)
    images = model.generate(N, seed=0) if y is None else model.generate(labels=y, seed=0)
    assert images.shape == (N, 8, 8, 1)
    assert model.elbo(x, y, seed=0).shape == (N,)
    estimate = kvae.evaluation.log_likelihood(model, x[:3], kvae.models.conditions.take(y, slice(3)), 20, seed=0)
    assert np.isfinite(estimate.values).all()


@pytest.mark.long
@pytest.mark.backend_independent
def test_all_load_by_value_in_another_process(tmp_path):
    """`kvae.load_model` loads them if their modules are imported, and rejects them otherwise."""
    for i, (model, x, y, _) in enumerate(map(trained, BUILD)):
        model.save(tmp_path / f"{i}.keras")
        np.savez(tmp_path / f"{i}.npz", x=x, reconstruction=model.reconstruct(x, y))
        if isinstance(y, tuple):
            np.savez(tmp_path / f"{i}-y.npz", *y)
        elif y is not None:
            np.savez(tmp_path / f"{i}-y.npz", y)
    code = f"""
import numpy as np, kvae, sys
from pathlib import Path
sys.path.insert(0, {str(EXTENSIONS.parent)!r})
folder = Path({str(tmp_path)!r})
try:
    kvae.load_model(folder / "0.keras")
except ValueError as error:
    print(error)
from extensions import planar, terms, verbs
for i in range({len(BUILD)}):
    model, given, y = kvae.load_model(folder / f"{{i}}.keras"), np.load(folder / f"{{i}}.npz"), None
    if (folder / f"{{i}}-y.npz").exists():
        y = tuple(np.load(folder / f"{{i}}-y.npz").values())
        y = y if len(y) > 1 else y[0]
    equal = np.allclose(model.reconstruct(given["x"], y), given["reconstruction"], rtol=1e-5, atol=1e-6)
    print(i, equal, int(model.optimizer.iterations.value))
"""
    refused, *lines = fresh.python(code).stdout.splitlines()
    assert "Planar" in refused
    assert lines == [f"{i} True 6" for i in range(len(BUILD))]


RESUMED = ("codes (4, 4, 2), mixture", "label and image", "terms of a model")


@pytest.mark.long
@pytest.mark.parametrize("name", parameters(RESUMED, OPERATIONS))
def test_a_resumed_training_ends_as_if_uninterrupted(name, tmp_path):
    path = tmp_path / "checkpoint.npz"
    fitted(name, epochs=1, callbacks=[Checkpoint(path)])
    resumed, *_ = fitted(name, callbacks=[Checkpoint(path)])
    for once, again in zip(trained(name)[0].variables, resumed.variables, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(once), ops.convert_to_numpy(again), err_msg=once.path)


def test_the_planar_flow_is_a_density_that_knows_its_own_samples():
    flow, params = planar.Planar(2, depth=3), ops.convert_to_tensor([[0.3, -0.5, -0.4, 0.2]])
    z, log_prob = flow.sample_and_log_prob(params, 1000, keras.random.SeedGenerator(0))
    z = ops.stop_gradient(z)
    found = ops.convert_to_numpy(flow.log_prob(z, params))
    np.testing.assert_allclose(found, ops.convert_to_numpy(log_prob), atol=2e-4)
    axis = np.linspace(-7, 7, 281, dtype="float32")
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 1, 2)
    mass = ops.convert_to_numpy(ops.exp(flow.log_prob(ops.convert_to_tensor(grid), params))).sum() * 0.05**2
    assert mass == pytest.approx(1.0, abs=1e-3)


def test_an_unnamed_term_is_refused():
    class Forgetful(terms.Scored):
        term_names = kvae.VAE.term_names

    model = Forgetful(*pair())
    model.compile(optimizer="adam", run_eagerly=keras.backend.backend() != "jax")
    with pytest.raises(ValueError, match=r"must return the terms .*term_names = .*Received: .*'squared_error'"):
        model.fit(np.zeros((4, 8, 8, 1), "float32"), verbose=0)


def test_conditions_that_do_not_fit_are_refused():
    model, x, y, _ = trained("label and image")
    with pytest.raises(
        ValueError, match=r"`labels` must be a tuple of 2 conditions: integers \(n,\), .*Received: 3 of"
    ):
        model.encode(x, (*y, y[0]))
    with pytest.raises(ValueError, match=r"`labels\[1\]` must have shape \(n, 4, 4, 1\)"):
        model.encode(x, (y[0], x))
    with pytest.raises(ValueError, match=r"`labels\[0\]` must be in 0..2"):
        model.encode(x, (y[0] + 3, y[1]))
    with pytest.raises(ValueError, match=r"`num_classes` must have one entry.*per condition of the networks, 2"):
        kvae.CVAE(*several(), num_classes=3)
