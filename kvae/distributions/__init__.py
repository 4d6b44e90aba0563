"""Families of distributions: sample, log-density, mean, and the KL where it has a closed form.

A family holds no parameters of its own (but for one learned σ); they come in as one tensor whose last axis an encoder
or decoder has filled, e.g. `(batch, 2 * latent)` holding `[mean, log_var]`. Every density is elementwise and keeps its
normalising constant; the caller sums over pixels or latent dimensions.
"""

from kvae import checks
from kvae.distributions.base import Distribution
from kvae.distributions.bernoulli import Bernoulli
from kvae.distributions.location_scale import Gumbel, Laplace, LocationScale, Logistic, StudentT
from kvae.distributions.normal import LEARNED_SPEED, LOG_VAR_RANGE, Normal
from kvae.distributions.positive import Exponential, LogNormal

__all__ = [
    "LEARNED_SPEED",
    "LIKELIHOODS",
    "LOG_VAR_RANGE",
    "POSTERIORS",
    "Bernoulli",
    "Distribution",
    "Exponential",
    "Gumbel",
    "Laplace",
    "LocationScale",
    "LogNormal",
    "Logistic",
    "Normal",
    "StudentT",
    "likelihood_family",
    "posterior_family",
]

POSTERIORS = {
    "normal": Normal,
    "laplace": Laplace,
    "logistic": Logistic,
    "student_t": StudentT,
    "gumbel": Gumbel,
    "log_normal": LogNormal,
    "exponential": Exponential,
}
LIKELIHOODS = {"bernoulli": Bernoulli, "gaussian": lambda: Normal(sigma="learned")}


def posterior_family(name):
    """The posterior family called `name` (a key of `POSTERIORS`), or `name` itself if it is a `Distribution`."""
    return checks.lookup(name, POSTERIORS, Distribution, "posterior")


def likelihood_family(name):
    """The likelihood called `name` (a key of `LIKELIHOODS`), or `name` itself if it is a `Distribution`.

    `"gaussian"` learns one σ for all pixels; give `Normal(sigma=0.1)` to fix it, `Normal()` for one a pixel.
    """
    return checks.lookup(name, LIKELIHOODS, Distribution, "likelihood")
