"""Families of distributions: sample, log-density, mean, and the KL where it has a closed form.

A family usually has no parameters of its own: they arrive as one tensor whose last axis a network filled, such as
`(batch, 2 * latent_dim)` holding `[mean, log_var]`. Every density keeps its normalising constant. `Distribution`
sums over pixels or latent dimensions, and nothing else does.
"""

from kvae import checks
from kvae.distributions.base import Distribution
from kvae.distributions.bernoulli import Bernoulli
from kvae.distributions.categorical import Categorical
from kvae.distributions.continuous_bernoulli import ContinuousBernoulli
from kvae.distributions.counts import NegativeBinomial, Poisson
from kvae.distributions.discretized_logistic import CategoricalLevels, DiscretizedLogistic
from kvae.distributions.joint import Joint
from kvae.distributions.location_scale import Gumbel, Laplace, LocationScale, Logistic, StudentT
from kvae.distributions.mixed import Mixed
from kvae.distributions.mixture_density import MixtureDensity
from kvae.distributions.normal import LEARNED_SPEED, LOG_VAR_RANGE, Normal
from kvae.distributions.observed import Observed
from kvae.distributions.positive import Exponential, LogNormal
from kvae.distributions.von_mises_fisher import SphericalUniform, VonMisesFisher

__all__ = [
    "LEARNED_SPEED",
    "LIKELIHOODS",
    "LOG_VAR_RANGE",
    "POSTERIORS",
    "Bernoulli",
    "Categorical",
    "CategoricalLevels",
    "ContinuousBernoulli",
    "DiscretizedLogistic",
    "Distribution",
    "Exponential",
    "Gumbel",
    "Joint",
    "Laplace",
    "LocationScale",
    "LogNormal",
    "Logistic",
    "Mixed",
    "MixtureDensity",
    "NegativeBinomial",
    "Normal",
    "Observed",
    "Poisson",
    "SphericalUniform",
    "StudentT",
    "VonMisesFisher",
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
    "categorical": Categorical,
    "von_mises_fisher": VonMisesFisher,
}
LIKELIHOODS = {
    "bernoulli": Bernoulli,
    "gaussian": lambda: Normal(sigma="learned"),
    "laplace": Laplace,
    "student_t": StudentT,
    "continuous_bernoulli": ContinuousBernoulli,
    "discretized_logistic": DiscretizedLogistic,
    "categorical": Categorical,
    "poisson": Poisson,
    "negative_binomial": NegativeBinomial,
}


def posterior_family(name: str | Distribution) -> Distribution:
    """The posterior family called `name` (a key of `POSTERIORS`), or `name` itself if it is a `Distribution`."""
    return checks.lookup(name, POSTERIORS, Distribution, "posterior")


def likelihood_family(name: str | Distribution) -> Distribution:
    """The likelihood called `name` (a key of `LIKELIHOODS`), or `name` itself if it is a `Distribution`.

    `"gaussian"` learns one σ for all pixels; use `Normal(sigma=0.1)` to fix it, `Normal()` for one σ per pixel. Bytes
    k/255 have probabilities under "discretized_logistic", one-hot vectors under "categorical", counts under "poisson"
    and "negative_binomial"; the others are densities, of which "continuous_bernoulli" is one of pixels in [0, 1].
    """
    return checks.lookup(name, LIKELIHOODS, Distribution, "likelihood")
