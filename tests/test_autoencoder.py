"""The autoencoder family, compared with NumPy, PCA and exact solutions."""

import types

import fresh
import keras
import numpy as np
import pytest
from keras import layers, ops
from scipy.linalg import subspace_angles

import kvae
from kvae.corruption import Gaussian, Masking, SaltAndPepper
from kvae.layers import TiedDense
from kvae.models.batches import Batch
from kvae.penalties import L1, Contractive, KLSparsity, jacobian_norm_estimate


def pair(image_shape=(8, 8, 1), latent_dim=2, hidden=(16,), **kwargs):
    keras.utils.set_random_seed(0)
    return kvae.networks.mlp(image_shape, latent_dim, hidden=hidden, posterior=None, **kwargs)


def numpy(tensor):
    return ops.convert_to_numpy(tensor)


def penalised(penalty, encoder, x):
    x = ops.convert_to_tensor(x)
    return numpy(
        penalty(x, encoder(x)[None], encoder(x), types.SimpleNamespace(encoder=encoder), keras.random.SeedGenerator(0))
    )


@pytest.fixture
def x(rng):
    return rng.random((5, 8, 8, 1), dtype="float32")


# Losses and methods.


def test_losses_are_summed_over_pixels(x):
    for loss, formula in {
        "mse": lambda out: np.square(x - out),
        "cross_entropy": lambda out: -x * np.log(1 / (1 + np.exp(-out))) - (1 - x) * np.log(1 / (1 + np.exp(out))),
    }.items():
        model = kvae.Autoencoder(*pair(), loss=loss)
        model.compile(run_eagerly=True)
        outputs = numpy(model.decoder(model.encoder(x)))
        expected = formula(outputs).sum(axis=(1, 2, 3)).mean()
        logs = model.evaluate(x, verbose=0, return_dict=True)
        assert logs["reconstruction_loss"] == pytest.approx(expected, rel=1e-5)
        assert logs == {"loss": logs["reconstruction_loss"], "reconstruction_loss": logs["loss"], "penalty_loss": 0.0}
        pixels = outputs if loss == "mse" else 1 / (1 + np.exp(-outputs))
        np.testing.assert_allclose(model.reconstruct(x), pixels, rtol=1e-5)
        np.testing.assert_allclose(model.energy(x), np.square(x - pixels).sum(axis=(1, 2, 3)), rtol=1e-5)


def test_it_has_no_prior_to_generate_from():
    model = kvae.Autoencoder(*pair())
    with pytest.raises(ValueError, match=r"needs a prior.*use a VAE.*random_codes.*Received: Autoencoder"):
        model.generate(4)


def test_random_codes_have_the_codes_mean_and_deviation(rng):
    model = kvae.Autoencoder(*pair())
    z = rng.normal([3, -1], [0.1, 4], (4000, 2))
    codes = model.random_codes(20_000, z, seed=0)
    assert codes.shape == (20_000, 2)
    np.testing.assert_allclose(codes.mean(axis=0), [3, -1], atol=0.1)
    np.testing.assert_allclose(codes.std(axis=0), [0.1, 4], rtol=0.03)
    assert abs(np.corrcoef(codes.T)[0, 1]) < 0.03
    np.testing.assert_array_equal(codes, model.random_codes(20_000, z, seed=0))


@pytest.mark.long
def test_a_linear_autoencoder_finds_pcas_space(rng):
    rotation, _ = np.linalg.qr(rng.standard_normal((12, 12)))
    x = (rng.standard_normal((640, 12)) * [2, 1.5, *[0.3] * 10] @ rotation + 1).astype("float32")
    model = kvae.Autoencoder(*pair((12,), latent_dim=2, hidden=()))
    model.compile(optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(3e-2, 1200)))
    model.fit(x, batch_size=32, epochs=60, verbose=0)
    pca = kvae.baselines.PCA(2).fit(x)
    ours, pcas = (np.square(x - m.reconstruct(x)).mean() for m in (model, pca))
    assert 1 - 1e-5 < ours / pcas < 1.01
    kernel = next(layer for layer in model.decoder.layers if layer.weights).get_weights()[0]
    assert np.rad2deg(subspace_angles(kernel.T, pca.components.T)).max() < 2


