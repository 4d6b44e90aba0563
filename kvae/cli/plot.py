"""`kvae plot`: the pictures of a saved model by name, and what a model must be able to do for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from kvae import checks, evaluation, plots
from kvae.callbacks.logs import read_history
from kvae.callbacks.pca_baseline import fit_pca
from kvae.cli import saved_model
from kvae.data import Dataset
from kvae.distributions import Mixed
from kvae.evaluation.latent_usage import factorises
from kvae.models import capabilities, load_model
from kvae.models.base import BaseModel
from kvae.plots.canvas import some_classes
from kvae.plots.examples import grids_of
from kvae.types import PathLike

COUNT = 10  # images in a row
SCATTER_POINTS = 2000
KL_EXAMPLES = 1000


def draw(
    model_path: PathLike,
    kinds: Iterable[str] | None = None,
    dataset: str | None = None,
    label: int | None = None,
    out: PathLike | None = None,
    image_size: Sequence[int] | None = None,
    channels: int | None = None,
) -> Iterator[Path]:
    """Draw pictures of a saved model.

    Args:
        model_path: a `.keras` file, in a run folder or not.
        kinds: keys of `PICTURES`, or "history"; `None` for all that fit the model.
        dataset: name or file; `None` for the run's own.
        label: int, the class of a manifold or traversal.
        out: folder; `None` for `plots/` next to the model.
        image_size: `(height, width)` to which image files are resized; `None` for the run's.
        channels: 1 or 3, to which they are converted; `None` for the run's.

    Yields:
        The path of each picture, once it is written.

    Raises:
        ValueError: if a requested picture does not fit the model.
    """
    model_path = Path(model_path)
    model = load_model(model_path)
    fitting: dict[str, Callable[..., Figure]] = {
        kind: function
        for kind, (function, needs) in PICTURES.items()
        if all(capabilities.has(model, each) for each in needs)
    }
    if capabilities.has(model, "energy"):  # it has no codes
        fitting = {"samples": samples}
    elif model.latent_dim != 2:
        fitting.pop("manifold", None)
    if len(model.image_shape) != 1:
        fitting.pop("histograms", None)
    if capabilities.has(model, "codebook"):  # there is nothing between two codes
        for kind in ("scatter", "traversal", "interpolation", "manifold"):
            fitting.pop(kind, None)
    history = model_path.with_name("history.csv")
    if history.is_file():
        fitting["history"] = lambda *_: plots.history(read_history(history))
    for kind in kinds or fitting:
        if kind not in fitting:
            raise ValueError(f"`kind` must be one of {sorted(fitting)} for this model. Received: {kind!r}")
    if label is not None:
        if not _by_class(model):
            raise ValueError(
                "`label` must be left out: this model has no class labels"
                + ("; pictures are drawn for the first test image's attributes" if _conditional(model) else "")
                + f". Received: {label}"
            )
        checks.class_labels([label], model.num_classes, name="label")
    data = saved_model.dataset_of(model_path, dataset, image_size, channels)
    saved_model.conditions(data, model)  # a data set without the labels that the model needs draws nothing
    folder = Path(out) if out else model_path.with_name("plots")
    for kind in kinds or fitting:
        path = folder / f"{kind}.png"
        plots.save(fitting[kind](model, data, label), path)
        yield path


def samples(model: Any, data: Dataset, label: int | None) -> Figure:
    """New images; for a conditional model one row per label."""
    draw = grids_of(model.image_shape).samples
    if not _conditional(model):
        source = "the prior" if capabilities.has(model, "prior") else "the energy"
        return draw(model.generate(64, seed=0), title=f"Samples from {source}")
    labels, title = _test(model, data, 64)[1], "Samples under the conditions of test data"
    if _by_class(model):
        labels, title = np.repeat(some_classes(np.arange(model.num_classes)), COUNT), "Samples by label"
    images = model.generate(labels=labels, seed=0)
    return draw(images, labels, title, data.class_names)


def reconstructions(model: BaseModel, data: Dataset, label: int | None) -> Figure:
    """Test images, the model's reconstructions and PCA's."""
    x, y = _test(model, data, COUNT)
    pca = fit_pca(model.latent_dim, data.x_train)
    return grids_of(model.image_shape).reconstructions(
        x, model.reconstruct(x, y), {f"PCA({pca.latent_dim})": pca.reconstruct(x)}, title="Reconstructions"
    )


def scatter(model: BaseModel, data: Dataset, label: int | None) -> Figure:
    """Posterior means of test images, beside PCA's coordinates."""
    x, y = _test(model, data, SCATTER_POINTS)
    pca = fit_pca(model.latent_dim, data.x_train)
    return grids_of(model.image_shape).beside_pca(
        x,
        model.reconstruct(x, y),
        pca.reconstruct(x),
        model.encode(x, y),
        pca.encode(x),
        _classes(data, len(x)),
        class_names=data.class_names,
    )


