"""The pictures of a trained model by name, for `kvae plot` and the README: what each needs, and whether it fits."""

import csv
import io
from pathlib import Path

import numpy as np

from kvae import baselines, plots
from kvae.cli import runs
from kvae.io import limits
from kvae.models import VAE, load_model

COUNT = 10  # images in a row
SCATTER_POINTS = 2000


def draw(model_path, kinds=None, dataset=None, label=None, out=None):
    """Draw pictures of a saved model.

    Args:
        model_path: a `.keras` file, in a run folder or not.
        kinds: keys of `PICTURES`, or "history"; `None` for all that fit the model.
        dataset: name or file; `None` for the run's own.
        label: int, the class of a manifold or traversal.
        out: folder; `None` for `plots/` beside the model.

    Yields:
        The path of each picture, once it is written.

    Raises:
        ValueError: if a picture that was asked for does not fit the model.
    """
    model_path = Path(model_path)
    model = load_model(model_path)
    fitting = {kind: function for kind, (function, fits) in PICTURES.items() if fits(model)}
    history = model_path.with_name("history.csv")
    if history.is_file():
        fitting["history"] = lambda *_: plots.history(read_history(history))
    for kind in kinds or fitting:
        if kind not in fitting:
            raise ValueError(f"`kind` must be one of {sorted(fitting)} for this model. Received: {kind!r}")
    data = runs.dataset_of(model_path, dataset)
    folder = Path(out) if out else model_path.with_name("plots")
    for kind in kinds or fitting:
        path = folder / f"{kind}.png"
        plots.save(fitting[kind](model, data, label), path)
        yield path


def read_history(path):
    """A run's `history.csv` as a dict from names to lists of floats.

    Raises:
        ValueError: if it is no table of numbers, or larger than `reading.HISTORY`.
    """
    try:
        text = limits.read_bytes(path, limits.HISTORY).decode()
        names, *rows = csv.reader(io.StringIO(text, newline=""), strict=True)
        columns = zip(names, zip(*rows, strict=True), strict=True)
        return {name: [float(value) for value in column] for name, column in columns if name != "epoch"}
    except (ValueError, csv.Error) as error:
        raise ValueError(
            f"`path` must be the history.csv of a run, a table of numbers. Received: {path} ({error})"
        ) from error


def samples(model, data, label):
    """New images; for a conditional model a row a label."""
    if not model.takes_labels:
        return plots.sample_grid(model.generate(64, seed=0), title="Samples from the prior")
    labels = np.repeat(np.arange(model.num_classes), COUNT) if model.num_classes else data.y_test[:64]
    return plots.sample_grid(model.generate(labels=labels, seed=0), labels, title="Samples by label")


def reconstructions(model, data, label):
    """Test images, the model's reconstructions and PCA's."""
    x, y = _test(model, data, COUNT)
    pca = baselines.PCA(model.latent_dim).fit(data.x_train)
    return plots.reconstruction_grid(
        x, model.reconstruct(x, y), {f"PCA({model.latent_dim})": pca.reconstruct(x)}, title="Reconstructions"
    )


def scatter(model, data, label):
    """Posterior means of test images, beside PCA's coordinates."""
    x, y = _test(model, data, SCATTER_POINTS)
    pca = baselines.PCA(model.latent_dim).fit(data.x_train)
    return plots.beside_pca(
        x, model.reconstruct(x, y), pca.reconstruct(x), model.encode(x, y), pca.encode(x), _classes(data, len(x))
    )


def manifold(model, data, label):
    """The decoded plane of a two-dimensional latent space."""
    return plots.latent_manifold(model, label=_condition(model, data, label))


def traversal(model, data, label):
    """One latent dimension a row."""
    return plots.traversal(model, y=_condition(model, data, label))


def interpolation(model, data, label):
    """The way from the first test image to the next one of another label."""
    x, y = _test(model, data, 100)
    end = 1 if data.y_test is None else int(np.argmax(np.any(np.c_[data.y_test[:100] != data.y_test[0]], axis=1)))
    ends = (None, None) if y is None else (y[0], y[end])
    return plots.interpolation(model, x[0], x[end], *ends)


def style(model, data, label):
    """One style a row, one label a column."""
    return plots.style_by_digit(model)


def transfer(model, data, label):
    """The style of test images under every label."""
    return plots.style_transfer(model, *_test(model, data, 8))


def _always(model):
    return True


def _has_prior(model):
    return isinstance(model, VAE)


def _has_classes(model):
    return model.takes_labels and model.num_classes is not None


PICTURES = {
    "samples": (samples, _has_prior),
    "reconstructions": (reconstructions, _always),
    "scatter": (scatter, _always),
    "manifold": (manifold, lambda model: _has_prior(model) and model.latent_dim == 2),
    "traversal": (traversal, _always),
    "interpolation": (interpolation, _always),
    "style": (style, _has_classes),
    "transfer": (transfer, _has_classes),
}


def _test(model, data, count):
    return data.x_test[:count], data.y_test[:count] if model.takes_labels else None


def _condition(model, data, label):
    """What to decode under: the class asked for, or the first test image's attributes where there are no classes."""
    return data.y_test[0] if label is None and model.takes_labels and model.num_classes is None else label


def _classes(data, count):
    return data.y_test[:count] if data.num_classes else None