# Noise.


def test_noise_has_its_statistics(rng):
    x = np.full((200, 500), 0.4, "float32")
    noisy = numpy(Gaussian(0.5)(x, seed=0))
    assert (noisy - x).mean() == pytest.approx(0, abs=0.01)
    assert noisy.std() == pytest.approx(0.5, rel=0.01)
    masked = numpy(Masking(0.3)(x, seed=0))
    assert set(np.unique(masked)) == {np.float32(0), np.float32(0.4)}
    assert (masked == 0).mean() == pytest.approx(0.3, abs=0.01)
    specks = numpy(SaltAndPepper(0.2)(x, seed=0))
    assert (specks == 0).mean() == pytest.approx(0.1, abs=0.005)
    assert (specks == 1).mean() == pytest.approx(0.1, abs=0.005)
    assert (specks == x).mean() == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize("noise", [Gaussian(0.0), Masking(0.0), SaltAndPepper(0.0)])
def test_no_noise_leaves_the_images(x, noise):
    np.testing.assert_array_equal(noise(x, seed=0), x)


def test_all_masked_is_black_and_all_specks_are_extreme(x):
    assert not numpy(Masking(1.0)(x, seed=0)).any()
    assert set(np.unique(numpy(SaltAndPepper(1.0)(x, seed=0)))) == {0.0, 1.0}


def test_noise_is_for_training_and_the_target_stays_clean(x):
    model = kvae.Autoencoder(*pair(), noise=Masking(1.0), seed=0)
    black = numpy(model.decoder(model.encoder(np.zeros_like(x))))
    trained = model.run_batch(Batch(ops.convert_to_tensor(x)), training=True)
    np.testing.assert_allclose(numpy(trained.reconstruction), black, atol=1e-6)
    expected = np.square(x - black).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(numpy(trained.terms["reconstruction_loss"]), expected, rtol=1e-5)
    tested = model.run_batch(Batch(ops.convert_to_tensor(x)), training=False)
    np.testing.assert_allclose(numpy(tested.reconstruction), model.reconstruct(x), atol=1e-6)


@pytest.mark.long
def test_a_denoising_autoencoder_denoises(digits):
    noise = Gaussian(0.3)
    noisy = numpy(noise(digits.x_test, seed=1))
    errors = {}
    for name, given in {"plain": None, "denoising": noise}.items():
        model = kvae.Autoencoder(*pair(latent_dim=16, hidden=(64,)), noise=given, seed=0)
        model.compile(optimizer=keras.optimizers.Adam(3e-3))
        model.fit(digits.batches(batch_size=64, labels=False), epochs=15, verbose=0)
        errors[name] = kvae.evaluation.reconstruction_mse(digits.x_test, model.reconstruct(noisy))
    assert errors["denoising"] < 0.85 * errors["plain"]
    assert errors["denoising"] < 0.5 * kvae.evaluation.reconstruction_mse(digits.x_test, noisy)


# Penalties.


def test_l1_is_the_weighted_sum_of_magnitudes(x):
    encoder, _ = pair()
    z = numpy(encoder(x))
    np.testing.assert_allclose(penalised(L1(0.5), encoder, x), 0.5 * np.abs(z).sum(axis=1), rtol=1e-5)


def test_kl_sparsity_is_the_kl_between_coins(x):
    encoder, _ = pair(latent_dim=3, code_activation="sigmoid")
    mean, rho = numpy(encoder(x)).mean(axis=0).astype("float64"), 0.1
    expected = (rho * np.log(rho / mean) + (1 - rho) * np.log((1 - rho) / (1 - mean))).sum()
    np.testing.assert_allclose(penalised(KLSparsity(2.0, target=rho), encoder, x), 2 * expected, rtol=1e-4)
    assert expected > 0.1
    at_target = ops.full((5, 3), rho)
    np.testing.assert_allclose(numpy(KLSparsity(2.0, target=rho)(x, at_target[None], at_target, None, 0)), 0, atol=1e-5)


