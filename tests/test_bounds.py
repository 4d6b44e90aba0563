"""Bounds against NumPy."""

import keras
import numpy as np
import pytest

from kvae import bounds


def test_the_elbos_terms_are_reconstruction_and_weighted_kl(rng):
    densities = rng.normal(size=(3, 4, 5)).astype("float32")
    kl = rng.random((5, 2)).astype("float32")
    reconstruction, weighted = bounds.ELBO()(bounds.PosteriorSample(*densities, kl), 0.5)
    np.testing.assert_allclose(reconstruction, -densities[0].mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(weighted, 0.5 * kl.sum(axis=-1), rtol=1e-6)


def test_names_and_round_trip():
    bound = bounds.get("elbo")
    assert bounds.get(bound) is bound
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(bound))
    assert again == bound
    assert hash(again) == hash(bound)
    with pytest.raises(ValueError, match=r"`bound` must be one of \['elbo', 'importance.*Received: 'elbow'"):
        bounds.get("elbow")