def manifold(model: BaseModel, data: Dataset, label: int | None) -> Figure:
    """The decoded plane of a two-dimensional latent space."""
    return plots.latent_manifold(model, label=_condition(model, data, label))


def traversal(model: BaseModel, data: Dataset, label: int | None) -> Figure:
    """One row per latent dimension, the one with the largest KL first, where there is a KL per dimension."""
    has_kl = capabilities.has(model, "density") and factorises(model)
    kl = evaluation.kl_per_dimension(model, *_test(model, data, KL_EXAMPLES)) if has_kl else None
    return plots.traversal(model, y=_condition(model, data, label), kl=kl)


def interpolation(model: BaseModel, data: Dataset, label: int | None) -> Figure:
    """From the first test image to the next one of another label."""
    x, y = _test(model, data, 100)
    end = 1 if data.y_test is None else int(np.argmax(np.any(np.c_[data.y_test[:100] != data.y_test[0]], axis=1)))
    ends = (None, None) if y is None else (y[0], y[end])
    return plots.interpolation(model, x[0], x[end], *ends)


def style(model: BaseModel, data: Dataset, label: int | None) -> Figure:
    """One row per style, one column per label."""
    return plots.style_by_digit(model, class_names=data.class_names)


def transfer(model: BaseModel, data: Dataset, label: int | None) -> Figure:
    """The style of test images under every label."""
    x, y = _test(model, data, 8)
    example = "image" if len(model.image_shape) == 3 else "example"
    title = f"Style of the real {example} with every label"
    return plots.style_transfer(model, x, y, title, data.class_names)


def histograms(model: Any, data: Dataset, label: int | None) -> Figure:
    """Each feature of the test data, or column of several kinds, beside that of as many samples, for tables."""
    x, y = _test(model, data, SCATTER_POINTS)
    if capabilities.has(model, "density"):
        samples = evaluation.draw(model, len(x), y, seed=0)
    else:  # means
        samples = model.generate(len(x), seed=0) if y is None else model.generate(labels=y, seed=0)
    likelihood = getattr(model, "likelihood", None)
    family = getattr(likelihood, "family", likelihood)  # of an `Observed`
    if isinstance(family, Mixed):
        return plots.column_histograms(family.cells(x), family.cells(samples), "Columns of test data and samples")
    return plots.feature_histograms(x, samples, title="Features of test data and samples")


PICTURES: dict[str, tuple[Callable[..., Figure], tuple[str, ...]]] = {  # and the capabilities that each needs
    "samples": (samples, ("prior",)),
    "reconstructions": (reconstructions, ("networks",)),
    "scatter": (scatter, ("networks",)),
    "manifold": (manifold, ("prior",)),
    "traversal": (traversal, ()),
    "interpolation": (interpolation, ("networks",)),
    "style": (style, ("classes",)),
    "transfer": (transfer, ("classes",)),
    "histograms": (histograms, ("prior",)),
}


def _conditional(model):
    return capabilities.has(model, "condition")


def _by_class(model):
    return capabilities.has(model, "classes")


def _test(model, data, count):
    return data.x_test[:count], data.y_test[:count] if _conditional(model) else None


def _condition(model, data, label):
    """The condition to decode under: the requested class, or the first test image's attributes without classes."""
    attributes = label is None and _conditional(model) and not _by_class(model)
    return data.y_test[0] if attributes else label


def _classes(data, count):
    return data.y_test[:count] if data.num_classes else None
