"""A doctor for trained models: what is wrong, in plain words, with the figure behind it and what to try."""

import math

import numpy as np

from kvae import checks
from kvae.evaluation.doctor import findings
from kvae.evaluation.doctor.figures import Patient
from kvae.evaluation.doctor.findings import Finding
from kvae.evaluation.likelihood import check_data
from kvae.models import capabilities

MAX_EXAMPLES = 1000  # of each set: enough for every figure here, and quick on any data


def diagnose(model, x, y=None, x_train=None, y_train=None, seed=0):
    """Say what is wrong with a trained model, causes before consequences.

    Looked for are pixels on a wrong scale; a mean in the loss where a sum belongs, and a β far from 1; a likelihood
    that does not fit the data; over-fitting; collapse, dead units, a posterior pinned at the edge of its range; codes
    that lie elsewhere than the prior; and a model that knows no more than the mean image. The model's own stream of
    random numbers is left as it was.

    Args:
        model: a `VAE` or `CVAE`, trained.
        x: images `(n, *image_shape)` that it was not trained on. Of more than 1,000 as many are taken, by the seed.
        y: their labels, for a conditional model.
        x_train: images that it was trained on, to look for over-fitting; `None` for not looking.
        y_train: their labels.
        seed: int, of the doctor's own random numbers.

    Returns:
        List of `Finding`; of a healthy model one of severity "ok", with its figures, and perhaps notes.

    Raises:
        ValueError: if the model has no density, or images or labels do not fit it. Pixels that the likelihood cannot
            score are a finding.

    Example:

    >>> for finding in kvae.evaluation.diagnose(model, data.x_test, data.y_test, data.x_train, data.y_train):
    ...     print(finding)
    """
    capabilities.needs(model, "density")
    x, y = _some(checks.array(x, model.image_shape, "x"), y, seed)
    wrong_scale = findings.pixels(x, model.image_shape)
    try:
        model.likelihood.check(x, "x")
    except ValueError:
        if wrong_scale is None:
            raise
        return [wrong_scale]
    x, y = check_data(model, x, y)
    x_train, y_train = _some(x_train, y_train, seed)
    patient = Patient(model, x, y, x_train, y_train, seed)
    found = [wrong_scale, *(check(patient) for check in findings.CHECKS)]
    found = [finding for finding in found if finding is not None]
    ill = any(finding.severity in ("problem", "warning") for finding in found)
    return found if ill else [_healthy(patient), *found]


def _healthy(patient):
    elbo, model = patient.elbo, patient.model
    figures = [
        f"−ELBO {-elbo.mean():.2f} ± {elbo.std(ddof=1) / math.sqrt(len(elbo)):.2f} nats",
        f"KL {patient.kl.mean():.3g} nats",
        f"{patient.active} of {model.latent_dim} latent units active",
    ]
    mean_image = patient.mean_image
    if mean_image is not None:
        figures[0] += f" (the mean image: {-mean_image.mean():.2f})"
    if patient.gap is not None:
        figures.append("train − test {:.2f} ± {:.2f} nats".format(*patient.gap))
    return Finding("healthy", "ok", f"No problem found: {', '.join(figures)}.", "", -float(elbo.mean()))


def _some(x, y, seed):
    """At most `MAX_EXAMPLES` of `x`, and their labels."""
    if x is None:
        return None, None
    x = np.asarray(x)
    if y is not None:
        checks.same_length(y, len(x), "y")
    if len(x) <= MAX_EXAMPLES:
        return x, y
    rows = np.random.default_rng(seed).choice(len(x), MAX_EXAMPLES, replace=False)
    return x[rows], None if y is None else np.asarray(y)[rows]
