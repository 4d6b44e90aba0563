"""Compressed files know the model that wrote them."""

import numpy as np
import pytest

import kvae
from kvae.applications import compress, decompress

X = np.random.default_rng(0).random((20, 8, 8, 1), "float32")
PAIR = {"latent_dim": 2, "hidden": (4,)}


def vae():
    return kvae.VAE(*kvae.networks.mlp((8, 8, 1), **PAIR), seed=0)


def tied():
    return kvae.Autoencoder(*kvae.networks.mlp((8, 8, 1), **PAIR, posterior=None), tied=True)


def pca(seed=0):
    return kvae.baselines.PCA(2).fit(np.random.default_rng(seed).random((20, 8, 8, 1), "float32"))


@pytest.mark.parametrize("make", [vae, tied, pca])
def test_another_model_of_the_same_latent_size_is_refused(make):
    model, other = make(), make(1) if make is pca else make()
    file = compress(model, X, 0.1)
    assert decompress(model, file).shape == X.shape
    with pytest.raises(ValueError, match=r"the same model and weights.*a file of the model") as caught:
        decompress(other, file)
    assert "\n" not in str(caught.value)


def test_a_model_stays_itself_after_use_and_saving_but_not_after_training(tmp_path):
    model = vae()
    file = compress(model, X, 0.1)
    images = decompress(model, file)
    model.generate(3)  # moves the state of its random generators
    model.elbo(X)
    model.save(tmp_path / "m.keras")
    loaded = kvae.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(decompress(loaded, file), images, atol=1e-6)
    weight = loaded.decoder.trainable_weights[0]
    weight.assign(np.asarray(weight) + 1e-3)
    with pytest.raises(ValueError, match="the same model and weights"):
        decompress(loaded, file)
