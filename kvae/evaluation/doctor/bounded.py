"""Network outputs that stay in a range whatever the input: a last activation that `kvae.outputs` could not read."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from kvae import outputs
from kvae.evaluation.doctor.finding import Finding
from kvae.models import VAE, conditions
from kvae.models.batches import in_batches
from kvae.outputs import Range
from kvae.types import Array

PROBES = 64
FAR = 20.0  # outputs of this magnitude are not bounded on that side
SATURATED = 0.99
OUTSIDE = 0.05  # the share of the data that a likelihood's mean may be unable to reach


def bounded(model: VAE, x: Array, y: Any, seed: int) -> list[tuple[str, Range]]:
    """The roles and ranges of all parameters whose network seems to bound them, causes before consequences.

    Each network is run on the data and on inputs of every size and sign, up to a thousand: a network that ends in a
    linear layer answers with large numbers of both signs, one that ends in a sigmoid stays in [0, 1].

    Args:
        model: a `VAE` or `CVAE`.
        x: examples `(n, *image_shape)`.
        y: their conditions, or `None`.
        seed: int.
    """
    rng = np.random.default_rng(seed)
    rows = np.arange(PROBES) % len(x)
    x, y = x[rows], conditions.take(y, rows)

    def numbers(shape):
        values = rng.choice([-1.0, 1.0], (PROBES, *shape)) * 10.0 ** rng.uniform(-2.0, 3.0, (PROBES, *shape))
        return values.astype("float32")

    def function(x, far, z, y):
        condition = model.condition(y)
        params = [model.inference(each, condition) for each in (x, far)]
        codes = (model.code(params[0]), z)
        return *params, *(model.generation(each[None], condition)[0] for each in codes)

    try:
        answers = in_batches(function, x, numbers(model.image_shape), numbers(model.latent_shape), y, batch_size=PROBES)
    except Exception:  # a network that takes no such numbers, as one that looks them up in a table
        return []
    found = []
    for role, family, values in (
        ("encoder", model.posterior_family, np.concatenate(answers[:2])),
        ("decoder", model.likelihood, np.concatenate(answers[2:])),
    ):
        if len(family.parameter_names) != family.num_parameters:
            continue
        for name, part in zip(family.parameter_names, np.split(values, family.num_parameters, axis=-1), strict=True):
            limits = _range(name, part[np.isfinite(part)])
            mean_of_data = role == "decoder" and name in ("mean", "loc")
            if limits is not None and (_cannot_reach(limits, x) if mean_of_data else outputs.cure(limits)):
                found.append((role, limits))
    return found


def _range(name, values):
    """The range to which an activation seems to confine `values`; `None` if they look unconfined."""
    if not values.size or np.ptp(values) < 1e-3:  # a constant says nothing of an activation
        return None
    low, high = float(values.min()), float(values.max())
    one_sided = (low > -outputs.LOGIT and high > FAR) or (high < outputs.LOGIT and low < -FAR)
    saturated = max(-low, high) <= 1.0 and np.mean(np.abs(values) > SATURATED) > 0.05
    return Range(name, low, high) if one_sided or saturated or low >= 0 or high <= 0 else None


def _cannot_reach(limits, x):
    slack = 0.05 * (limits.high - limits.low)
    return np.mean((x < limits.low - slack) | (x > limits.high + slack)) > OUTSIDE


def finding(found: list[tuple[str, Range]]) -> Finding | None:
    """The finding about the ranges that `bounded` returns."""
    if not found:
        return None
    said = []
    for role, limits in found:
        low, high = (float(ops.convert_to_numpy(ops.sigmoid(edge))) for edge in limits[1:3])
        means = f", means from {low:.3g} to {high:.3g}" if limits.name == "logits" else ""
        said.append(f"the {role} gives only {limits}{means}")
    role, limits = found[0]
    return Finding(
        "bounded_outputs",
        "problem",
        f"Whatever the input, {'; '.join(said)}: a last activation seems to bound them.",
        f"{outputs.cure(limits) or 'drop the last activation, or scale the data to the range of the outputs'}.",
        limits.high - limits.low,
    )
