"""What can be wrong with a model that has an adversary: a game that is decided, and images of too few kinds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from keras import ops

from kvae import checks
from kvae.evaluation.doctor import first_look
from kvae.evaluation.doctor.finding import Finding, words
from kvae.models.batches import Batch, in_batches
from kvae.types import Array

WON = 0.97  # accuracy on real and on generated images
GUESSING = 0.6
APART = 0.9  # share of real images whose nearest neighbour is real; ½ if real and generated ones are distributed alike
VARIED = 0.2  # variance of generated images relative to that of the data's
CLUSTERS = 10  # of the data, as many as digits
MISSING = 0.1  # a cluster is missing if its share of generated images is at most this times its share of the data
ADVICE = {
    "discriminator_won": "a lower learning rate or fewer units of the discriminator, dropout or noise on its input, or "
    "a higher learning rate of what it judges.",
    "discriminator_lost": "a higher learning rate or more units of the discriminator, beta_1=0.5 in Adam, or a lower "
    "learning rate of what it judges.",
    "mode_collapse": "a lower learning rate for both networks, beta_1=0.5 in Adam, larger batches; or a VAEGAN or "
    "IntroVAE, whose reconstructions need every kind of image.",
}


def examine(model: Any, x: Array, seed: int) -> list[Finding]:
    """What the doctor finds in a model with a discriminator and without a density.

    Args:
        model: with the capability "adversary".
        x: images `(n, *image_shape)`.
        seed: int.
    """
    broken = first_look.weights(model)
    if broken is not None:
        return [broken]
    x = model.check_images(x)
    one, other = checks.seeds(seed, 2)
    generated = model.generate(len(x), seed=one)
    shares = accuracies(model, x)
    found = [_balance(model, shares, x, generated), variety(x, generated, other)]
    found = [finding for finding in found if finding is not None]
    return found or [_healthy(shares, x, generated, other)]


def accuracies(model: Any, x: Array) -> tuple[float, float]:
    """The shares of real and of generated examples that a model's discriminator gets right on `x`.

    The model's random stream is left unchanged.
    """
    names = ("real_accuracy", "fake_accuracy")
    state = ops.convert_to_numpy(model.seed_generator.state)
    try:
        terms = in_batches(
            lambda x: tuple(model.run_batch(Batch(x), training=False).terms[name] for name in names),
            x,
            batch_size=len(x),
        )
    finally:
        model.seed_generator.state.assign(state)
    real, fake = (float(np.mean(each)) for each in terms)
    return real, fake


def _balance(model, shares, x, generated):
    """A discriminator that is always right, or one that guesses although the images are far apart."""
    said = f"it gets {shares[0]:.0%} of real and {shares[1]:.0%} of generated {_kind(model, x)} right"
    if min(shares) > WON:
        return Finding(
            "discriminator_won",
            "problem",
            f"The discriminator has won: {said}, so its gradient hardly tells the other networks what to "
            f"change{_growth(model)}.",
            ADVICE["discriminator_won"],
            min(shares),
        )
    apart = _apart(x, generated)
    if sum(shares) / 2 < GUESSING and apart > APART:
        return Finding(
            "discriminator_lost",
            "problem",
            f"The discriminator has lost: {said}, no better than a guess, although the nearest neighbour of "
            f"{apart:.0%} of the real {words(model.image_shape).example}s is another real one, instead of 50% if "
            "generated ones were like them.",
            ADVICE["discriminator_lost"],
            sum(shares) / 2,
        )
    return None


def _kind(model, x):
    """What the discriminator judges: examples, or codes beside draws of the prior."""
    judged = tuple(model.discriminator.inputs[0].shape[1:])
    return f"{words(model.image_shape).example}s" if judged == x.shape[1:] else "codes"


def _growth(model):
    """How the loss that the discriminator gives the other networks has grown in the last `fit`, if it has."""
    logs = getattr(getattr(model, "history", None), "history", {})
    for name in ("decoder_loss", "fooling_loss"):
        losses = logs.get(name, ())
        if len(losses) >= 4:
            part = len(losses) // 4
            first, last = np.mean(losses[:part]), np.mean(losses[-part:])
            if last > 1.2 * first > 0:
                return f"; {name} has grown from {first:.3g} to {last:.3g} nats in training"
    return ""


def _apart(x, generated):
    """The share of real images whose nearest neighbour, among both kinds, is real (Schilling 1986)."""
    from sklearn.neighbors import NearestNeighbors

    n = len(x)
    both = np.concatenate([x, generated]).reshape(2 * n, -1)
    nearest = NearestNeighbors(n_neighbors=2).fit(both).kneighbors(both[:n], return_distance=False)
    other = np.where(nearest[:, 0] == np.arange(n), nearest[:, 1], nearest[:, 0])  # not the image itself
    return float(np.mean(other < n))


def variety(x: Array, generated: Array, seed: int) -> Finding | None:
    """Generated images `(m, *image_shape)` that vary far less than the data `x`, or are of few of its kinds."""
    ratio, missing, clusters = _kinds(x, generated, seed)
    if ratio >= VARIED and missing < clusters / 2:
        return None
    examples = f"{words(x.shape[1:]).example}s"
    return Finding(
        "mode_collapse",
        "problem",
        f"Mode collapse: the variance of generated {examples} is {ratio:.2g} times that of the data, and {missing} of "
        f"{clusters} clusters of the data have (almost) none of them.",
        ADVICE["mode_collapse"],
        ratio,
    )


def _kinds(x, generated, seed):
    """The variance of generated images relative to the data's, and how many clusters of the data they miss of how many.

    Clusters of K-means take the place of classes, so that no labels are needed.
    """
    from sklearn.cluster import KMeans

    x, generated = (each.reshape(len(each), -1).astype("float64") for each in (x, generated))
    ratio = float(generated.var(axis=0).sum() / max(x.var(axis=0).sum(), 1e-12))
    clusters = max(1, min(CLUSTERS, len(x) // 10))
    means = KMeans(clusters, n_init=3, random_state=seed).fit(x)
    data, drawn = (np.bincount(labels, minlength=clusters) for labels in (means.labels_, means.predict(generated)))
    missing = int(np.sum(drawn / len(generated) <= MISSING * data / len(x)))
    return ratio, missing, clusters


def _healthy(shares, x, generated, seed):
    ratio, missing, clusters = _kinds(x, generated, seed)
    return Finding(
        "healthy",
        "ok",
        f"No problem found: the discriminator gets {shares[0]:.0%} of the real and {shares[1]:.0%} of the generated "
        f"right (50% if it can only guess), the variance of what is generated is {ratio:.2g} times that of the data, "
        f"and {clusters - missing} of {clusters} clusters of the data are among it.",
        "",
        math.fsum(shares) / 2,
    )
