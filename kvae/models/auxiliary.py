"""Auxiliary deep generative models (Maaløe, Sønderby, Sønderby, Winther 2016)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kvae import bounds, checks, networks
from kvae.distributions import Normal
from kvae.models import conditions
from kvae.models.batches import Batch, BatchResult, in_batches
from kvae.models.encoder_decoder import EVALUATION_BATCH, read
from kvae.models.semisupervised import SemiSupervisedVAE
from kvae.training.kept import kept
from kvae.types import Array, ArrayLike, Network, Seed, Tensor


@keras.saving.register_keras_serializable(package="kvae")
class AuxiliaryVAE(SemiSupervisedVAE):
    """A `SemiSupervisedVAE` with an auxiliary variable a, which makes q(z, y|x) more flexible: ADGM, or SDGM.

    q(a, y, z|x) = q(a|x) q(y|a, x) q(z|a, x, y), so that q(y, z|x), its integral over a, is a mixture of Gaussians and
    of classifiers. In the ADGM, p(a|x, y, z) p(x|y, z) p(y) p(z), nothing is generated from a, and the model of x, y
    and z is that of `SemiSupervisedVAE`; in the skip deep generative model, p(x|a, y, z) p(a|y, z) p(y) p(z), a is a
    second latent layer. The bounds on log p(x, y) and log p(x) are those of `SemiSupervisedVAE` with
    log p(a|·) − log q(a|x) added, estimated at one draw of a for each image (https://arxiv.org/abs/1602.05473, eq. 5 to
    10); `kl_loss` contains it.

    Where only one code is asked for, as in `encode` and `decode`, a is the mean of q(a|x) or p(a|y, z), and the most
    probable class that of q(y|a, x) at this mean.

    Args:
        encoder: Functional Keras model from `[x, y, a]` to the parameters of q(z|a, x, y).
        decoder: from `[z, y]` to those of p(x|y, z): an ADGM; from `[z, y, a]`: an SDGM.
        classifier: from `[x, a]` to the logits of q(y|a, x).
        auxiliary_encoder: from `x` to the mean and log-variance of q(a|x).
        auxiliary_decoder: from `[x, y, z]` to those of p(a|x, y, z); in an SDGM from `[z, y]`, p(a|y, z).
        num_classes, **kwargs: as in `SemiSupervisedVAE`.

    Raises:
        ValueError: as for `SemiSupervisedVAE`, if the networks do not fit together, and for a bound with free bits.

    Example:

    ```python
    data = kvae.load_data("digits")
    y = kvae.data.few_labels(data.y_train, per_class=5, seed=0)
    networks = kvae.networks.auxiliary(data.image_shape, latent_dim=8, num_classes=10)  # skip=True for the SDGM
    model = kvae.AuxiliaryVAE(*networks, num_classes=10)
    model.compile(optimizer=keras.optimizers.Adam(1e-3))
    model.fit(data.x_train, y, epochs=40, validation_data=(data.x_test, data.y_test))
    model.classify(data.x_test)  # probabilities, (360, 10)
    ```
    """

    def __init__(
        self,
        encoder: Network,
        decoder: Network,
        classifier: Network,
        auxiliary_encoder: Network,
        auxiliary_decoder: Network,
        num_classes: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(encoder, decoder, classifier, num_classes, **kwargs)
        networks.check_auxiliary(encoder, decoder, classifier, auxiliary_encoder, auxiliary_decoder)
        if getattr(self.bound, "free_bits", 0.0):
            raise ValueError(
                "`bound` must have no free bits here, because the KL of a has no closed form. "
                f"Received: free_bits={self.bound.free_bits}"  # type: ignore[attr-defined]
            )
        if self.bound.for_encoder() is not None or "wake_sleep" in self.bound.gradient:
            raise ValueError(
                "`bound` must train all networks here, because p(a|x, y, z) belongs to neither encoder nor decoder. "
                f"Received: {self.bound.get_config()}"
            )
        self.auxiliary_encoder = auxiliary_encoder
        self.auxiliary_decoder = auxiliary_decoder
        self.auxiliary_family = Normal()

    @property
    def capabilities(self) -> frozenset[str]:
        return super().capabilities - {"density"}  # q(z|x, y) is a mixture, which has no density

    @property
    def skip(self) -> bool:
        """Whether images are generated from a as well."""
        return len(self.decoder.inputs) > 2

    # Methods on tensors. A condition is `(y,)`, or `(y, a, log q(a|x))` once a is drawn.

    def auxiliary(self, x: Tensor, training: bool = False, seed: Seed = None) -> tuple[Tensor, ...]:
        """Draw a ~ q(a|x) for each image: tensors `(batch, auxiliary_dim)` and log q(a|x) `(batch,)`."""
        params = networks.apply(self.auxiliary_encoder, x, training=training)
        a, log_q = self.auxiliary_family.sample_and_log_prob(params, 1, seed, 1)
        return a[0], log_q[0]

    def best_label(self, x: Tensor) -> Tensor:
        return ops.cast(ops.argmax(self.log_label_probabilities(x, (self._mean_auxiliary(x),)), axis=-1), "int32")

    def run_batch(self, batch: Batch, training: bool) -> BatchResult:
        result = super().run_batch(batch, training)
        if training:
            return result
        # The clean reconstruction, at the mean of a; where only the losses are used, a compiled graph drops it.
        y = ops.cast(batch.y, "int32")
        condition = self.condition(ops.where(y >= 0, y, self.best_label(batch.x)))
        z = self.code(self.inference(batch.x, condition))
        return result._replace(reconstruction=self.likelihood.mean(self.generation(z[None], condition)[0]))

    def condition(self, y: Any) -> tuple[Tensor, ...]:
        if not isinstance(y, tuple):
            return super().condition(y)
        y, *auxiliary = y
        return (*super().condition(y), *auxiliary)

    def inference(self, x: Tensor, condition: Sequence[Tensor] = (), training: bool = False) -> Tensor:
        y, *auxiliary = condition
        if not auxiliary:
            auxiliary = [self._mean_auxiliary(x, training)]
        return networks.apply(self.encoder, x, (y, auxiliary[0]), training)

    def generation(self, z: Tensor, condition: Sequence[Tensor] = (), training: bool = False) -> Tensor:
        y, *auxiliary = condition
        if not self.skip:
            return super().generation(z, (y,), training)
        if auxiliary:
            return super().generation(z, (y, auxiliary[0]), training)
        a = self.auxiliary_family.mean(self._auxiliary_params(None, z, y, training))
        params = networks.apply(self.decoder, _rows(z), (*networks.tile((y,), z.shape[0]), _rows(a)), training)
        return ops.reshape(params, (*ops.shape(z)[:2], *params.shape[1:]))

    def score(
        self,
        x: Tensor,
        z: Tensor,
        params: Tensor,
        condition: Sequence[Tensor],
        seed: Seed,
        training: bool = False,
        log_posterior: Tensor | None = None,
    ) -> tuple[bounds.PosteriorSample, Tensor]:
        """As in `VAE`, with log p(a|·) − log q(a|x) added to log p(z) − log q(z|a, x, y)."""
        sample, x_params = super().score(x, z, params, condition, seed, training, log_posterior)
        y, a, log_q = condition
        log_p = self.auxiliary_family.log_prob(a, self._auxiliary_params(x, z, y, training), 1)
        return sample._replace(
            log_prior=sample.log_prior + log_p,
            log_posterior=sample.log_posterior + log_q,
            kl=None if sample.kl is None else sample.kl + log_q - ops.mean(log_p, axis=0),
            kl_per_dimension=None,
        ), x_params

    def _mean_auxiliary(self, x, training=False):
        """The mean of q(a|x), `(batch, auxiliary_dim)`."""
        return self.auxiliary_family.mean(networks.apply(self.auxiliary_encoder, x, training=training))

    def _auxiliary_params(self, x, z, y, training=False):
        """Parameters of p(a|x, y, z) for all pairs of an image and a class, or of p(a|y, z): `(samples, rows, ...)`."""
        num_samples, rows = z.shape[0], _rows(z)
        (y,) = networks.tile((y,), num_samples)
        if networks.joins(self.auxiliary_decoder) and not self.skip:
            x = x[:: self.num_classes]  # each image once
        first, *others = (rows, y) if self.skip else (*networks.tile((x,), num_samples), y, rows)
        params = networks.apply(self.auxiliary_decoder, first, others, training)
        return ops.reshape(params, (*ops.shape(z)[:2], params.shape[-1]))

    # Methods on arrays.

    def classify(self, x: ArrayLike, num_samples: int = 10, seed: int | None = 0) -> Array:
        """The probabilities of the classes, q(y|x) = E_q(a|x)[q(y|a, x)]: array `(n, num_classes)`.

        Args:
            x: images `(n, *image_shape)`.
            num_samples: draws of a for each image.
            seed: int for reproducible draws; `None` for the next of the model's own stream.
        """
        num_samples = checks.positive_integer(num_samples, "num_samples")
        function, batch_size = kept(self, _label_probabilities, num_samples), max(1, EVALUATION_BATCH // num_samples)
        return in_batches(function, self.check_images(x), batch_size=batch_size, noise=self._noise(seed))

    def generate(self, labels: Any = None, seed: int | None = None, temperature: float = 1.0) -> Array:  # type: ignore[override]
        if not self.skip:
            return super().generate(labels, seed, temperature)
        labels = self._labels_to_generate(labels)
        one, other = (None, None) if seed is None else checks.seeds(checks.seed(seed), 2)
        z = self.sample_prior(conditions.length(labels), labels, one, temperature)
        function = kept(self, _generated, float(temperature))
        return in_batches(function, z, labels, batch_size=EVALUATION_BATCH, noise=self._noise(other))

    # How the model plugs into Keras.

    def _condition_shapes(self, encoder):
        return super()._condition_shapes(encoder)[:1]

    def _check_networks(self):
        seen = networks.condition_shapes(self.encoder)
        seen = seen if len(self.decoder.inputs) > 2 else seen[:1]  # with a, or without
        networks.check_pair(self.encoder, self.decoder, self.posterior_family, self.likelihood, True, seen)

    def _check_classifier(self):
        """Nothing: `networks.check_auxiliary` does, with the other networks."""

    def get_config(self) -> dict[str, Any]:
        others = {name: getattr(self, name) for name in ("auxiliary_encoder", "auxiliary_decoder")}
        return {
            **super().get_config(),
            **{name: keras.saving.serialize_keras_object(network) for name, network in others.items()},
        }


# For `kvae.training.kept`.


def _label_probabilities(model, num_samples, noise, x):
    x = ops.repeat(x, num_samples, axis=0)
    q = ops.exp(model.log_label_probabilities(x, model.auxiliary(x, seed=noise)))
    return ops.mean(ops.reshape(q, (-1, num_samples, model.num_classes)), axis=1)


def _generated(model, temperature, noise, z, labels):
    (y,) = model.condition(labels)
    a_params = model._auxiliary_params(None, z[None], y)[0]
    a = model.prior.draw(model.auxiliary_family, a_params, noise, temperature)
    x_params = model.generation(z[None], (y, a))[0]
    return read(model, noise if model.likelihood.generates_draws else None, x_params)


def _rows(z):
    """Samples `(samples, batch, size)` as rows `(samples · batch, size)`."""
    return ops.reshape(z, (-1, *z.shape[2:]))
