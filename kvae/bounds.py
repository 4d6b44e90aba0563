"""Lower bounds on log p(x): from log-densities of posterior samples to one number per example, in nats.

A bound is a small object, `bound(sample, beta) -> (terms)`. The terms are what is minimised, each `(batch,)`, and their
sum is the negative bound. β weighs the KL (or, in a multi-sample bound, the log-ratio log p(z) − log q(z|x)).
"""

from typing import NamedTuple

import keras
from keras import ops

from kvae import checks


class PosteriorSample(NamedTuple):
    """What a bound is made of: the pieces of S posterior samples of a batch, in nats.

    Attributes:
        log_likelihood: log p(x|z_s), `(samples, batch)`, summed over pixels.
        kl: KL(q(z|x) ‖ p(z)), `(batch,)`, summed over latent dimensions.
    """

    log_likelihood: object
    kl: object


class Bound:
    """Base of all bounds: configuration in the constructor's arguments, equality by it."""

    def __call__(self, sample, beta):
        """The terms to minimise.

        Args:
            sample: `PosteriorSample`.
            beta: scalar weight of the KL.

        Returns:
            Tuple of tensors `(batch,)` whose sum is the negative bound (at β = 1).
        """
        raise NotImplementedError

    def get_config(self):
        return {}

    @classmethod
    def from_config(cls, config):
        return cls(**config)

    def __eq__(self, other):
        return type(self) is type(other) and self.get_config() == other.get_config()

    def __hash__(self):
        return hash((type(self), tuple(sorted(self.get_config().items()))))


@keras.saving.register_keras_serializable(package="kvae")
class ELBO(Bound):
    """E_q[log p(x|z)] − β KL(q(z|x) ‖ p(z)), the KL in closed form (Kingma & Welling 2014, eq. 3 and 10).

    The expectation is the mean over the posterior samples. β = 1 is the evidence lower bound; another β is β-VAE's
    objective (Higgins et al. 2017, eq. 4).
    """

    def __call__(self, sample, beta):
        return -ops.mean(sample.log_likelihood, axis=0), beta * sample.kl


BOUNDS = {"elbo": ELBO}


def get(name):
    """The bound called `name` (a key of `BOUNDS`), or `name` itself if it is a `Bound`.

    Raises:
        ValueError: for an unknown name, with the list of known ones.
    """
    return checks.lookup(name, BOUNDS, Bound, "bound")