@pytest.mark.long
def test_kl_sparsity_pulls_the_mean_activation_to_its_target(digits):
    means = {}
    for weight in (0.0, 5.0):
        penalty = KLSparsity(weight, target=0.1)
        model = kvae.Autoencoder(*pair(latent_dim=16, hidden=(), code_activation="sigmoid"), penalty=penalty)
        model.compile(optimizer=keras.optimizers.Adam(1e-2))
        model.fit(digits.batches(batch_size=96, labels=False), epochs=40, verbose=0)
        means[weight] = model.encode(digits.x_train).mean(axis=0)
    assert np.abs(means[5.0] - 0.1).max() < 0.05 < np.abs(means[0.0] - 0.1).mean()


def jacobian_norms(encoder, x, step=1e-2):
    """‖J‖_F² of each example by central differences, one pixel at a time."""
    pixels = np.eye(x[0].size, dtype="float32").reshape(-1, *x.shape[1:])
    norms = []
    for each in x:
        columns = numpy(encoder(each + step * pixels)) - numpy(encoder(each - step * pixels))
        norms.append(np.square(columns / (2 * step)).sum())
    return np.array(norms)


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", None])
def test_the_contractive_penalty_of_one_layer_is_exact(x, activation):
    encoder, _ = pair(latent_dim=3, hidden=(), code_activation=activation)
    encoder.layers[-1].set_weights([3 * w for w in encoder.layers[-1].get_weights()])
    expected = jacobian_norms(encoder, x)
    np.testing.assert_allclose(penalised(Contractive(0.5), encoder, x), 0.5 * expected, rtol=2e-3)
    estimate = numpy(jacobian_norm_estimate(encoder, ops.convert_to_tensor(x), 4000, seed=0))
    np.testing.assert_allclose(estimate, expected, rtol=0.1)


def test_the_contractive_penalty_of_deeper_encoders_is_unbiased(x):
    keras.utils.set_random_seed(0)
    images = keras.Input((8, 8, 1))
    h = layers.Dropout(0.5)(layers.Dense(16, activation="tanh")(layers.Flatten()(images)))  # dropout is disabled
    encoder = keras.Model(images, layers.Dense(4, activation="sigmoid")(h))
    expected = jacobian_norms(encoder, x)
    got = penalised(Contractive(2.0, num_samples=4000), encoder, x)
    np.testing.assert_allclose(got, 2 * expected, rtol=0.1)
    assert got.sum() == pytest.approx(2 * expected.sum(), rel=0.04)


@pytest.mark.long
@pytest.mark.parametrize("hidden", [(), (16,)], ids=["exact", "estimated"])
def test_the_contractive_penalty_flattens_the_encoder(digits, hidden):
    norms = {}
    for weight in (0.0, 1.0):
        networks = pair(latent_dim=4, hidden=hidden, code_activation="sigmoid", activation="tanh")
        model = kvae.Autoencoder(*networks, penalty=Contractive(weight), seed=0)
        model.compile(optimizer=keras.optimizers.Adam(5e-3))
        model.fit(digits.batches(batch_size=96, labels=False), epochs=15, verbose=0)
        norms[weight] = jacobian_norms(model.encoder, digits.x_test[:20]).mean()
    assert norms[1.0] < 0.5 * norms[0.0]


def test_penalties_add_up(x):
    encoder, decoder = pair()
    both = kvae.Autoencoder(encoder, decoder, penalty=[L1(0.5), L1(0.25)])
    one = kvae.Autoencoder(encoder, decoder, penalty=L1(0.75))
    losses = []
    for model in (both, one):
        model.compile()
        losses.append(model.evaluate(x, verbose=0, return_dict=True))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert losses[0]["penalty_loss"] > 0


