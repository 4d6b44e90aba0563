"""From the options of a run to its data, its model and its optimizer."""

from __future__ import annotations

from typing import Any, Literal

import keras
import numpy as np

from kvae import bounds, networks
from kvae.cli.options import DEFAULTS
from kvae.corruption import Gaussian
from kvae.data import Dataset
from kvae.distributions import Distribution, Normal
from kvae.models import CVAE, VAE, Autoencoder
from kvae.models.base import BaseModel


def bound(options: dict[str, Any]) -> bounds.Bound:
    """The `Bound` that `options` describe."""
    kind = type(bounds.get(options["bound"]))
    given = {name: options[name] for name in ("alpha", "free_bits") if options[name] != DEFAULTS[name]}
    return kind(gradient=options["gradient"], **given)


def likelihood(options: dict[str, Any]) -> str | Distribution:
    """The likelihood that `options` describe: a name, or a Gaussian with the requested σ."""
    if options["sigma"] is None:
        return options["likelihood"]
    return Normal(sigma=None if options["sigma"] == "per_pixel" else options["sigma"])


def build(options: dict[str, Any], data: Dataset) -> BaseModel:
    """The untrained model that `options` describe, for a data set."""
    kind, family, width = options["model"], likelihood(options), None
    if kind == "cvae":
        if data.y_train is None:
            raise ValueError(f"A cvae needs labels: use --model vae, or add them to the file. Received: {data.name}")
        if data.num_classes and len(np.unique(data.y_train)) < 2:
            raise ValueError(f"A cvae needs at least two classes: use --model vae. Received: {data.name}, with one")
        width = data.num_classes or data.y_train.shape[1]
    hidden: dict[str, Any] = {"hidden": tuple(options["hidden"])} if options["hidden"] else {}
    pair = networks.NETWORKS[options["network"]](
        data.image_shape,
        options["latent_dim"],
        num_classes=width,
        posterior=None if kind == "autoencoder" else options["posterior"],
        likelihood=family,
        **hidden,
    )
    if kind == "autoencoder":
        noise = Gaussian(options["noise"]) if options["noise"] else None
        loss: Literal["mse", "cross_entropy"] = "mse" if family == "gaussian" else "cross_entropy"
        return Autoencoder(*pair, loss=loss, noise=noise, seed=options["seed"])
    variational = {name: options[name] for name in ("posterior", "prior", "beta", "num_samples", "seed")}
    variational |= {"likelihood": family, "bound": bound(options)}
    if kind == "cvae":
        return CVAE(*pair, num_classes=data.num_classes, **variational)
    return VAE(*pair, **variational)


def optimizer(options: dict[str, Any], num_steps: int) -> keras.optimizers.Optimizer:
    """Adam, whose learning rate falls to zero along a cosine in `num_steps` steps."""
    return keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(options["learning_rate"], num_steps))
