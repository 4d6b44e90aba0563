"""The log-densities of posterior samples, of which every bound is made."""

from __future__ import annotations

from typing import NamedTuple

from keras import ops

from kvae.types import Tensor


class PosteriorSample(NamedTuple):
    """What a bound is made of: the log-densities of S posterior samples of a batch, in nats.

    Attributes:
        log_likelihood: log p(x|z_s), `(samples, batch)`, summed over pixels.
        log_prior: log p(z_s), `(samples, batch)`, summed over latent dimensions.
        log_posterior: log q(z_s|x), `(samples, batch)`.
        kl: KL(q(z|x) ‖ p(z)) in closed form, `(batch,)`; `None` where there is no closed form.
        kl_per_dimension: its part of each latent dimension, `(batch, *latent_shape)`, or of each stochastic layer of a
            hierarchy, `(batch, layers)`; `None` where q or p(z) does not factorise.
    """

    log_likelihood: Tensor
    log_prior: Tensor
    log_posterior: Tensor
    kl: Tensor | None = None
    kl_per_dimension: Tensor | None = None

    def log_weights(self, beta: Tensor | float = 1.0) -> Tensor:
        """log w_s = log p(x|z_s) + β (log p(z_s) − log q(z_s|x)), `(samples, batch)`."""
        return self.log_likelihood + beta * (self.log_prior - self.log_posterior)

    def total_kl(self) -> Tensor:
        """KL(q(z|x) ‖ p(z)), `(batch,)`: in closed form where there is one, else the samples' mean of log q − log p."""
        return self.sampled_kl() if self.kl is None else self.kl

    def sampled_kl(self) -> Tensor:
        """The Monte Carlo estimate of KL(q(z|x) ‖ p(z)), `(batch,)`: the mean over the samples of log q − log p."""
        return ops.mean(self.log_posterior - self.log_prior, axis=0)
