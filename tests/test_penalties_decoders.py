"""Penalties of regularised autoencoders, compared with formulas, and WAE-MMD."""

import keras
import numpy as np
import pytest
from cases import QUICKLY
from keras import ops

import kvae
from kvae.penalties import MMD, CodeNorm, DecoderDecay, DecoderGradient

WEIGHTS = np.random.default_rng(1).normal(size=(2, 6)).astype("float32")


def autoencoder(penalty, loss="mse", cls=kvae.Autoencoder, **kwargs):
    """A linear decoder of 6 pixels with the kernel above."""
    posterior = "normal" if issubclass(cls, kvae.VAE) else None
    classes = {"num_classes": kwargs["num_classes"]} if "num_classes" in kwargs else {}
    pair = kvae.networks.mlp((6,), 2, hidden=(), posterior=posterior, **classes)
    if not classes:
        pair[1].layers[1].set_weights([WEIGHTS, np.ones(6, "float32")])
    given = {} if posterior else {"loss": loss}
    return cls(*pair, penalty=penalty, seed=0, **given, **kwargs)


def penalised(penalty, z, model):
    """The penalty of codes `(samples, batch, 2)`."""
    params = ops.convert_to_tensor(z[0])
    return ops.convert_to_numpy(penalty(None, ops.convert_to_tensor(z), params, model, keras.random.SeedGenerator(0)))


def test_the_norms_of_codes_and_of_the_decoder(rng):
    z = rng.normal(size=(3, 5, 2)).astype("float32")
    model = autoencoder([CodeNorm(0.3), DecoderDecay(0.2)])
    np.testing.assert_allclose(penalised(CodeNorm(0.3), z, model), 0.15 * (z**2).sum(-1).mean(0), rtol=1e-5)
    expected = 0.1 * (np.square(WEIGHTS).sum() + 6)
    np.testing.assert_allclose(penalised(DecoderDecay(0.2), z, model), np.full(5, expected), rtol=1e-5)


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_the_gradient_of_the_decoder_is_its_jacobians_norm(loss, rng):
    z = rng.normal(size=(2, 3, 2)).astype("float32")
    slope = 1.0
    if loss == "cross_entropy":  # the decoder gives logits, and the images are their sigmoid
        mean = 1 / (1 + np.exp(-(z @ WEIGHTS + 1)))
        slope = (mean * (1 - mean))[..., None, :]
    expected = 0.5 * np.square(slope * WEIGHTS).sum(axis=(-2, -1)) * np.ones((2, 3))
    found = penalised(DecoderGradient(1.0, num_samples=4000), z, autoencoder(None, loss))
    np.testing.assert_allclose(found, expected.mean(axis=0), rtol=0.08)


@pytest.mark.long
def test_a_regularised_autoencoder_and_a_wae_train_and_are_saved(rng, tmp_path):
    x = rng.random((40, 6), dtype="float32")
    for name, penalty in {
        "rae": [CodeNorm(0.1), DecoderDecay(0.1), DecoderGradient(0.1)],
        "wae": [MMD(3.0, "rbf")],
    }.items():
        model = autoencoder(penalty)
        model.compile(optimizer=keras.optimizers.Adam(1e-2), jit_compile="jit_compile" in QUICKLY)
        logs = model.fit(x, epochs=4, batch_size=20, verbose=0).history
        np.testing.assert_allclose(logs["loss"], np.add(logs["reconstruction_loss"], logs["penalty_loss"]), rtol=1e-5)
        assert logs["loss"][-1] < logs["loss"][0]
        model.save(tmp_path / f"{name}.keras")
        assert kvae.load_model(tmp_path / f"{name}.keras").penalties == penalty


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: CodeNorm(-1), "`weight` must be a finite number of at least 0"),
        (lambda: DecoderDecay(np.nan), "`weight` must be a finite number"),
        (lambda: DecoderGradient(1.0, 0), "`num_samples` must be an integer of at least 1"),
        (lambda: autoencoder(DecoderGradient(1.0), cls=kvae.CVAE, num_classes=3), "needs a decoder of codes alone"),
        (lambda: half(), r"DecoderGradient requires a decoder in float32.* in bfloat16"),
    ],
)
def test_bad_input_is_refused_in_one_line(build, message):
    with pytest.raises(ValueError, match=message) as error:
        build()
    assert "\n" not in str(error.value)


def half():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        return autoencoder(DecoderGradient(1.0))
    finally:
        keras.config.set_dtype_policy(before)
