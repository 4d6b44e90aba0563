"""The contract that every model must satisfy, for all cases in `cases.py`."""

import functools
import inspect
from concurrent import futures

import fresh
import keras
import numpy as np
import pytest
from cases import ADVERSARIES, CASES, DENSITIES, EACH_MODEL, KINDS, OTHER_BOUNDS, QUICKLY, compiled, eagerly, of_cases
from halves import half_of
from keras import ops

import kvae
from kvae.models import capabilities
from kvae.models.base import BaseModel
from kvae.models.batches import Batch

N = 21  # with a smaller last batch of 8
EPOCHS = 10
LOSSES = {*KINDS, *OTHER_BOUNDS, "autoencoder-tied", "autoencoder-conv"}  # cases with each kind of loss and of penalty
LOSSES = [name for name in CASES if name in LOSSES]
FIRST = [CASES[name] for name in EACH_MODEL]  # trained and asked as users do it; the others as fast as possible

LOAD_ALL = """
import sys
import numpy as np, keras, kvae
if keras.backend.backend() == "tensorflow":
    import tensorflow as tf
    tf.config.run_functions_eagerly(True)
for name in sys.argv[2:]:
    model = keras.saving.load_model(f"{sys.argv[1]}/{name}.keras")
    given = np.load(f"{sys.argv[1]}/{name}.npz")
    x, y = given["x"], given["y"] if "y" in given.files else None
    score = model.elbo(x, y, seed=3) if "elbo" in model.capabilities else model.energy(x)
    images = model.reconstruct(x, y) if "networks" in model.capabilities else model.generate(len(x), seed=3)
    print(name, type(model).__name__, np.array_equal(images, given["images"]),
          np.array_equal(score, given["score"]), int(model.optimizer.iterations.value))
"""


@pytest.fixture(params=of_cases(CASES))
def case(request):
    return CASES[request.param]


@pytest.fixture(params=of_cases(DENSITIES))
def density(request):
    """A case of a model with an ELBO and a prior."""
    return DENSITIES[request.param]


def built(case):
    keras.utils.set_random_seed(0)
    return case.build()


def terms_of(model, x, y):
    """The terms of each example in one pass without training, as a dict of arrays `(n,)`, and the minimised sum."""
    result = model.run_batch(
        Batch(ops.convert_to_tensor(x), None if y is None else ops.convert_to_tensor(y)), training=False
    )
    terms = {}
    for name, term in result.terms.items():
        values, counted = term if isinstance(term, tuple) else (term, ops.ones_like(term))
        values, counted = ops.convert_to_numpy(values), ops.convert_to_numpy(counted)
        terms[name] = values * counted / counted.mean()  # of some examples only
    return terms, sum(ops.convert_to_numpy(loss) for loss in result.losses)


def condition_of(model, x, y):
    """What images are decoded under: their class may be unknown."""
    if not capabilities.has(model, "classifier"):
        return y
    return np.where(y < 0, ops.convert_to_numpy(model.best_label(ops.convert_to_tensor(x))), y)


def score(model, x, y):
    """One number per example: the ELBO if there is one, otherwise the energy."""
    return model.elbo(x, y, seed=3) if capabilities.has(model, "elbo") else model.energy(x)


def images_of(model, x, y):
    """Reconstructions; generated images for a model without an encoder."""
    return model.reconstruct(x, y) if capabilities.has(model, "networks") else model.generate(len(x), seed=3)


