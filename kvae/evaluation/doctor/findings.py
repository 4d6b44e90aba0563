"""What can be wrong with a model: each check looks at its figures and returns a `Finding`, or `None`."""

from __future__ import annotations

import math

import numpy as np

from kvae.distributions import LOG_VAR_RANGE, Normal
from kvae.evaluation.doctor import bounded, first_look
from kvae.evaluation.doctor.finding import Finding

COLLAPSED = 0.1  # nats, of the KL of a model or of a layer


def _bounded(figures):
    return bounded.finding(figures.bounded)


def _mean_reduction(figures):
    """A factor between likelihood and KL other than β: something is averaged that should be summed."""
    said = [
        f"{what} counts {weight:.3g} times as much as it should{_named(1 / weight, figures)}"
        for what, weight in (("the log-likelihood", figures.likelihood_weight), ("the KL", figures.kl_weight))
        if not 0.8 < weight < 1.25
    ]
    if not said:
        return None
    equals = figures.kl_weight / figures.likelihood_weight
    beta = figures.beta * equals
    return Finding(
        "mean_reduction",
        "warning" if 0.5 <= beta <= 2 else "problem",
        f"In the loss, {' and '.join(said)}. With β = {figures.beta:g} this is equivalent to β = {beta:.4g} with sums, "
        "and the loss is not in nats.",
        "sum over pixels and latent dimensions, and average only over examples.",
        equals,
    )


def _named(factor, figures):
    model = figures.model
    counts = {
        figures.pixels: figures.words.values,
        math.prod(model.image_shape[:-1]): figures.words.values,
        model.latent_dim: "latent dimensions",
    }
    for count, name in counts.items():
        if count > 1 and abs(factor / count - 1) < 0.05:
            return f" (1/{count}): it is a mean over {count} {name}, not their sum"
    return ""


def _normalised(figures):
    if figures.support is not None:
        return None
    return Finding(
        "not_normalised",
        "warning",
        f"The likelihood {type(figures.model.likelihood).__name__} is not normalised: exp(log_prob) neither sums to 1 "
        "over 0 and 1, 256 grey levels or counts nor integrates to 1 over the real or positive numbers or from 0 to 1, "
        "so −ELBO is not a bound on −log p(x).",
        "keep the normalising constant, such as ½ log(2πσ²) of a Gaussian, or use one of kvae.distributions.",
        None,
    )


def _beta(figures):
    beta = figures.beta
    if 0.5 <= beta <= 2 or _mean_reduction(figures):  # which reports the effective β
        return None
    state = f"the KL is {figures.kl.mean():.3g} nats, {figures.active} of {figures.model.latent_dim} units are active"
    if beta > 1:
        effect, advice = "forces the posterior onto the prior", "β = 1, or callbacks.KLWarmup to raise it from 0."
    else:
        effect, advice = "hardly ties the codes to the prior, which spoils samples", "β = 1, if you want to sample."
    if beta == figures.pixels:
        values = figures.words.values
        advice = f"β = 1: {beta:g} is the number of {values}, which suits only a loss that is a mean over them."
    return Finding(
        "beta",
        "problem" if beta >= 10 else "warning",
        f"β = {beta:g} {effect}: {state}.",
        advice,
        beta,
    )


def _likelihood(figures):
    values = figures.words.values
    inside = float(np.mean((figures.observed > 0.1) & (figures.observed < 0.9)))
    at_edge = float(np.mean((figures.observed == 0) | (figures.observed == 1)))
    fractions = float(np.mean(np.mod(figures.observed, 1) != 0))
    if figures.support == "binary" and inside > 0.75:
        return Finding(
            "likelihood",
            "warning",
            f"A likelihood for 0 and 1 scores {values} in between: {inside:.0%} lie between 0.1 and 0.9, so most "
            f"of the loss is the entropy of the {values} themselves, which no model can reduce.",
            'likelihood="gaussian" (networks and model), or binarize the data.',
            inside,
        )
    if figures.support in first_look.COUNTS and fractions > 0.01:
        return Finding(
            "likelihood",
            "warning",
            f"A likelihood for counts scores fractions: {fractions:.0%} of the {values} are not integers.",
            'the counts themselves, neither scaled nor logarithms; for other data likelihood="gaussian".',
            fractions,
        )
    if figures.support in ("real", "positive") and at_edge > 0.99:
        return Finding(
            "likelihood",
            "warning",
            f"A density over the reals scores binary {values}: {at_edge:.0%} of them are exactly 0 or 1, so the ELBO "
            "grows without bound as σ shrinks.",
            'likelihood="bernoulli" (networks and model).',
            at_edge,
        )
    return None


