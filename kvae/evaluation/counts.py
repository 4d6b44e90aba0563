"""Examples drawn from a model, and how counts among them are distributed."""

from __future__ import annotations

from typing import Any

import numpy as np

from kvae import checks
from kvae.models import capabilities
from kvae.types import Array, ArrayLike


def draw(model: Any, n: int, y: Any = None, seed: int | None = None) -> Array:
    """Draw examples from a model: codes from its prior, then values from p(x|z), where `generate` gives their means.

    Of counts these are counts, of a Gaussian likelihood they have its noise: what data should be compared with.

    Args:
        model: a model with a density, such as a `VAE` or `CVAE`.
        n: number of examples.
        y: the condition of each, for a conditional model.
        seed: int for a reproducible draw; `None` for a random one.

    Returns:
        Array `(n, *image_shape)`.

    Raises:
        ValueError: if the model has no density, `n` is not a positive integer, or `y` does not fit.

    Example:

    >>> networks = kvae.networks.mlp((20,), latent_dim=2, likelihood="poisson")
    >>> model = kvae.VAE(*networks, likelihood="poisson")
    >>> np.unique(kvae.evaluation.draw(model, 100, seed=0))[:3]
    array([0., 1., 2.], dtype=float32)
    """
    capabilities.needs(model, "density")
    n = checks.positive_integer(n, "n")
    y = model.check_condition(y, n)
    if capabilities.has(model, "classifier") and np.any(y < 0):
        raise ValueError("`y` must hold the class of each example to draw. Received: unknown labels")
    one, other = checks.seeds(seed, 2)
    return model.draw(model.sample_prior(n, y, one), y, other)


def count_statistics(x: ArrayLike) -> dict[str, Array]:
    """The mean, the share of zeros and the dispersion of each column of counts.

    Compare those of test data with those of as many examples from `draw`. A Poisson distribution has dispersion 1. A
    model whose columns are less dispersed than the data, or have fewer zeros, needs another likelihood or a larger
    code.

    Args:
        x: counts `(n, *shape)`; NaN where they are missing.

    Returns:
        Dict of arrays `shape`: "mean", "zeros" and "dispersion", the variance divided by the mean; NaN in columns that
        have no value, and the dispersion in columns of zeros.

    Raises:
        ValueError: if `x` is not an array of examples, or holds infinity, negative numbers or fractions.

    Example:

    >>> statistics = kvae.evaluation.count_statistics([[0, 3], [4, 3]])
    >>> statistics["zeros"], statistics["dispersion"]
    (array([0.5, 0. ]), array([2., 0.]))
    """
    x = np.asarray(x)
    x = checks.array(x, x.shape[1:], "x", may_be_missing=True).astype("float64")
    seen = ~np.isnan(x)
    wrong = seen & ((x < 0) | (x != np.rint(x)))
    if wrong.any():
        raise ValueError(
            "`x` must hold counts, whole numbers, not means of them. "
            f"Received: {x[wrong][0]:g} in example {np.argwhere(wrong)[0][0]}"
        )
    with np.errstate(invalid="ignore"):  # 0/0 in empty columns
        number = seen.sum(axis=0)
        mean = np.sum(x, axis=0, where=seen) / number
        variance = np.sum(np.square(x - mean), axis=0, where=seen) / number
        return {"mean": mean, "zeros": np.sum(x == 0, axis=0) / number, "dispersion": variance / mean}
