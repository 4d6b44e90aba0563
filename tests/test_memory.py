"""Memory: no method that works batch by batch copies all images, whatever their dtype."""

import tracemalloc

import keras
import numpy as np
import pytest

import kvae

N, SHAPE = 5_000, (32, 32, 1)
COPY = 4 * N * 32 * 32  # bytes of all images in float32


@pytest.fixture(scope="module")
def vae():
    model = kvae.VAE(*kvae.networks.mlp(SHAPE, 2, hidden=(8,)))
    model.compile()
    return model


def peak(function, *args, **kwargs):
    """The most memory that a call holds at a time, without its arguments, in copies of all images."""
    tracemalloc.start()
    try:
        function(*args, **kwargs)
        return tracemalloc.get_traced_memory()[1] / COPY
    finally:
        tracemalloc.stop()


@pytest.mark.long
def test_images_are_converted_batch_by_batch(vae):
    x = np.random.default_rng(0).random((N, *SHAPE))  # float64, which Keras would convert as a whole
    assert peak(vae.evaluate, x, sample_weight=np.ones(N), batch_size=200, verbose=0) < 0.5
    # Its result, and on PyTorch the list of batches that Keras joins to it.
    assert peak(vae.predict, x, batch_size=200, verbose=0) < 2.5
    if keras.backend.backend() != "torch":  # there, Keras's layers hold a few batches until garbage is collected
        assert peak(vae.encode, x) < 0.7
        assert peak(vae.reconstruct, x) < 1.7


@pytest.mark.long
def test_pca_baseline_reconstructs_batch_by_batch(vae, tmp_path):
    x = np.random.default_rng(0).random((N, *SHAPE), dtype="float32")
    callback = kvae.callbacks.PCABaseline(tmp_path, (x * 255).astype("uint8"), x, every=2)
    callback.set_model(vae)
    before = callback.x_train.copy()
    # The bytes as floats, which scikit-learn centres in place, and a few batches of reconstructions.
    assert peak(callback.on_train_begin) < 2.0
    assert peak(callback.on_epoch_end, 0, {}) < 2.0
    np.testing.assert_array_equal(callback.x_train, before)


def test_pca_leaves_its_data_alone():
    x = np.random.default_rng(0).random((50, 4, 4, 1), dtype="float32")
    before = x.copy()
    pca = kvae.baselines.PCA(2).fit(x)
    np.testing.assert_array_equal(x, before)
    np.testing.assert_allclose(pca.components @ pca.components.T, np.eye(2), atol=1e-5)
