"""Anomaly detection: how unusual, or how realistic, images are under a model."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from kvae import checks, evaluation
from kvae.distributions import Mixed
from kvae.evaluation.chunks import in_chunks
from kvae.evaluation.likelihood import check_data, encoded, stream
from kvae.models import capabilities
from kvae.training.kept import kept
from kvae.types import Array, ArrayLike


def anomaly_score(
    model: Any, x: ArrayLike, y: Any = None, method: str = "elbo", num_samples: int = 50, seed: int | None = 0
) -> Array:
    """Compute an anomaly score for each image: higher scores are more anomalous.

    Args:
        model: a trained model. "reconstruction" needs only a method `reconstruct`, so it also works for an autoencoder
            and `kvae.baselines.PCA`.
        x: images `(n, *image_shape)`.
        y: labels, for a conditional model.
        method: "elbo" for −ELBO; "importance" for −log (1/K) Σ p(x|z)p(z)/q(z|x), a tighter estimate of −log p(x);
            "reconstruction" for the squared error of the reconstruction, which ignores the prior; "energy" for
            `model.energy(x)`, as of an `EnergyNetwork`.
        num_samples: int, posterior samples per example, of "elbo" and "importance".
        seed: int for reproducible noise; `None` for a random one.

    Returns:
        Array `(n,)` in nats; for "reconstruction" the sum of squares over pixels.

    Raises:
        ValueError: if the method is unknown or needs a density that the model does not have, or images do not fit it.

    Example:

    >>> most_anomalous = np.argsort(kvae.applications.anomaly_score(model, data.x_test))[::-1][:10]
    """
    if method == "reconstruction":
        x = np.asarray(x)
        reconstruction = model.reconstruct(x) if y is None else model.reconstruct(x, y)
        return np.square(x - reconstruction).reshape(len(x), -1).sum(axis=1)
    if method == "energy":
        if not hasattr(model, "energy"):
            raise ValueError(
                f"`model` must have a method `energy`, as EnergyNetwork has. Received: {type(model).__name__}"
            )
        return model.energy(x)
    if method == "elbo":
        capabilities.needs(model, "density")
        return -model.elbo(x, y, num_samples=num_samples, seed=seed)
    if method == "importance":
        return -evaluation.log_likelihood(model, x, y, num_samples=num_samples, seed=seed).values
    raise ValueError(f'`method` must be "elbo", "importance", "reconstruction" or "energy". Received: {method!r}')


def column_scores(
    model: Any, x: ArrayLike, y: Any = None, num_samples: int = 50, seed: int | None = 0
) -> dict[str, Array]:
    """Compute an anomaly score for each cell of a table: −E[log p(x_j|z)] of each column j, over z ~ q(z|x).

    Higher scores are more anomalous, within a column: those of columns of different kinds have different ranges.

    Args:
        model: a trained model whose likelihood is a `kvae.distributions.Mixed`, or an `Observed` of one.
        x: rows `(n, size)`.
        y: the condition, for a conditional model.
        num_samples: int, posterior samples per row.
        seed: int for reproducible noise; `None` for a random one.

    Returns:
        Dict from the names of the columns to arrays `(n,)` in nats; NaN where a cell is missing.

    Raises:
        ValueError: if the model has another likelihood, or rows do not fit it.

    Example:

    >>> likelihood = kvae.distributions.Mixed({"height": "gaussian", "city": 3})
    >>> model = kvae.VAE(*kvae.networks.mlp((4,), latent_dim=1, hidden=(8,), likelihood=likelihood), likelihood)
    >>> scores = kvae.applications.column_scores(model, [[0.5, 0, 1, 0], [9.0, 1, 0, 0]])
    >>> {name: values.shape for name, values in scores.items()}
    {'height': (2,), 'city': (2,)}
    """
    likelihood: Any = getattr(model, "likelihood", None)
    family = getattr(likelihood, "family", likelihood)
    if not isinstance(family, Mixed):
        raise ValueError(
            "`model` must have a likelihood of named columns: kvae.distributions.Mixed({...}). "
            f"Received: {type(family).__name__}"
        )
    x, y = check_data(model, x, y)
    num_samples = checks.positive_integer(num_samples, "num_samples")
    function, size = kept(model, _column_scores, num_samples), max(1, 5000 // num_samples)
    (scores,) = in_chunks(function, x, encoded(model, x, y), y, size=size, noise=stream(seed))
    scores = np.where(np.isnan(x), np.nan, scores)
    return {name: scores[:, np.r_[place]].sum(axis=1) for name, place in family.places.items()}


def _column_scores(model, num_samples, noise, x, params, y):
    _, _, x_params = model.sample_and_score(x, params, model.condition(y), num_samples, noise)
    return (-ops.mean(model.likelihood.elementwise_log_prob(x, x_params), axis=0),)


def auroc(normal: ArrayLike, strange: ArrayLike) -> float:
    """Compute the area under the ROC curve: how well scores separate anomalous from normal examples.

    It is the probability that an anomalous example has a higher score than a normal one: 1 is perfect, ½ is chance.

    Args:
        normal: scores `(n,)` of normal examples, from `anomaly_score`.
        strange: scores `(m,)` of anomalous examples.

    Returns:
        Float in [0, 1].

    Raises:
        ValueError: if either array is empty.

    Example:

    >>> round(kvae.applications.auroc([1.0, 2.0, 3.0], [2.5, 4.0]), 4)
    0.8333
    """
    from sklearn.metrics import roc_auc_score

    normal, strange = np.asarray(normal), np.asarray(strange)
    for scores, name in ((normal, "normal"), (strange, "strange")):
        if len(scores) == 0:
            raise ValueError(f"`{name}` must contain at least one score. Received: an empty array")
    return float(roc_auc_score(np.repeat([0, 1], [len(normal), len(strange)]), np.concatenate([normal, strange])))


def realism(
    model: Any,
    x: ArrayLike,
    x_train: ArrayLike,
    y: Any = None,
    y_train: Any = None,
    method: str = "elbo",
    num_samples: int = 50,
    seed: int | None = 0,
) -> Array:
    """Compute how realistic each image is under a model: the fraction of real images that are at least as anomalous.

    An image near 0 is more anomalous than almost all real ones, an image at ½ is typical; for real images the values
    are uniform on [0, 1]. A value near 1 means "simple", not "good": flat images score high.

    Args:
        model: a trained model.
        x: images `(n, *image_shape)` to score.
        x_train: real images `(m, *image_shape)` to compare with, a few hundred training images or, better, images not
            used in training.
        y: labels of `x`, for a conditional model.
        y_train: labels of `x_train`, for a conditional model.
        method: as in `anomaly_score`.
        num_samples: as in `anomaly_score`.
        seed: as in `anomaly_score`.

    Returns:
        Array `(n,)` in [0, 1].

    Raises:
        ValueError: as in `anomaly_score`.

    Example:

    >>> kvae.applications.realism(model, model.generate(16, seed=0), data.x_train[:1000]).shape
    (16,)
    """
    # Both use the same seed, so that training images, in their order, get exactly their own rank.
    real = np.sort(anomaly_score(model, x_train, y_train, method, num_samples, seed))
    scores = anomaly_score(model, x, y, method, num_samples, seed)
    return 1.0 - np.searchsorted(real, scores, side="left") / len(real)
