"""An autoencoder with a density of its codes, from which it generates."""

from __future__ import annotations

from typing import Any

import keras

from kvae import priors
from kvae.distributions import Normal
from kvae.models.autoencoder import Autoencoder
from kvae.models.density import PriorModel
from kvae.training.held import freeze
from kvae.types import Network


@keras.saving.register_keras_serializable(package="kvae")
class SampledAutoencoder(PriorModel, Autoencoder):  # type: ignore[misc]  # it has a prior to generate from
    """An autoencoder with a density p(z) of its codes, as `kvae.priors.fit` makes it of a trained one.

    It draws codes from p(z) and decodes them. `fit` trains encoder and decoder as in `Autoencoder` and leaves the
    density alone, which then no longer is that of the codes.

    Args:
        encoder: as in `Autoencoder`.
        decoder: as in `Autoencoder`.
        prior: a key of `kvae.priors.PRIORS` or a `kvae.priors.Prior`.
        **kwargs: as in `Autoencoder`.

    Raises:
        ValueError: as for `Autoencoder`.

    Example:

    >>> encoder, decoder = kvae.networks.mlp(data.image_shape, latent_dim=8, posterior=None)
    >>> model = kvae.Autoencoder(encoder, decoder, loss="cross_entropy")  # then compile and fit
    >>> model = kvae.priors.fit(model, data.x_train, "gaussian_mixture")
    >>> model.generate(16, seed=0).shape
    (16, 8, 8, 1)
    """

    def __init__(
        self, encoder: Network, decoder: Network, prior: str | priors.Prior = "standard", **kwargs: Any
    ) -> None:
        super().__init__(encoder, decoder, **kwargs)
        self.prior = priors.get(prior)
        self.prior.bind(Normal(), self.latent_shape, self.image_shape, self.inference)
        freeze(self.prior)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "prior": keras.saving.serialize_keras_object(self.prior)}
