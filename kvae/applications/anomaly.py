"""How strange, or how real, an image is to a model."""

import numpy as np

from kvae import evaluation
from kvae.models import capabilities


def anomaly_score(model, x, y=None, method="elbo", num_samples=50, seed=0):
    """How strange each image is to a model: the higher, the stranger.

    Args:
        model: a trained model. "reconstruction" needs no more than `reconstruct`, so it works for an autoencoder and
            for `kvae.baselines.PCA` too.
        x: images `(n, *image_shape)`.
        y: labels, for a conditional model.
        method: "elbo" for −ELBO; "importance" for −log (1/K) Σ p(x|z)p(z)/q(z|x), a closer estimate of −log p(x);
            "reconstruction" for the squared error of the reconstruction, which knows nothing of the prior.
        num_samples: int, posterior samples an example (none for "reconstruction").
        seed: int.

    Returns:
        Array `(n,)`: nats, or for "reconstruction" the sum of squares over the pixels.

    Raises:
        ValueError: for an unknown method, a density asked of a model without one, or images that do not fit the model.

    Example:

    >>> strangest = np.argsort(kvae.applications.anomaly_score(model, data.x_test))[::-1][:10]
    """
    if method == "reconstruction":
        x = np.asarray(x)
        reconstruction = model.reconstruct(x) if y is None else model.reconstruct(x, y)
        return np.square(x - reconstruction).reshape(len(x), -1).sum(axis=1)
    if method == "elbo":
        capabilities.needs(model, "density")
        return -model.elbo(x, y, num_samples=num_samples, seed=seed)
    if method == "importance":
        return -evaluation.log_likelihood(model, x, y, num_samples=num_samples, seed=seed).values
    raise ValueError(f'`method` must be "elbo", "importance" or "reconstruction". Received: {method!r}')


def auroc(normal, strange):
    """How well scores tell strange examples from normal ones: the area under the ROC curve.

    It is the probability that a strange example's score is above a normal one's: 1 is perfect, ½ is chance.

    Args:
        normal: scores `(n,)` of normal examples, from `anomaly_score`.
        strange: scores `(m,)` of strange ones.

    Returns:
        Float in [0, 1].

    Raises:
        ValueError: if either is empty.

    Example:

    >>> kvae.applications.auroc([1.0, 2.0, 3.0], [2.5, 4.0])
    0.8333333333333334
    """
    from sklearn.metrics import roc_auc_score

    for scores, name in ((normal, "normal"), (strange, "strange")):
        if len(scores) == 0:
            raise ValueError(f"`{name}` must hold at least one score. Received: none")
    return float(roc_auc_score(np.repeat([0, 1], [len(normal), len(strange)]), np.concatenate([normal, strange])))


def realism(model, x, x_train, y=None, y_train=None, method="elbo", num_samples=50, seed=0):
    """How real each image looks to a model: the share of real images that are at least as strange.

    Near 0 the image is stranger than nearly all real ones, ½ is the middle of them; of real images the values are
    spread evenly over [0, 1]. A value near 1 says "simple", not "beautiful": flat images score high.

    Args:
        model: a trained model.
        x: images `(n, *image_shape)` to judge.
        x_train: real images `(m, *image_shape)` to compare with, a few hundred of those it was trained on or, better,
            of those it was not.
        y: labels of `x`, for a conditional model.
        y_train: labels of `x_train`, for a conditional model.
        method: as in `anomaly_score`.
        num_samples: as in `anomaly_score`.
        seed: int.

    Returns:
        Array `(n,)` in [0, 1].

    Raises:
        ValueError: as `anomaly_score`.

    Example:

    >>> kvae.applications.realism(model, model.generate(16, seed=0), data.x_train[:1000])
    """
    real = np.sort(anomaly_score(model, x_train, y_train, method, num_samples, seed))
    scores = anomaly_score(model, x, y, method, num_samples, seed)
    return 1.0 - np.searchsorted(real, scores, side="left") / len(real)
