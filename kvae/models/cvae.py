"""The conditional variational autoencoder (Sohn, Lee, Yan 2015; Kingma et al. 2014)."""

import keras
import numpy as np
from keras import layers, ops

from kvae import checks, priors
from kvae.models.vae import VAE


@keras.saving.register_keras_serializable(package="kvae")
class CVAE(VAE):
    """Conditional VAE, trained with `fit(x, y)`: p(x|z, y) and q(z|x, y) in the place of p(x|z) and q(z|x).

    Args:
        encoder: Functional Keras model from `[x, y]` to posterior parameters, `y` a vector (one-hot or attributes).
        decoder: Functional Keras model from `[z, y]` to likelihood parameters.
        num_classes: number of classes, for integer labels `(n,)`; `None` if labels are attribute vectors `(n, k)` of
            floats, which the networks get as they are.
        prior: "standard" for p(z) = N(0, I); "learned" for p(z|y), a mean and variance a class (or linear in the
            attributes), trained with the rest; a Functional model of your own from `y` to the parameters; "mixture" or
            a `kvae.priors.Prior` for one that is the same for all labels.
        **kwargs: the arguments of `VAE`, from `likelihood` on.

    Raises:
        ValueError: as `VAE`, and if the networks' condition is not `num_classes` long.

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

    takes_labels = True

    def __init__(self, encoder, decoder, num_classes=None, prior="standard", **kwargs):
        if num_classes is not None:
            checks.positive_integer(num_classes, "num_classes")
        super().__init__(encoder, decoder, prior=prior, **kwargs)
        self.num_classes = num_classes
        for network, role in ((encoder, "encoder"), (decoder, "decoder")):
            width = network.inputs[1].shape[-1]
            if num_classes not in (None, width) or width != encoder.inputs[1].shape[-1]:
                raise ValueError(
                    f"`{role}` must take a condition of the length that `num_classes` and its partner have: build both "
                    f"networks with the same num_classes. Received: num_classes={num_classes}, condition of {width}"
                )

    @property
    def condition_dim(self):
        """Length of the vector that both networks see beside their input."""
        return self.encoder.inputs[1].shape[-1]

    def condition(self, y):
        if self.num_classes is None:
            return ops.cast(y, "float32")
        return ops.one_hot(ops.cast(y, "int32"), self.num_classes, dtype="float32")

    def check_labels(self, y, num_examples):
        if self.num_classes is not None:
            return checks.class_labels(y, self.num_classes, num_examples)
        if y is None:
            raise ValueError(
                f"`labels` is missing: this model needs {self.condition_dim} attributes an example. Received: None"
            )
        y = checks.array(y, (self.condition_dim,), "labels").astype("float32")
        checks.same_length(y, num_examples, "labels")
        return y

    def generate(self, labels=None, seed=None):
        """Draw latent codes from the prior and decode them under `labels`.

        Args:
            labels: integers `(n,)`, or attribute vectors `(n, k)`: one image for each.
            seed: int for a reproducible draw; `None` for the next of the model's own stream.

        Returns:
            Array `(n, *image_shape)` of pixel means.

        Raises:
            ValueError: if labels are missing, none, or do not fit the model.
        """
        labels = self.check_labels(labels, None)
        if len(labels) == 0:
            raise ValueError("`labels` must hold at least one label. Received: none")
        return self.decode(self.sample_prior(len(labels), labels, seed), labels)

    def transfer_style(self, x, y, labels):
        """Encode images under their own labels and decode their style under others.

        Args:
            x: images `(n, *image_shape)`.
            y: their labels `(n,)`.
            labels: labels `(m,)` to decode each style under.

        Returns:
            Array `(n, m, *image_shape)` of pixel means.
        """
        z = self.encode(x, y)
        n, m = len(z), len(labels)
        images = self.decode(np.repeat(z, m, axis=0), np.concatenate([np.asarray(labels)] * n))
        return images.reshape(n, m, *self.image_shape)

    def _as_prior(self, prior):
        if prior == "learned":  # starts at N(0, I) for every label
            width = self.posterior_family.num_parameters * self.latent_dim
            prior = keras.Sequential(
                [keras.Input((self.condition_dim,)), layers.Dense(width, kernel_initializer="zeros")], name="prior"
            )
        if isinstance(prior, keras.Model) and getattr(prior, "inputs", None):
            if prior.input_shape[-1] != self.condition_dim:
                raise ValueError(
                    f"`prior` must map a condition of length {self.condition_dim}. Received: {prior.input_shape}"
                )
            return priors.Conditional(prior)
        return super()._as_prior(prior)

    def get_config(self):
        return {**super().get_config(), "num_classes": self.num_classes}
