"""What can be wrong with a model: each check looks at a `Patient` and gives a `Finding`, or `None`."""

import dataclasses
import math

import numpy as np

from kvae.distributions import LOG_VAR_RANGE, Normal


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that the doctor found.

    Attributes:
        name: what it is about, one word.
        severity: "problem", "warning", "note" or, of a healthy model, "ok".
        message: what is so, with the figure behind it.
        advice: what to try; empty where there is nothing to mend.
        value: float, the figure; `None` where there is none.
    """

    name: str
    severity: str
    message: str
    advice: str
    value: float | None

    def __str__(self):
        return f"{self.severity}: {self.message}" + (f" Try: {self.advice}" if self.advice else "")


def pixels(x, shape):
    """Images on a wrong scale: a `Finding`, or `None`. Of `x` `(n, *shape)`, before a model has looked at it."""
    top, bottom = float(np.max(x)), float(np.min(x))
    if 0 < top <= 1.01 / 255 and bottom >= 0:
        return Finding(
            "pixels",
            "problem",
            f"The largest pixel is {top:.4g}, about 1/255: the images look divided by 255 twice, and all alike.",
            "divide by 255 once; kvae.load_data gives pixels in [0, 1] already.",
            top,
        )
    if len(shape) == 3 and bottom >= 0 and 2 < top <= 255 and np.all(np.mod(x, 1) == 0):
        return Finding(
            "pixels",
            "problem",
            f"The pixels are whole numbers up to {top:g}, where [0, 1] is expected.",
            "divide by 255 (or by the largest value that a pixel can have), in training and here.",
            top,
        )
    return None


def _mean_reduction(patient):
    """The factor between likelihood and KL that is not β: whatever is averaged, where it should be summed."""
    said = [
        f"{what} counts {weight:.3g} times what it should{_named(1 / weight, patient)}"
        for what, weight in (("the log-likelihood", patient.likelihood_weight), ("the KL", patient.kl_weight))
        if not 0.8 < weight < 1.25
    ]
    if not said:
        return None
    equals = patient.kl_weight / patient.likelihood_weight
    beta = patient.beta * equals
    return Finding(
        "mean_reduction",
        "warning" if 0.5 <= beta <= 2 else "problem",
        f"In the loss {' and '.join(said)}. With β = {patient.beta:g} that equals β = {beta:.4g} on sums, and the loss "
        "is not in nats.",
        "sum over pixels and latent dimensions, and average over examples alone.",
        equals,
    )


def _named(factor, patient):
    model = patient.model
    counts = {
        patient.pixels: "pixels",
        math.prod(model.image_shape[:-1]): "pixels",
        model.latent_dim: "latent dimensions",
    }
    for count, name in counts.items():
        if count > 1 and abs(factor / count - 1) < 0.05:
            return f" (1/{count}): it is a mean over {count} {name}, not their sum"
    return ""


def _normalised(patient):
    if patient.support is not None:
        return None
    return Finding(
        "not_normalised",
        "warning",
        f"The likelihood {type(patient.model.likelihood).__name__} is no distribution: exp(log_prob) neither sums to 1 "
        "over pixels 0 and 1 or 256 grey levels nor integrates to 1, so that −ELBO is no bound on −log p(x).",
        "keep the normalising constant, such as ½ log(2πσ²) of a Gaussian, or take one of kvae.distributions.",
        None,
    )


def _beta(patient):
    beta = patient.beta
    if 0.5 <= beta <= 2 or _mean_reduction(patient):  # which says what β comes to
        return None
    figures = f"the KL is {patient.kl.mean():.3g} nats, {patient.active} of {patient.model.latent_dim} units are active"
    if beta > 1:
        effect, advice = "presses the posterior on the prior", "β = 1, or callbacks.KLWarmup to let it rise from 0."
    else:
        effect, advice = "hardly ties the codes to the prior, so that samples suffer", "β = 1, if you want to sample."
    if beta == patient.pixels:
        advice = f"β = 1: {beta:g} is the number of pixels, right only for a loss that is a mean over them."
    return Finding(
        "beta",
        "problem" if beta >= 10 else "warning",
        f"β = {beta:g} {effect}: {figures}.",
        advice,
        beta,
    )


def _likelihood(patient):
    inside = float(np.mean((patient.x > 0.1) & (patient.x < 0.9)))
    at_edge = float(np.mean((patient.x == 0) | (patient.x == 1)))
    if patient.support == "binary" and inside > 0.75:
        return Finding(
            "likelihood",
            "warning",
            f"A likelihood of 0 and 1 scores grey pixels: {inside:.0%} of them lie between 0.1 and 0.9, so that most "
            "of the loss is the greys' own entropy, which no model can lower.",
            'likelihood="gaussian" (networks and model), or binarize the data.',
            inside,
        )
    if patient.support in ("real", "positive") and at_edge > 0.99:
        return Finding(
            "likelihood",
            "warning",
            f"A density over real numbers scores binary pixels: {at_edge:.0%} of them are exactly 0 or 1, so that a "
            "narrower and narrower σ makes the ELBO as large as one likes.",
            'likelihood="bernoulli" (networks and model).',
            at_edge,
        )
    return None


def _sigma(patient):
    if patient.support not in ("real", None):
        return None
    residual, noise = (math.sqrt(np.mean(square)) for square in (patient.squared_residual, patient.squared_noise))
    floor = math.exp(0.5 * LOG_VAR_RANGE[0])
    pinned = float(np.mean(np.sqrt(patient.squared_noise) < 5 * floor))  # of noise 1e-3 wide all but 1 in a million
    likelihood = patient.model.likelihood
    if isinstance(likelihood, Normal) and likelihood.sigma in (None, "learned") and pinned > 0.2:
        return Finding(
            "sigma",
            "warning",
            f"The learned σ is at its floor of {floor:.1g} in {pinned:.0%} of the pixels: they (nearly) never change, "
            "and their density, not the picture, makes the ELBO.",
            "one fixed σ, distributions.Normal(sigma=0.1), or leave those pixels out.",
            pinned,
        )
    if not noise > 0 or 0.5 < noise / residual < 2:
        return None
    way, like = ("wide", "strong") if noise > residual else ("narrow", "weak")
    return Finding(
        "sigma",
        "problem",
        f"The likelihood's σ = {noise:.3g} is too {way}: images differ from their reconstructions by {residual:.3g} "
        f"(root mean square). It makes the KL {max(noise / residual, residual / noise) ** 2:.3g} times too {like}.",
        f'distributions.Normal(sigma={residual:.2g}), or likelihood="gaussian", which learns it'
        + (" (given more steps)." if getattr(likelihood, "sigma", None) == "learned" else "."),
        noise / residual,
    )


def _overfitting(patient):
    if patient.gap is None:
        return None
    gap, error = patient.gap
    spread = float(patient.elbo.std())
    if gap < 4 * error or gap < 0.5 * spread:
        return None
    return Finding(
        "overfitting",
        "problem" if gap > spread else "warning",
        f"The ELBO is {gap:.3g} ± {error:.2g} nats higher on training images than on others: the model knows them by "
        "heart.",
        "more data, smaller networks, fewer epochs (keras.callbacks.EarlyStopping on val_loss), or dropout.",
        gap,
    )


def _collapse(patient):
    kl = float(patient.kl.mean())
    if patient.active and kl > 0.1:
        return None
    return Finding(
        "collapse",
        "problem",
        f"The posterior has collapsed: {patient.active} of {patient.model.latent_dim} latent units are active, the KL "
        f"is {kl:.2g} nats, so that codes say (nearly) nothing of their image.",
        "first what is said above, if anything is; then callbacks.KLWarmup(10), bounds.ELBO(free_bits=0.1), a higher "
        "learning rate or a weaker decoder.",
        kl,
    )


def _dead_units(patient):
    dead = patient.model.latent_dim - patient.active
    if not dead or not patient.active:
        return None
    kl = patient.dead_kl
    share = "" if kl is None else f", with {kl:.2g} of the KL's {patient.kl.mean():.3g} nats"
    return Finding(
        "dead_units",
        "note",
        f"Dead latent units: {dead} of {patient.model.latent_dim}{share}. This model does without.",
        f"a latent_dim near {patient.active}; or, if more detail is wanted, KLWarmup or free bits.",
        float(dead),
    )


def _pinned(patient):
    floor = math.exp(0.5 * LOG_VAR_RANGE[0])
    share = float(np.mean(patient.width < 2 * floor))
    if share < 0.05:
        return None
    return Finding(
        "pinned",
        "problem",
        f"The posterior's σ is at its floor, {floor:.1g}, in {share:.0%} of the codes: this is an autoencoder, "
        f"whose codes have no width (KL {patient.kl.mean():.3g} nats).",
        "β = 1, and a σ of the likelihood that fits the data.",
        share,
    )


def _prior(patient):
    share = patient.prior_share
    if share < 0.75:
        return None
    return Finding(
        "prior",
        "problem" if share > 0.9 else "warning",
        f"Codes and prior lie apart: {share:.0%} of them have their nearest neighbour among their own, where 50% would "
        "if the two were one, so that samples are decoded from places where no code lies.",
        'β = 1, longer training, or a prior that learns: prior="vamp" or "mixture".',
        share,
    )


def _nothing_learnt(patient):
    mean_image = patient.mean_image
    if mean_image is None:
        return None
    better = patient.elbo - mean_image
    error = better.std(ddof=1) / math.sqrt(len(better))
    if better.mean() > 3 * error:
        return None
    return Finding(
        "nothing_learnt",
        "problem",
        f"−ELBO is {-patient.elbo.mean():.4g} nats, and the mean image alone has {-mean_image.mean():.4g}: the model "
        "has learnt nothing about single images.",
        "first what is said above, if anything is; then more epochs or another learning rate.",
        float(better.mean()),
    )


CHECKS = (  # causes before consequences
    _mean_reduction,
    _normalised,
    _beta,
    _likelihood,
    _sigma,
    _overfitting,
    _collapse,
    _dead_units,
    _pinned,
    _prior,
    _nothing_learnt,
)