def _sigma(figures):
    if figures.support not in ("real", None):
        return None
    residual = math.sqrt(np.nanmean(figures.squared_residual))  # NaN is missing
    noise = math.sqrt(np.mean(figures.squared_noise))
    floor = math.exp(0.5 * LOG_VAR_RANGE[0])
    pinned = float(
        np.mean(np.sqrt(figures.squared_noise) < 5 * floor)
    )  # catches all but one in a million draws of width 1e-3
    likelihood = figures.model.likelihood
    if isinstance(likelihood, Normal) and not isinstance(likelihood.sigma, float) and pinned > 0.2:
        return Finding(
            "sigma",
            "warning",
            f"The learned σ is at its floor of {floor:.1g} in {pinned:.0%} of the {figures.words.values}: they hardly "
            "ever change, and their density dominates the ELBO.",
            f"a fixed σ, distributions.Normal(sigma=0.1), or drop these {figures.words.values}.",
            pinned,
        )
    if not noise > 0 or 0.5 < noise / residual < 2:
        return None
    times = max(noise / residual, residual / noise) ** 2
    way, like = ("wide", "strongly") if noise > residual else ("narrow", "weakly")
    return Finding(
        "sigma",
        "problem",
        f"The likelihood's σ = {noise:.3g} is too {way}: {figures.words.example}s differ from their reconstructions by "
        f"{residual:.3g} (root mean square). The KL is weighted {times:.3g} times too {like}.",
        f'distributions.Normal(sigma={residual:.2g}), or likelihood="gaussian", which learns it'
        + (" (given more steps)." if getattr(likelihood, "sigma", None) == "learned" else "."),
        noise / residual,
    )


def _overfitting(figures):
    if figures.gap is None:
        return None
    gap, error = figures.gap
    spread = float(figures.elbo.std())
    if gap < 4 * error or gap < 0.5 * spread:
        return None
    return Finding(
        "overfitting",
        "problem" if gap > spread else "warning",
        f"The ELBO is {gap:.3g} ± {error:.2g} nats higher on training images than on others: the model has memorised "
        "them.",
        "more data, smaller networks, fewer epochs (keras.callbacks.EarlyStopping on val_loss), or dropout.",
        gap,
    )


def _collapse(figures):
    kl = float(figures.kl.mean())
    if figures.active and kl > COLLAPSED:
        return None
    return Finding(
        "collapse",
        "problem",
        f"The posterior has collapsed: {figures.active} of {figures.model.latent_dim} latent units are active, the KL "
        f"is {kl:.2g} nats, so codes carry (almost) no information about their {figures.words.example}.",
        "first anything reported above; then callbacks.KLWarmup(10), bounds.ELBO(free_bits=0.1), a higher "
        "learning rate or a weaker decoder.",
        kl,
    )


def _collapsed_layers(figures):
    if not figures.active or figures.layer_kl is None:
        return None
    kl = figures.layer_kl
    dead = [i + 1 for i in range(len(kl)) if kl[i] < COLLAPSED]
    if not dead:
        return None
    return Finding(
        "collapsed_layers",
        "warning",
        f"Layers of codes have collapsed: {', '.join(map(str, dead))} of {len(kl)}, whose KLs are "
        f"{', '.join(f'{nats:.2g}' for nats in kl)} nats from the image up. What is generated hardly depends on them.",
        "callbacks.KLWarmup(10), bounds.ELBO(free_bits=1.0), which each layer has at no cost, or fewer layers.",
        float(len(dead)),
    )


def _dead_units(figures):
    dead = figures.model.latent_dim - figures.active
    if not dead or not figures.active:
        return None
    kl = figures.dead_kl
    share = "" if kl is None else f", with {kl:.2g} of the KL's {figures.kl.mean():.3g} nats"
    fewer = f"a latent_dim near {figures.active}" if figures.layer_kl is None else "fewer latent dimensions in a layer"
    return Finding(
        "dead_units",
        "note",
        f"Dead latent units: {dead} of {figures.model.latent_dim}{share}. The model does not need them.",
        f"{fewer}; or, for more detail, KLWarmup or free bits.",
        float(dead),
    )


def _pinned(figures):
    if figures.model.posterior_family.discrete:  # a categorical posterior that is certain is what training aims at
        return None
    floor = math.exp(0.5 * LOG_VAR_RANGE[0])
    share = float(np.mean(figures.width < 2 * floor))
    if share < 0.05:
        return None
    return Finding(
        "pinned",
        "problem",
        f"The posterior's σ is at its floor, {floor:.1g}, in {share:.0%} of the codes: the model acts as an "
        f"autoencoder, whose codes have no width (KL {figures.kl.mean():.3g} nats).",
        "β = 1, and a likelihood whose σ fits the data.",
        share,
    )


def _prior(figures):
    if figures.model.posterior_family.discrete:  # equal codes have no nearest neighbour
        return None
    share = figures.prior_share
    if share < 0.75:
        return None
    return Finding(
        "prior",
        "problem" if share > 0.9 else "warning",
        f"Codes and prior do not overlap: {share:.0%} of the codes have another code as their nearest neighbour, "
        "instead of 50% if both had one distribution, so samples are decoded from regions without codes.",
        'β = 1, longer training, or a learned prior: prior="vamp" or "mixture".',
        share,
    )


def _nothing_learnt(figures):
    mean_image, example = figures.mean_image, figures.words.example
    if mean_image is None:
        return None
    better = figures.elbo - mean_image
    error = better.std(ddof=1) / math.sqrt(len(better))
    if better.mean() > 3 * error:
        return None
    return Finding(
        "nothing_learnt",
        "problem",
        f"−ELBO is {-figures.elbo.mean():.4g} nats, and that of the mean {example} is {-mean_image.mean():.4g}: "
        f"the model has learned nothing about individual {example}s.",
        "first anything reported above" + ("." if figures.bounded else "; then more epochs or another learning rate."),
        float(better.mean()),
    )


CHECKS = (  # causes before consequences
    _bounded,
    _mean_reduction,
    _normalised,
    _beta,
    _likelihood,
    _sigma,
    _overfitting,
    _collapse,
    _collapsed_layers,
    _dead_units,
    _pinned,
    _prior,
    _nothing_learnt,
)