# Tied weights.


def tied(**kwargs):
    return kvae.Autoencoder(*pair(latent_dim=3, hidden=(16, 8)), tied=True, seed=0, **kwargs)


def kernels(model):
    dense = [layer for layer in model.encoder.layers if layer.weights]
    mirrored = [layer for layer in model.decoder.layers if layer.weights]
    return [(a.get_weights()[0], numpy(b._tied_kernel())) for a, b in zip(dense, mirrored[::-1], strict=True)]


def test_tied_weights_are_counted_once():
    model = tied()
    encoder, decoder = (64 * 16 + 16) + (16 * 8 + 8) + (8 * 3 + 3), 8 + 16 + 64  # the decoder only has biases
    assert sum(np.prod(w.shape) for w in model.trainable_variables) == encoder + decoder == model.count_params()
    assert len(model.trainable_variables) == 6 + 3
    plain = kvae.Autoencoder(*pair(latent_dim=3, hidden=(16, 8)))
    assert plain.count_params() - model.count_params() == 64 * 16 + 16 * 8 + 8 * 3


def test_a_tied_decoder_is_the_transposed_encoder(x, rng):
    encoder, decoder = pair(latent_dim=3, hidden=())
    (kernel, _), bias = encoder.layers[-1].get_weights(), rng.random(64).astype("float32")
    decoder.layers[1].set_weights([decoder.layers[1].get_weights()[0], bias])
    model = kvae.Autoencoder(encoder, decoder, tied=True)
    expected = (model.encode(x) @ kernel.T + bias).reshape(x.shape)  # its biases are those of the given decoder
    np.testing.assert_allclose(model.reconstruct(x), expected, atol=1e-5)


def test_training_moves_both_sides_of_a_tied_kernel(digits):
    model = tied()
    before = kernels(model)
    model.compile(optimizer=keras.optimizers.Adam(1e-2))
    loss = model.fit(digits.x_train, epochs=3, verbose=0).history["loss"]
    assert loss[-1] < loss[0]
    for (old, _), (encoders, decoders) in zip(before, kernels(model), strict=True):
        assert np.abs(encoders - old).max() > 1e-3
        np.testing.assert_array_equal(encoders, decoders)


LOAD_AND_TRAIN = """
import sys, numpy as np, keras, kvae
model = keras.saving.load_model(sys.argv[1] + "/tied.keras")
x = np.load(sys.argv[1] + "/x.npy")
same = np.allclose(model.reconstruct(x), np.load(sys.argv[1] + "/reconstruction.npy"), rtol=1e-5, atol=1e-6)
model.fit(x, epochs=2, verbose=0)
dense = [layer for layer in model.encoder.layers if layer.weights][-1]
mirrored = [layer for layer in model.decoder.layers if layer.weights][0]
kernel = keras.ops.convert_to_numpy(mirrored._tied_kernel())
print(same, np.array_equal(kernel, dense.get_weights()[0]), model.count_params())
"""


@pytest.mark.long
def test_tied_weights_stay_tied_in_a_fresh_process(tmp_path, x):
    model = tied()
    model.compile(optimizer="adam")
    model.fit(x, verbose=0)
    model.save(tmp_path / "tied.keras")
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "reconstruction.npy", model.reconstruct(x))
    done = fresh.python(LOAD_AND_TRAIN, tmp_path)  # whose graphs TensorFlow optimises, so that it rounds otherwise
    assert done.stdout.split() == ["True", "True", str(model.count_params())]


def test_an_untied_layer_says_so():
    with pytest.raises(ValueError, match="must be tied to another"):
        TiedDense(3)(np.ones((1, 2), "float32"))


# Invalid input.

