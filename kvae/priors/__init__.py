"""Priors p(z): standard, of the condition, mixtures, VampPrior, a second layer, and densities fitted after training."""

from kvae import checks
from kvae.priors.autoregressive import Autoregressive
from kvae.priors.base import Conditional, Prior, Single, Standard
from kvae.priors.fit import fit
from kvae.priors.hierarchical import Hierarchical
from kvae.priors.mixtures import Components, ConditionalMixture, Mixture, Vamp
from kvae.priors.rescaled import Rescaled

__all__ = [
    "PRIORS",
    "Autoregressive",
    "Components",
    "Conditional",
    "ConditionalMixture",
    "Hierarchical",
    "Mixture",
    "Prior",
    "Rescaled",
    "Single",
    "Standard",
    "Vamp",
    "fit",
    "get",
]

PRIORS = {"standard": Standard, "mixture": Mixture, "vamp": Vamp}


def get(name: str | Prior) -> Prior:
    """The prior called `name` (a key of `PRIORS`), or `name` itself if it is a `Prior`.

    Raises:
        ValueError: for an unknown name, with the list of known ones.
    """
    return checks.lookup(name, PRIORS, Prior, "prior")
