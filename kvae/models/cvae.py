"""The conditional variational autoencoder (Sohn, Lee, Yan 2015; Kingma et al. 2014)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers

from kvae import bounds, networks, penalties, priors
from kvae.distributions import Distribution
from kvae.models import conditions
from kvae.models.vae import VAE
from kvae.types import Array, ArrayLike, Network, Number


@keras.saving.register_keras_serializable(package="kvae")
class CVAE(VAE):
    """Conditional VAE, trained with `fit(x, y)`: p(x|z, y) and q(z|x, y) in place of p(x|z) and q(z|x).

    Args:
        encoder: Functional Keras model from `[x, y]` to posterior parameters. `y` is a one-hot label, a vector, an
            image, or several of these, `[x, y_1, y_2, ...]`.
        decoder: Functional Keras model from `[z, y]` to likelihood parameters, with the same `y`.
        num_classes: number of classes, for integer labels `(n,)`; `None` if `y` is given as arrays `(n, ...)`, such as
            attribute vectors, which the networks see as they are. For several conditions a tuple with one entry each;
            `y` is then a tuple as well.
        likelihood, posterior, bound, beta, num_samples, seed: as in `VAE`.
        prior: "standard" for p(z) = N(0, I); "learned" for p(z|y), a mean and a variance per class (or linear in a
            vector), trained with the rest; a Functional model of your own from `y` (or a list of its parts) to the
            parameters; "mixture" or a `kvae.priors.Prior` for one that is the same for all conditions.
        penalty, name, dtype, trainable: as in `VAE`.

    Raises:
        ValueError: as for `VAE`, and if the networks' condition does not have `num_classes` entries.

    Example:

    ```python
    data = kvae.load_data("digits")
    encoder, decoder = kvae.networks.mlp(data.image_shape, latent_dim=2, num_classes=10)
    model = kvae.CVAE(encoder, decoder, num_classes=10)
    model.compile(optimizer=keras.optimizers.Adam(2e-3))
    model.fit(data.x_train, data.y_train, epochs=60)
    model.generate(labels=[7] * 16, seed=0)  # (16, 8, 8, 1)
    ```
    """

    def __init__(
        self,
        encoder: Network,
        decoder: Network,
        num_classes: int | Sequence[int | None] | None = None,
        likelihood: str | Distribution = "bernoulli",
        posterior: str | Distribution = "normal",
        bound: str | bounds.Bound = "elbo",
        beta: Number = 1.0,
        num_samples: int = 1,
        seed: int | None = None,
        prior: Any = "standard",
        penalty: penalties.Penalty | list[penalties.Penalty] | None = None,
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
    ) -> None:
        shapes = self._condition_shapes(encoder) if getattr(encoder, "inputs", None) else ()
        # `networks.check_pair` says what is wrong with networks that take no condition.
        if shapes:
            log_size = networks.takes_log_size(encoder)
            self.conditions = conditions.Conditions.from_shapes(shapes, num_classes, log_size)
        else:
            self.conditions = conditions.Conditions(())
        self.num_classes = num_classes
        super().__init__(
            encoder,
            decoder,
            likelihood=likelihood,
            posterior=posterior,
            bound=bound,
            beta=beta,
            num_samples=num_samples,
            seed=seed,
            prior=prior,
            penalty=penalty,
            name=name,
            dtype=dtype,
            trainable=trainable,
        )

    def generate(  # type: ignore[override]
        self, labels: Any = None, seed: int | None = None, temperature: float = 1.0
    ) -> Array:
        """Draw latent codes from the prior and decode them under a condition.

        Args:
            labels: the condition of each image: integers `(n,)`, arrays `(n, ...)`, or a tuple of these.
            seed: int for a reproducible draw; `None` for the next of the model's own stream.
            temperature: as in `sample_prior`.

        Returns:
            Array `(n, *image_shape)` of pixel means; of draws for a `distributions.Joint`, whose means are no rows.

        Raises:
            ValueError: if labels are missing, empty, or do not fit the model.

        Example:

        >>> cvae.generate(labels=[7] * 16, seed=0).shape
        (16, 8, 8, 1)
        """
        labels = self._labels_to_generate(labels)
        return self._examples(self.sample_prior(conditions.length(labels), labels, seed, temperature), labels, seed)

    def transfer_style(self, x: ArrayLike, y: Any, labels: Any) -> Array:
        """Encode images under their own condition and decode their style under others.

        Args:
            x: images `(n, *image_shape)`.
            y: their conditions, such as labels `(n,)`.
            labels: conditions of m images, such as labels `(m,)`, to decode each style under.

        Returns:
            Array `(n, m, *image_shape)` of pixel means.
        """
        z = self.encode(x, y)
        labels = self.check_condition(labels, None)
        n, m = len(z), conditions.length(labels)
        every = conditions.take(labels, np.tile(np.arange(m), n))
        images = self.decode(np.repeat(z, m, axis=0), every)
        return images.reshape(n, m, *self.image_shape)

    def _condition_shapes(self, encoder):
        """Shapes of the parts of y, as the encoder takes them."""
        return networks.condition_shapes(encoder)

    def _labels_to_generate(self, labels):
        labels = self.check_condition(labels, None)
        if conditions.length(labels) == 0:
            raise ValueError("`labels` must hold at least one label. Received: none")
        return labels

    def _as_prior(self, prior):
        parts = self.conditions.parts  # type: ignore[union-attr]
        if isinstance(prior, str) and prior == "learned":  # starts at N(0, I) under every condition
            *places, size = self.latent_shape
            shape = (*places, self.posterior_family.num_outputs(size))
            inputs = [keras.Input(part.shape) for part in parts]
            flat = [layers.Reshape((-1,))(each) if len(each.shape) > 2 else each for each in inputs]
            h = flat[0] if len(flat) == 1 else layers.Concatenate()(flat)
            h = layers.Dense(math.prod(shape), kernel_initializer="zeros")(h)
            h = h if len(shape) == 1 else layers.Reshape(shape)(h)
            prior = keras.Model(inputs if len(inputs) > 1 else inputs[0], h, name="prior")
        if isinstance(prior, keras.Model) and getattr(prior, "inputs", None):
            expected, given = [part.shape for part in parts], [tuple(each.shape[1:]) for each in prior.inputs]
            if given != expected:
                raise ValueError(
                    f"`prior` must be a network from the condition, of shape {', '.join(map(str, expected))}. "
                    f"Received: inputs of shape {', '.join(map(str, given))}"
                )
            return priors.Conditional(prior)
        return super()._as_prior(prior)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_classes": self.num_classes}
