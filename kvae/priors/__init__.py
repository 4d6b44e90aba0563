"""Priors p(z): standard, learned from the condition, mixtures, VampPrior, and a second stochastic layer."""

from kvae import checks
from kvae.priors.autoregressive import Autoregressive
from kvae.priors.base import Conditional, Prior, Single, Standard
from kvae.priors.hierarchical import Hierarchical
from kvae.priors.mixtures import Components, ConditionalMixture, Mixture, Vamp

__all__ = [
    "PRIORS",
    "Autoregressive",
    "Components",
    "Conditional",
    "ConditionalMixture",
    "Hierarchical",
    "Mixture",
    "Prior",
    "Single",
    "Standard",
    "Vamp",
    "get",
]

PRIORS = {"standard": Standard, "mixture": Mixture, "vamp": Vamp}


def get(name: str | Prior) -> Prior:
    """The prior called `name` (a key of `PRIORS`), or `name` itself if it is a `Prior`.

    Raises:
        ValueError: for an unknown name, with the list of known ones.
    """
    return checks.lookup(name, PRIORS, Prior, "prior")
