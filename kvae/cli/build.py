"""From the options of a run to its data, its model and its optimizer."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import keras
import numpy as np

from kvae import bounds, flows, networks
from kvae.cli.options import DEFAULTS, FEW_LABELS
from kvae.corruption import Gaussian
from kvae.data import Dataset, few_labels
from kvae.distributions import Distribution, Normal
from kvae.models import (
    CVAE,
    GAN,
    VAE,
    VAEGAN,
    VQVAE,
    AdversarialAutoencoder,
    Autoencoder,
    AuxiliaryVAE,
    HierarchicalVAE,
    IntroVAE,
    SemiSupervisedVAE,
)
from kvae.models.base import BaseModel


def bound(options: dict[str, Any]) -> bounds.Bound:
    """The `Bound` that `options` describe."""
    kind = type(bounds.get(options["bound"]))
    given = {name: options[name] for name in ("alpha", "free_bits") if options[name] != DEFAULTS[name]}
    if kind is bounds.ELBO and options["gradient"] == "sticking_the_landing":
        given["kl"] = "monte_carlo"  # in closed form there is no score to leave out
    return kind(gradient=options["gradient"], **given)


def likelihood(options: dict[str, Any]) -> str | Distribution:
    """The likelihood that `options` describe: a name, or a Gaussian with the requested σ."""
    if options["sigma"] is None:
        return options["likelihood"]
    return Normal(sigma=None if options["sigma"] == "per_pixel" else options["sigma"])


def with_flows(options: dict[str, Any]) -> dict[str, Any]:
    """The options with flows in the place of their names."""
    options = dict(options)
    if options["posterior"] in flows.FLOWS:
        options["posterior"] = flows.Posterior(options["posterior"], context=1)
    if options["prior"] == "flow":
        options["prior"] = flows.Prior()
    return options


def build(options: dict[str, Any], data: Dataset) -> BaseModel:
    """The untrained model that `options` describe, for a data set."""
    options = with_flows(options)
    kind, family = options["model"], likelihood(options)
    width: Any = None
    if kind in ("cvae", *FEW_LABELS):
        if data.y_train is None:
            raise ValueError(f"A {kind} needs labels: use --model vae, or add them to the file. Received: {data.name}")
        if data.num_classes and len(np.unique(data.y_train)) < 2:
            raise ValueError(f"A {kind} needs at least two classes: use --model vae. Received: {data.name}, with one")
        if kind in FEW_LABELS and not data.num_classes:
            raise ValueError(f"A {kind} model needs class labels: use --model cvae. Received: {data.name}")
        width = None if options["size_factor"] else data.num_classes or data.y_train.shape[1]
    hidden: dict[str, Any] = {"hidden": tuple(options["hidden"])} if options["hidden"] else {}
    if kind == "vqvae":
        given: dict[str, Any] = {name: options[name] for name in ("num_codes", "num_quantizers", "codebook", "seed")}
        encoder, decoder = _vector_pair(options, data, family, hidden)
        return VQVAE(encoder, decoder, likelihood=family, **given)
    if kind == "hierarchical":
        given = {name: options[name] for name in ("beta", "num_samples", "seed")}
        encoder, decoder = _hierarchy(options, data, family, hidden)
        return HierarchicalVAE(encoder, decoder, likelihood=family, bound=bound(options), **given)
    sized: dict[str, Any] = {"size_factor": True} if options["size_factor"] else {}
    pair = networks.NETWORKS[options["network"]](
        data.image_shape,
        options["latent_dim"],
        num_classes=width,
        posterior=None if kind.endswith("autoencoder") else options["posterior"],
        likelihood=family,
        **hidden,
        **sized,
    )
    seed = options["seed"]
    if kind.endswith("autoencoder"):
        noise = Gaussian(options["noise"]) if options["noise"] else None
        loss: Literal["mse", "cross_entropy"] = "mse" if family == "gaussian" else "cross_entropy"
        if kind == "autoencoder":
            return Autoencoder(*pair, loss=loss, noise=noise, seed=seed)
        judge = networks.discriminator(tuple(pair[1].inputs[0].shape[1:]), **_dense(options))
        return AdversarialAutoencoder(*pair, judge, loss=loss, noise=noise, seed=seed)
    if kind in ("gan", "vaegan"):
        judge = networks.discriminator(data.image_shape, network=options["network"], **hidden)
        if kind == "gan":
            return GAN(pair[1], judge, likelihood=family, seed=seed)
        given = {name: options[name] for name in ("gamma", "beta", "posterior", "seed")}
        return VAEGAN(*pair, judge, likelihood=family, **given)
    if kind == "introvae":
        given = {name: options[name] for name in ("posterior", "beta", "seed")} | {"likelihood": family}
        if options["margin"] is not None:
            given |= {"margin": options["margin"], "soft": False}
        return IntroVAE(*pair, **given)
    variational = {name: options[name] for name in ("posterior", "prior", "beta", "num_samples", "seed")}
    variational |= {"likelihood": family, "bound": bound(options)}
    if kind == "cvae":
        return CVAE(*pair, num_classes=data.num_classes, **variational)
    if kind == "auxiliary":
        given = {"posterior": options["posterior"], "likelihood": family, **hidden}
        five = networks.auxiliary(data.image_shape, options["latent_dim"], width, **given)
        return AuxiliaryVAE(*five, num_classes=width, alpha=options["label_weight"], **variational)
    if kind == "semisupervised":
        judge = networks.classifier(data.image_shape, width, network=options["network"], **hidden)
        return SemiSupervisedVAE(*pair, judge, num_classes=width, alpha=options["label_weight"], **variational)
    return VAE(*pair, **variational)


def for_training(options: dict[str, Any], data: Dataset) -> Dataset:
    """The data as the model that `options` describe may see it: most labels are hidden from some."""
    if options["model"] not in FEW_LABELS:
        return data
    y = few_labels(np.asarray(data.y_train), options["labels_per_class"], options["seed"])
    return dataclasses.replace(data, y_train=y)


def with_sizes(options: dict[str, Any], data: Dataset) -> Dataset:
    """The data with the logarithm of each example's size as its condition, if `options` ask for a `size_factor`.

    The mean of an example's counts is a size that does not depend on other examples, so that it is the same in training
    and in `kvae evaluate --dataset`.

    Raises:
        ValueError: if an example has no count above 0, or the sizes in the file are not of shape (n, 1).
    """
    if options["size_factor"] is None:
        return data
    sizes: list[Any] = [data.y_train, data.y_test]
    if options["size_factor"] == "mean":
        parts = data.x_train, data.x_test
        means = [x.reshape(len(x), -1).mean(axis=1, keepdims=True) for x in parts]
        rows = data.rows or [np.arange(len(x)) for x in parts]
        empty = sorted(row for mean, own in zip(means, rows, strict=True) for row in own[mean[:, 0] <= 0])
        if empty:
            raise ValueError(
                "`size_factor` mean requires counts, at least one of them above 0 in each example: drop examples "
                f"without any. Received: {len(empty)} of {sum(map(len, parts))} without, the first at index {empty[0]}"
            )
        sizes = [np.log(mean) for mean in means]
    elif data.y_train is None or data.y_train.shape[1:] != (1,):
        received = "none" if data.y_train is None else f"shape {data.y_train.shape} (integers are one-hot encoded)"
        raise ValueError(
            "`size_factor` attributes requires the array attributes in the file, floats of shape (n, 1): the logarithm "
            f"of each example's size. Received: {received}"
        )
    return dataclasses.replace(data, y_train=sizes[0], y_test=sizes[1], num_classes=None, class_names=None)


def _hierarchy(options, data, family, hidden):
    """The networks of a hierarchy, of whose sizes each kind has its own."""
    sizes: dict[str, Any]
    if options["network"] == "ladder":
        sizes = {"latent_dims": tuple(options["latent_dims"])} if options["latent_dims"] else {}
        return networks.ladder(data.image_shape, likelihood=family, **sizes, **hidden)
    sizes = {"latent_dim": options["latent_dim"]}
    if options["num_blocks"]:
        first, *others = options["num_blocks"]
        sizes["num_blocks"] = (first, *others) if others else first
    return networks.top_down(data.image_shape, likelihood=family, **sizes, **hidden)


def _vector_pair(options, data, family, hidden):
    """The networks of a model with a codebook: a grid of vectors from convolutions, a row of them otherwise."""
    size = options["latent_dim"]
    if options["network"] == "conv":
        return networks.grid(data.image_shape, size, likelihood=family, **hidden)
    places = (options["num_vectors"], size)
    return networks.mlp(data.image_shape, places, posterior=None, likelihood=family, **hidden)


def _dense(options):
    """The hidden layers of a discriminator of codes, which is dense beside convolutions as well."""
    return {"hidden": tuple(options["hidden"])} if options["hidden"] and options["network"] == "mlp" else {}


def optimizers(options: dict[str, Any], model: BaseModel, num_steps: int) -> dict[str, keras.optimizers.Optimizer]:
    """The optimizers that `compile` takes, by argument: Adam, whose learning rate falls to zero along a cosine.

    Args:
        options: complete options.
        model: a `BaseModel`, whose networks may have optimizers of their own.
        num_steps: steps after which the rate is zero.
    """
    # DCGAN's momentum: that of the default, 0.9, makes adversaries oscillate.
    given = {"beta_1": 0.5} if model.optimizer_groups else {}

    def adam(rate):
        return keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, num_steps), **given)

    own = options["adversary_learning_rate"] or options["learning_rate"]
    return {"optimizer": adam(options["learning_rate"])} | {
        f"{name}_optimizer": adam(own) for name in model.optimizer_groups
    }
