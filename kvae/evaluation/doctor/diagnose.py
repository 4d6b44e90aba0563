"""The doctor's examination of a trained model."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from kvae import checks
from kvae.evaluation.doctor import adversaries, codebooks, findings, first_look, loss_scale
from kvae.evaluation.doctor.figures import Figures
from kvae.evaluation.doctor.finding import Finding
from kvae.evaluation.likelihood import check_data
from kvae.models import VAE, capabilities, conditions
from kvae.types import ArrayLike

MAX_EXAMPLES = 1000  # of each set: enough for every figure, and fast on any data


def diagnose(
    model: VAE,
    x: ArrayLike,
    y: Any = None,
    x_train: ArrayLike | None = None,
    y_train: Any = None,
    seed: int = 0,
) -> list[Finding]:
    """Report what is wrong with a trained model, causes before consequences.

    The doctor looks for weights that are not finite; pixels or columns on a wrong scale; outputs that a network's last
    activation bounds; a mean in the loss where a sum belongs, or a β far from 1; a
    likelihood that does not fit the data; overfitting; posterior collapse, dead units, a posterior pinned to the edge
    of its range; codes that do not overlap with the prior; and a model that knows no more than the mean image. In a
    model with an adversary it looks for mode collapse and, where this is a discriminator, for one that has won or lost;
    in one with a codebook, for codes that are never chosen.
    The model's own random stream is left unchanged.

    Args:
        model: a trained model with densities, such as a `VAE` or `CVAE`, an adversary, such as a `GAN`, or a codebook.
        x: images `(n, *image_shape)` that it was not trained on. At most 1,000 of them, chosen by the seed, are used.
        y: their conditions, for a conditional model.
        x_train: images that it was trained on, to detect overfitting; `None` to skip that.
        y_train: their conditions.
        seed: of the doctor's own random numbers.

    Returns:
        List of `Finding`; for a healthy model one of severity "ok", with its figures, and perhaps notes.

    Raises:
        ValueError: if the model has no density, adversary or codebook, or images or labels do not fit it. Pixels that
            the likelihood cannot score are a finding.

    Example:

    >>> findings = kvae.evaluation.diagnose(model, data.x_test, data.y_test, data.x_train, data.y_train)
    >>> report = [str(finding) for finding in findings]
    """
    check_model(model)
    images, y = _some(checks.array(x, model.image_shape, "x", model.likelihood.allows_missing), y, seed)
    if capabilities.has(model, "codebook"):
        return codebooks.examine(model, images)
    if not capabilities.has(model, "density"):
        return adversaries.examine(model, images, seed)
    broken = first_look.weights(model)
    if broken is not None:
        return [broken]
    scale_and_support = loss_scale.density_scale(model.likelihood, model.image_shape)
    wrong_scale = first_look.scale(images, model.image_shape, scale_and_support[1])
    try:
        model.likelihood.check(images, "x")
    except ValueError:
        if wrong_scale is None:
            raise
        return [wrong_scale]
    images, y = check_data(model, images, y)
    with np.errstate(invalid="ignore"):  # of outputs that overflow, which are a finding
        figures = Figures(model, images, y, *_some(x_train, y_train, seed), scale_and_support, seed)
    bad = np.flatnonzero(~np.isfinite(figures.elbo))
    if len(bad):
        return [*filter(None, [wrong_scale]), _overflow(bad, figures)]
    found = [wrong_scale, *(check(figures) for check in findings.CHECKS)]
    if capabilities.has(model, "adversary"):
        seeds = checks.seeds(seed, 2)
        found.append(adversaries.variety(images, model.generate(len(images), seed=seeds[0]), seeds[1]))
    found = [finding for finding in found if finding is not None]
    ill = any(finding.severity in ("problem", "warning") for finding in found)
    return found if ill else [_healthy(figures), *found]


def check_model(model: Any) -> None:
    """Raise a `ValueError` unless the doctor can examine a model."""
    if not any(capabilities.has(model, each) for each in ("density", "adversary", "codebook")):
        raise ValueError(
            "`model` must have densities, a discriminator or a codebook, which the doctor examines: look at the "
            f"reconstruction error of others. Received: {type(model).__name__}"
        )


def _overflow(bad, figures):
    example = figures.words.example
    return Finding(
        "not_finite",
        "problem",
        f"The ELBO of {len(bad)} of {len(figures.x)} {example}s is not a finite number, the first at index {bad[0]}: "
        "the networks' outputs overflow, although their weights are finite.",
        f"a lower learning rate, clipnorm=1.0 in the optimizer, and {figures.words.values} of a magnitude near 1.",
        float(len(bad)),
    )


def _healthy(figures):
    elbo, model = figures.elbo, figures.model
    said = [
        f"−ELBO {-elbo.mean():.2f} ± {elbo.std(ddof=1) / math.sqrt(len(elbo)):.2f} nats",
        f"KL {figures.kl.mean():.3g} nats",
        f"{figures.active} of {model.latent_dim} latent units active",
    ]
    mean_image = figures.mean_image
    if mean_image is not None:
        said[0] += f" (the mean {figures.words.example}: {-mean_image.mean():.2f})"
    if figures.gap is not None:
        said.append("train − test {:.2f} ± {:.2f} nats".format(*figures.gap))
    return Finding("healthy", "ok", f"No problem found: {', '.join(said)}.", "", -float(elbo.mean()))


def _some(x: Any, y: Any, seed: int) -> tuple[Any, Any]:
    """At most `MAX_EXAMPLES` of `x`, and their conditions."""
    if x is None:
        return None, None
    x = np.asarray(x)
    if y is not None:
        checks.same_length(y[0] if isinstance(y, tuple) else y, len(x), "y")
    if len(x) <= MAX_EXAMPLES:
        return x, y
    rows = np.random.default_rng(checks.seed(seed)).choice(len(x), MAX_EXAMPLES, replace=False)
    return x[rows], conditions.take(y, rows)