@functools.cache
def fitted(case):
    """A trained model, its logs, and what it was trained on: shared by the tests, which leave it as it is."""
    settings = {"jit_compile": "jit_compile" in QUICKLY}
    if case not in FIRST and keras.backend.backend() == "tensorflow":
        settings["steps_per_execution"] = 1  # without a loop around the step, which would be traced too
    model = compiled(built(case), optimizer=keras.optimizers.Adam(1e-2), **settings)
    x, y = case.arrays(N)
    options = {"batch_size": 7}  # each shape of a batch is compiled
    if case in FIRST:
        x_val, y_val = case.arrays(10, seed=1)
        validation = (x_val,) if y is None else (x_val, y_val)
        options = {"batch_size": 8, "validation_data": validation, "validation_freq": EPOCHS // 2}
    history = model.fit(x, y, epochs=EPOCHS, verbose=0, **options).history
    return model, {name: np.array(values) for name, values in history.items()}, x, y


@pytest.mark.long
@pytest.mark.backend_independent
def test_every_model_has_a_case():
    public = {
        cls
        for _, cls in inspect.getmembers(kvae.models, inspect.isclass)
        if issubclass(cls, BaseModel) and cls is not BaseModel
    }
    assert public == {type(built(case)) for case in CASES.values()}


def test_fit_logs_its_terms_and_their_sum(case):
    model, logs, *_ = fitted(case)
    terms = {"loss", *model.logged_terms}
    prefixes = ("", "val_") if case in FIRST else ("",)
    assert set(logs) == {prefix + name for prefix in prefixes for name in terms}
    assert all(np.isfinite(values).all() for values in logs.values())
    if any(case is CASES[name] for name in OTHER_BOUNDS):
        return
    beta = float(ops.convert_to_numpy(model.beta)) if hasattr(model, "beta") else None
    weights = {"reconstruction_loss": 1.0, "kl_loss": beta, "penalty_loss": 1.0}
    for prefix in prefixes:
        total = sum(weights[name] * logs[prefix + name] for name in terms & set(weights))
        np.testing.assert_allclose(logs[f"{prefix}loss"], total, rtol=1e-5)


def test_the_logged_elbo_is_the_bound_at_beta_one(density):
    _, logs, *_ = fitted(density)
    np.testing.assert_allclose(logs["elbo"], -(logs["reconstruction_loss"] + logs["kl_loss"]), rtol=1e-5)


# The score function's gradient, in "vae-two-layers", is too noisy for so few steps. Contrastive divergence is 0 for a
# model that has learned everything.
NOISY = (*ADVERSARIES, "vae-two-layers", "energy-divergence")


@pytest.mark.parametrize("name", of_cases([name for name in CASES if name not in NOISY]))
def test_training_lowers_the_loss(name):
    _, logs, *_ = fitted(CASES[name])
    loss = logs["loss"]
    assert np.mean(loss[-3:]) < np.mean(loss[:3])


@pytest.mark.parametrize("name", of_cases(CASES, EACH_MODEL))
def test_verbs_give_arrays_of_the_right_shape(name, request):
    case = CASES[name]
    if case not in FIRST:
        request.getfixturevalue("without_graphs")
    model, _, x, y = fitted(case)
    assert score(model, x, y).shape == (N,)
    if not capabilities.has(model, "networks"):
        assert model.generate(4).shape == (4, *case.image_shape)
        return
    z = model.encode(x, y)
    assert z.shape == (N, *case.code_shape)
    np.testing.assert_allclose(model.reconstruct(x, y), model.decode(z, condition_of(model, x, y)), atol=1e-6)
    inputs = x if y is None else (x, y)
    np.testing.assert_allclose(model.predict(inputs, verbose=0), model.reconstruct(x, y), atol=1e-5)


def test_a_density_is_drawn_from(density):
    model, _, x, y = fitted(density)
    params = np.concatenate(model.posterior(x, y), axis=-1)
    mean = ops.convert_to_numpy(model.posterior_family.mean(params))
    np.testing.assert_allclose(mean, model.encode(x, y), rtol=1e-5, atol=1e-6)
    known = condition_of(model, x, y)
    generated, again = (
        model.generate(4, seed=0) if y is None else model.generate(labels=known[:4], seed=0) for _ in range(2)
    )
    assert generated.shape == (4, *density.image_shape)
    np.testing.assert_array_equal(generated, again)


@pytest.mark.parametrize("name", ["vae", "cvae"])
def test_threads_generate_what_one_does(name):
    model, labels = CASES[name].build(), np.arange(6) % 3

    def images(seed):
        return model.generate(labels=labels, seed=seed) if name == "cvae" else model.generate(6, seed=seed)

    alone = [images(seed) for seed in range(16)]
    with futures.ThreadPoolExecutor(8) as threads:
        np.testing.assert_array_equal(list(threads.map(images, range(16))), alone)
        unseeded = list(threads.map(images, [None] * 16))
    assert len({each.tobytes() for each in unseeded}) > 1


@pytest.mark.long
def test_rates_are_proportional_to_sizes(tmp_path):
    model, _, x, log_size = fitted(CASES["cvae-counts"])
    model.save(tmp_path / "counts.keras")
    for each in (model, keras.saving.load_model(tmp_path / "counts.keras")):
        z = each.encode(x, log_size)
        rates, more = each.decode(z, log_size), each.decode(z, log_size + np.log(3))
        np.testing.assert_allclose(more, 3 * rates, rtol=1e-5)
        drawn, more = (each.generate(labels=log_size + shift, seed=0) for shift in (0, np.log(3)))
        np.testing.assert_allclose(more, 3 * drawn, rtol=1e-5)
        with pytest.raises(
            ValueError, match=r"`log_size` must hold logarithms of sizes, .* Received: values from 300 to"
        ):
            each.fit(x, np.full((len(x), 1), 300.0))
        with pytest.raises(ValueError, match=r"`log_size` must hold logarithms .* Received: values from 1 to 2"):
            each.elbo(x, 1 + np.arange(len(x))[:, None] % 2)
        with (
            pytest.raises(ValueError, match=r"`log_size` must be finite: drop examples of size 0"),
            np.errstate(all="ignore"),
        ):
            each.encode(x, np.log(np.zeros((len(x), 1))))


@pytest.mark.parametrize("name", of_cases([name for name in DENSITIES if name not in OTHER_BOUNDS], ("vae", "cvae")))
def test_evaluate_gives_the_mean_elbo(name):
    trained, _, x, y = fitted(CASES[name])
    model = built(CASES[name])
    model.set_weights(trained.get_weights())
    x, y = np.tile(x, (40, *[1] * (x.ndim - 1))), None if y is None else np.concatenate([y] * 40)
    model.beta.assign(1.0)
    model.compile(**QUICKLY)
    logs = model.evaluate(x, y, batch_size=420, verbose=0, return_dict=True)
    elbo = model.elbo(x, y)
    noise = np.sqrt(elbo.reshape(40, N).var(axis=0).mean() * 2 / len(elbo)) + 1e-4
    assert abs(logs["loss"] + elbo.mean()) < 6 * noise
    assert logs["elbo"] == pytest.approx(-logs["loss"], rel=1e-5)


@pytest.mark.parametrize("name", ["vae", "cvae-attributes", "gan"])  # test_feeding.py has all ways to feed a model
def test_tf_data_and_arrays_train_alike(name):
    import tensorflow as tf

    def trained(as_dataset):
        model = compiled(built(CASES[name]), optimizer=keras.optimizers.SGD(1e-3), **QUICKLY)
        x, y = CASES[name].arrays(N)
        if as_dataset:
            data = tf.data.Dataset.from_tensor_slices(x if y is None else (x, y)).batch(8)
            return model.fit(data, verbose=0).history["loss"]
        return model.fit(x, y, batch_size=8, shuffle=False, verbose=0).history["loss"]

    np.testing.assert_allclose(trained(True), trained(False), rtol=1e-5)


@pytest.mark.parametrize("name", of_cases(LOSSES, EACH_MODEL))
def test_sample_weight_multiplies_an_example(name):
    case = CASES[name]
    x, y = case.arrays(N)
    weight = np.linspace(0.0, 2.0, N).astype("float32")

    model = compiled(built(case), **QUICKLY)
    start = ops.convert_to_numpy(model.seed_generator.state)

    def logs(**kwargs):
        model.seed_generator.state.assign(start)
        return model.evaluate(x, y, batch_size=N, verbose=0, return_dict=True, **kwargs)

    if name in KINDS:
        ones, plain = logs(sample_weight=np.ones(N)), logs()
        assert ones == pytest.approx(plain, rel=1e-5)
        assert logs(sample_weight=2 * np.ones(N))["loss"] == pytest.approx(2 * plain["loss"], rel=1e-5)
    none = logs(sample_weight=np.where(np.arange(N) == 3, 1.0, 0.0))
    last = logs(sample_weight=weight)
    model.seed_generator.state.assign(start)
    terms, _ = terms_of(model, x, y)  # the same seed gives the same noise within a batch
    for name, values in terms.items():
        assert none[name] == pytest.approx(values[3] / N, rel=1e-4)
        assert last[name] == pytest.approx(np.mean(values * weight), rel=1e-4)


@pytest.mark.backend_independent
def test_config_round_trip(case):
    model, *_ = fitted(case)
    again = type(model).from_config(model.get_config())
    assert again.get_config() == model.get_config()


@pytest.fixture(scope="module")
def loaded_in_a_fresh_process(tmp_path_factory, request):
    """What another process has found of a case: one process for each half of them, which the tests may share."""
    tests = [item for item in request.session.items if "loaded_in_a_fresh_process" in item.fixturenames]
    known = [item.callspec.params["name"] for item in tests]

    @functools.cache
    def loaded(half):
        folder = tmp_path_factory.mktemp("saved")
        names = [name for name in known if half_of(name) == half]
        for name in names:
            model, _, x, y = fitted(CASES[name])
            model.save(folder / f"{name}.keras")
            arrays = {"x": x} if y is None else {"x": x, "y": y}
            with eagerly():  # as in the other process
                arrays |= {"images": images_of(model, x, y), "score": score(model, x, y)}
            np.savez(folder / f"{name}.npz", **arrays)
        lines = fresh.python(LOAD_ALL, folder, *names).stdout.splitlines()
        return {line.split()[0]: line.split()[1:] for line in lines}

    return lambda name: loaded(half_of(name))[name]


@pytest.mark.parametrize("name", of_cases(CASES, EACH_MODEL))
def test_a_saved_model_loads_in_a_fresh_process_with_equal_values(name, loaded_in_a_fresh_process):
    cls, images, same_score, iterations = loaded_in_a_fresh_process(name)
    model, *_ = fitted(CASES[name])
    assert (cls, images, same_score) == (type(model).__name__, "True", "True")
    assert int(iterations) == int(model.optimizer.iterations) > 0  # it continues from its saved state


@pytest.mark.parametrize("name", EACH_MODEL)
def test_a_layer_inside_another_model_carries_its_losses(name):
    if keras.backend.backend() == "jax":
        pytest.skip("Keras does not pass a sublayer's losses on under JAX (keras issue 19430)")
    case = CASES[name]
    x, y = case.arrays(N)
    inner = built(case)
    start = ops.convert_to_numpy(inner.seed_generator.state)
    _, losses = terms_of(inner, x, y)
    images = keras.Input(case.image_shape)
    inputs = images if y is None else (images, keras.Input(y.shape[1:], dtype=y.dtype))
    outer = keras.Model(inputs, ops.sum(inner(inputs), axis=-1))
    inner.seed_generator.state.assign(start)  # the same noise again
    outer(x if y is None else (x, y))
    assert float(ops.sum(outer.losses)) == pytest.approx(np.mean(losses), rel=1e-4)
    if name not in KINDS:
        return
    before = inner.decoder.get_weights()
    outer.compile(optimizer="sgd", **QUICKLY)
    outer.fit(x if y is None else (x, y), verbose=0)
    assert any(np.any(old != new) for old, new in zip(before, inner.decoder.get_weights(), strict=True))


# A GAN reconstructs nothing.
@pytest.mark.parametrize("name", of_cases([name for name in KINDS if name != "gan"], ("vae",)))
def test_metrics_compare_images_with_reconstructions(name):
    model = compiled(CASES[name].build(), metrics=["mse"], **QUICKLY)
    x, y = CASES[name].arrays(N)
    logs = model.evaluate(x, y, batch_size=8, verbose=0, return_dict=True)
    assert logs["mse"] == pytest.approx(np.mean((x - model.reconstruct(x, y)) ** 2), rel=1e-4)


@pytest.mark.parametrize("name", ["vae", "semisupervised"])  # test_gate.py has one of labels and weights
def test_a_pydataset_trains(name):
    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            x, y = CASES[name].arrays(8, seed=index)
            return (x,) if y is None else (x, y)

    model = compiled(CASES[name].build(), **QUICKLY)
    assert np.isfinite(model.fit(Batches(), verbose=0).history["loss"]).all()


def test_the_first_random_stream_is_the_seeds():
    a, b, other = CASES["vae"].build(), CASES["vae"].build(), kvae.VAE(*kvae.networks.mlp((8, 8, 1), 2), seed=1)
    np.testing.assert_array_equal(a.sample_prior(5), b.sample_prior(5))
    assert not np.array_equal(
        a.sample_prior(5), CASES["vae"].build().sample_prior(5)
    )  # a stream of noise, which advances
    assert not np.array_equal(CASES["vae"].build().sample_prior(5), other.sample_prior(5))


def test_a_learned_prior_moves_and_is_drawn_from():
    keras.utils.set_random_seed(0)
    model = CASES["cvae-learned-prior"].build()
    labels = np.repeat([0, 1], 2000)
    shift = np.zeros((3, 4), "float32")
    shift[1] = [5.0, 0.0, -2.0, 0.0]  # class 1: mean (5, 0), log variance (-2, 0)
    kernel, bias = model.prior.network.layers[-1].get_weights()
    np.testing.assert_array_equal(kernel, 0)  # initially N(0, I)
    model.prior.network.layers[-1].set_weights([shift, bias])
    z = model.sample_prior(4000, labels, seed=0)
    np.testing.assert_allclose(z[labels == 1].mean(axis=0), [5, 0], atol=0.1)
    np.testing.assert_allclose(z[labels == 1].std(axis=0), [np.exp(-1), 1], atol=0.05)
    np.testing.assert_allclose(z[labels == 0].mean(axis=0), [0, 0], atol=0.1)


def test_transfer_style_keeps_the_code_and_changes_the_label(digits):
    keras.utils.set_random_seed(0)
    encoder, decoder = kvae.networks.mlp((8, 8, 1), 2, hidden=(16,), num_classes=10)
    model = kvae.CVAE(encoder, decoder, num_classes=10)
    x, y = digits.x_test[:3], digits.y_test[:3]
    images = model.transfer_style(x, y, [4, 5])
    assert images.shape == (3, 2, 8, 8, 1)
    np.testing.assert_allclose(images[:, 1], model.decode(model.encode(x, y), [5, 5, 5]), atol=1e-6)


@pytest.mark.long
def test_a_new_bound_takes_effect_without_compile():
    model = compiled(CASES["vae"].build())
    x = np.zeros((N, *model.image_shape), "float32")
    quietly = {"batch_size": 8, "verbose": 0}

    class AtEpoch1(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                self.model.bound = kvae.bounds.ELBO(free_bits=50.0)  # nats for each of two dimensions

    def counted(logs):
        return np.subtract(logs["loss"], logs["reconstruction_loss"])

    within = model.fit(x, epochs=2, callbacks=[AtEpoch1()], **quietly).history
    np.testing.assert_allclose(counted(within), [within["kl_loss"][0], 100.0], atol=1e-3)
    model.evaluate(x, **quietly)
    model.bound = kvae.bounds.ELBO(free_bits=100.0)
    np.testing.assert_allclose(counted(model.fit(x, **quietly).history), 200.0, atol=1e-3)
    np.testing.assert_allclose(counted(model.evaluate(x, return_dict=True, **quietly)), 200.0, atol=1e-3)
