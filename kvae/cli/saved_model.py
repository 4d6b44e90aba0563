"""A saved model with its run's options and its data set, and the numbers and findings about it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kvae import applications, checks, evaluation
from kvae.callbacks.pca_baseline import fit_pca
from kvae.cli import build, run_folder
from kvae.cli import options as run_options
from kvae.data import DATASETS, Dataset, binarize, load_data
from kvae.data.datasets import has_image_files
from kvae.distributions.counts import Counts
from kvae.distributions.discretized_logistic import Levels
from kvae.evaluation import reference_cards
from kvae.evaluation.doctor import codebooks
from kvae.evaluation.samples import mse_of_model
from kvae.models import capabilities
from kvae.models.base import BaseModel
from kvae.types import Array, PathLike


def options_of(model_path: PathLike) -> dict[str, Any]:
    """The complete options of the run folder that holds a saved model; an empty dict outside a run folder."""
    config = Path(model_path).with_name("config.json")
    return run_options.complete(run_folder.read_options(config)) if config.is_file() else {}


def dataset_of(
    model_path: PathLike,
    name: str | None = None,
    image_size: Sequence[int] | None = None,
    channels: int | None = None,
) -> Dataset:
    """The data set for examining a saved model: `name`, or the one that its run was trained on.

    Image files are converted to `image_size` and `channels`, by default as in the run.
    """
    options = options_of(model_path)
    if name is None and not options:
        raise ValueError(f"`dataset` must be given for a model outside a run folder, one of {list(DATASETS)} or a file")
    name = name or options["dataset"]
    same = options and name == options["dataset"]
    if options and has_image_files(name):
        image_size, channels = image_size or options["image_size"], channels or options["channels"]
    convert: dict[str, Any] = {"image_size": image_size, "channels": channels}
    data = load_data(name, options["binarization"] if same else None, options["seed"] if same else 0, **convert)
    return build.with_sizes(options, data) if options else data


def test_arrays(data: Dataset, seed: int, model: BaseModel) -> tuple[Array, Array | None]:
    """Test images and conditions as arrays; dynamically binarized images are drawn once, from the seed.

    Raises:
        ValueError: if the likelihood cannot score an example, with its index in the file.
    """
    x = data.x_test
    if data.rows is not None and x.ndim < 4:  # of images, the range was checked when they were read
        whole = np.empty((len(data.x_train) + len(x), *x.shape[1:]), x.dtype)
        for rows, part in zip(data.rows, (data.x_train, x), strict=True):
            whole[rows] = part
        model.check_images(whole)
    if data.binarization == "dynamic":
        x = binarize(x, np.random.default_rng(seed))
    return x, conditions(data, model)[1]


def conditions(data: Dataset, model: BaseModel) -> tuple[Array | None, Array | None]:
    """The conditions of training and test images: a data set's labels, or `None` for a model that takes none.

    Raises:
        ValueError: if the model needs labels and the data set has none.
    """
    if not capabilities.has(model, "condition"):
        return None, None
    if data.y_train is None:
        raise ValueError(
            f"`dataset` must have labels, which this model needs: add them to the file. Received: {data.name}"
        )
    return data.y_train, data.y_test


def evaluate(
    model: BaseModel, data: Dataset, x_test: Array, y_test: Array | None, seed: int = 0, num_samples: int = 20
) -> dict[str, Any]:
    """The numbers of `metrics.json`.

    Args:
        model: a trained model.
        data: the `Dataset` that it was trained on.
        x_test: images to evaluate on.
        y_test: their conditions, or `None`.
        seed: int.
        num_samples: posterior samples per example for the ELBO.

    Returns:
        Dict of JSON values; nats per example, and mean squared errors per pixel. "notes", if any, says why a number is
        missing or low.
    """
    notes: list[str] = []
    metrics: dict[str, Any] = {
        "model": type(model).__name__,
        "dataset": data.name,
        **({} if capabilities.has(model, "energy") else {"latent_dim": model.latent_dim}),
        "test_examples": len(x_test),
    }
    if capabilities.has(model, "elbo"):
        log_likelihood, kl = model.elbo_terms(x_test, y_test, num_samples=num_samples, seed=seed)
        elbo = log_likelihood - kl
        metrics["negative_elbo"] = -float(elbo.mean())
        metrics["negative_elbo_standard_error"] = None
        if len(elbo) > 1:
            metrics["negative_elbo_standard_error"] = float(elbo.std(ddof=1) / np.sqrt(len(elbo)))
        else:
            notes.append("A standard error needs at least two test images.")
        metrics["reconstruction_loss"] = -float(log_likelihood.mean())
        metrics["kl_loss"] = float(kl.mean())
        if isinstance(model.likelihood, Levels):
            metrics["bits_per_dimension"] = float(evaluation.bits_per_dimension(elbo.mean(), model.image_shape))
    if capabilities.has(model, "networks"):
        metrics["reconstruction_mse"] = mse_of_model(model, x_test, y_test)
        metrics["pca_reconstruction_mse"] = mse_of_model(fit_pca(model.latent_dim, data.x_train), x_test)
    if capabilities.has(model, "density") and isinstance(model.likelihood, Counts):
        drawn = evaluation.draw(model, len(x_test), y_test, seed)
        for name, x in (("", x_test), ("generated_", drawn)):
            statistics = evaluation.count_statistics(x)
            metrics[f"{name}zeros"] = float(np.mean(statistics["zeros"]))
            known = statistics["dispersion"][~np.isnan(statistics["dispersion"])]  # not of columns of zeros
            metrics[f"median_{name}dispersion"] = float(np.median(known)) if len(known) else None
    if capabilities.has(model, "energy"):
        metrics |= _energies(model, data, x_test, seed)
    if capabilities.has(model, "codebook"):
        metrics["perplexity"] = float(codebooks.perplexities(model.code_usage(x_test)).mean())
    if capabilities.has(model, "adversary"):
        metrics["frechet_distance"] = _frechet_distance(model, data, x_test, seed, notes)
    if capabilities.has(model, "classifier"):
        metrics["accuracy"] = float(np.mean(model.classify(x_test).argmax(axis=1) == y_test))
    if capabilities.has(model, "classes"):
        metrics |= _agreement(model, data, seed, notes)
    if notes:
        metrics["notes"] = notes
    return metrics


def _energies(model, data, x_test, seed):
    """The mean energy of test examples, and how well it tells them from noise in the range of each pixel."""
    low, high = data.x_train.min(axis=0), data.x_train.max(axis=0)
    noise = np.random.default_rng(seed).uniform(low, high, x_test.shape).astype("float32")
    energies, others = model.energy(x_test), model.energy(noise)
    return {"energy": float(energies.mean()), "auroc_against_uniform_noise": applications.auroc(energies, others)}


def _frechet_distance(model, data, x_test, seed, notes):
    """The Fréchet distance between test images and as many generated ones, by features that tell classes apart."""
    if not data.num_classes or len(np.unique(data.y_train)) < 2 or len(x_test) < 2:
        notes.append("A Fréchet distance needs labels of at least two classes and two test images.")
        return None
    features = evaluation.Features(data.x_train, data.y_train, seed=seed)
    return evaluation.frechet_distance(features(x_test), features(model.generate(len(x_test), seed=seed)))


def _agreement(model, data, seed, notes):
    """How often a judge finds the requested label in generated images, and the right one in real images."""
    known = np.unique(data.y_train)
    unknown = [label for label in range(model.num_classes) if label not in known]
    if unknown:
        notes.append(
            f"The training images lack {_listed(unknown)}: no judge can learn to recognise them, and the images "
            "generated for them, and test images of them, count as wrong."
        )
    if len(known) < 2:
        notes.append("Label agreement needs training images of at least two classes.")
        return {"label_agreement": None, "judge_accuracy_on_real_images": None}
    judge = evaluation.LabelJudge(data.x_train, data.y_train, seed=seed)
    return {
        "label_agreement": evaluation.label_agreement(model, judge, seed=seed),
        "judge_accuracy_on_real_images": judge.agreement(data.x_test, data.y_test),
    }


def _listed(labels):
    """At most ten classes in words."""
    shown = ", ".join(map(str, labels[:10])) + (f" and {len(labels) - 10} more" if len(labels) > 10 else "")
    return f"class{'es' if len(labels) > 1 else ''} {shown}"


def add_card(metrics: dict[str, Any], options: dict[str, Any]) -> None:
    """Add the numbers' place on their reference card to `metrics`, under "card"; nothing without a card."""
    placement = reference_cards.place(metrics, options, run_options.DEFAULTS) if options else None
    if placement is not None:
        metrics["card"] = placement.summary()


def diagnose(
    model: BaseModel, data: Dataset, x_test: Array, y_test: Array | None, seed: int = 0
) -> list[evaluation.Finding]:
    """What the doctor finds in a model, as in `evaluation.diagnose`, with the data set's training images."""
    x_train = data.x_train
    if data.binarization == "dynamic":
        x_train = binarize(
            x_train, np.random.default_rng(checks.seeds(seed, 1)[0])
        )  # `test_arrays` draws from the seed
    return evaluation.diagnose(model, x_test, y_test, x_train, conditions(data, model)[0], seed)