BAD = {
    "unknown loss": (
        lambda: kvae.Autoencoder(*pair(), loss="mae"),
        r"`loss` must be one of \['cross_entropy', 'mse'\]",
    ),
    "fraction above 1": (lambda: Masking(1.5), r"`fraction` must be .* from 0 to 1. Received: fraction=1.5"),
    "negative fraction": (lambda: SaltAndPepper(-0.1), r"`fraction` must be .* from 0 to 1"),
    "fraction no number": (lambda: Masking("half"), r"`fraction` must be .*Received: fraction='half'"),
    "negative sigma": (lambda: Gaussian(-1), r"`sigma` must be a finite number of at least 0. Received: sigma=-1"),
    "infinite sigma": (lambda: Gaussian(np.inf), r"`sigma` must be a finite number"),
    "negative L1": (lambda: L1(-1.0), r"`weight` must be a finite number of at least 0"),
    "negative KL": (lambda: KLSparsity(-1.0), r"`weight` must be a finite number of at least 0"),
    "negative contraction": (lambda: Contractive(-1.0), r"`weight` must be a finite number of at least 0"),
    "no samples": (lambda: Contractive(1.0, num_samples=0), r"`num_samples` must be an integer of at least 1"),
    "target of 0": (lambda: KLSparsity(1.0, target=0.0), r"`target` must lie strictly between 0 and 1"),
    "KL on a linear code": (
        lambda: kvae.Autoencoder(*pair(), penalty=KLSparsity(1.0)),
        r"needs codes in \[0, 1\]: end the encoder in a sigmoid.*Received: activation linear",
    ),
    "noise by name": (lambda: kvae.Autoencoder(*pair(), noise=0.5), r"`noise` must be None or a kvae.corruption.Noise"),
    "penalty by number": (lambda: kvae.Autoencoder(*pair(), penalty=[0.5]), r"`penalty` must be None.*Received: 0.5"),
    "a VAE's encoder": (
        lambda: kvae.Autoencoder(*kvae.networks.mlp((8, 8, 1), 2)),
        r"must give \(2,\) per example, 1 parameter.* dimension: build it with posterior=None. Received: .*\(None, 4\)",
    ),
    "another latent size": (
        lambda: kvae.Autoencoder(pair()[0], pair(latent_dim=3)[1]),
        r"decoder takes codes of shape \(3,\)",
    ),
    "another image": (lambda: kvae.Autoencoder(pair()[0], pair((9, 9, 1))[1]), r"`decoder` must give \(8, 8, 1\)"),
    "a bounded posterior": (
        lambda: kvae.networks.mlp((8, 8, 1), 2, code_activation="sigmoid"),
        r"`code_activation` requires a plain code, posterior=None",
    ),
    "tied, other widths": (
        lambda: kvae.Autoencoder(pair()[0], pair(hidden=(17,))[1], tied=True),
        r"mirrors the encoder.*\[\(2, 16\), \(16, 64\)\].*Received: \[\(2, 17\), \(17, 64\)\]",
    ),
    "tied, other depths": (
        lambda: kvae.Autoencoder(pair()[0], pair(hidden=(16, 16))[1], tied=True),
        r"mirrors the encoder.*Received: \[\(2, 16\), \(16, 16\), \(16, 64\)\]",
    ),
    "tied convolutions": (
        lambda: kvae.Autoencoder(*kvae.networks.conv((8, 8, 1), 2, hidden=(4,), posterior=None), tied=True),
        r"`tied` weights require networks of Dense layers only.*Received: encoder with a Conv2D",
    ),
    "no codes": (lambda: kvae.Autoencoder(*pair()).random_codes(3, np.zeros((4, 5))), r"`z` must have shape \(n, 2\)"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_in_one_line(name):
    build, message = BAD[name]
    with pytest.raises(ValueError, match=message) as caught:
        build()
    assert "\n" not in str(caught.value)


def test_cross_entropy_refuses_pixels_outside_the_unit_interval(x):
    model = kvae.Autoencoder(*pair(), loss="cross_entropy")
    model.compile()
    with pytest.raises(ValueError, match=r"pixels in \[0, 1\]"):
        model.fit(255 * x)
    assert model.reconstruct(x + 5).shape == x.shape  # noisy images may be outside of it
