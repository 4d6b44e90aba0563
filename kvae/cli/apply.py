"""`kvae apply`: an application of a saved model to a data set's test images, as a picture and numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kvae import applications, checks, evaluation, plots
from kvae.callbacks.pca_baseline import fit_pca
from kvae.cli import saved_model
from kvae.data import Dataset
from kvae.io import atomic
from kvae.models import capabilities, load_model
from kvae.models.base import BaseModel
from kvae.types import Array, PathLike

UNITS = {"elbo": "−ELBO, nats", "importance": "−log p(x), nats", "reconstruction": "squared error", "energy": "energy"}
STEPS = (0.1, 0.25, 0.5, 1.0, 2.0)  # of compression, against the codes' standard deviation


def run_task(
    task: str,
    model_path: PathLike,
    dataset: str | None = None,
    count: int = 100,
    method: str | None = None,
    sigma: float = 0.5,
    factor: int = 2,
    strange: str | None = None,
    seed: int = 0,
    out: PathLike | None = None,
    image_size: Sequence[int] | None = None,
    channels: int | None = None,
) -> tuple[dict[str, float], list[Path]]:
    """Apply a saved model to the first test images and draw the result.

    Args:
        task: key of `TASKS`.
        model_path: a `.keras` file, in a run folder or not.
        dataset: name or file; `None` for the run's own.
        count: int, how many test images.
        method: of the application; `None` for the best that the model supports.
        sigma: standard deviation of the noise that is added and removed.
        factor: int, of super-resolution.
        strange: name or file of the anomalous data; `None` for the same images upside down.
        seed: int.
        out: the picture to write; `None` for one next to the model.
        image_size: `(height, width)` to which image files are resized; `None` for the run's.
        channels: 1 or 3, to which they are converted; `None` for the run's.

    Returns:
        Tuple of a dict of floats, and the files that were written.

    Raises:
        ValueError: if the model, the data and the options do not fit together.
        OSError: if the picture cannot be written.
    """
    model_path = Path(model_path)
    model = load_model(model_path)
    convert = image_size, channels
    data = saved_model.dataset_of(model_path, dataset, *convert)
    other = None if strange is None else saved_model.dataset_of(model_path, strange, *convert)
    count = checks.positive_integer(count, "count")
    x, y = saved_model.test_arrays(data, seed, model)
    job = Job(model, data, x[:count], None if y is None else y[:count], method, sigma, factor, other, seed)
    figure, numbers, *file = TASKS[task](job)
    paths = [plots.save(figure, out or model_path.with_name(f"{task}.png"))]
    for content in file:
        paths.append(paths[0].with_suffix(".kvae"))
        with atomic.replacing(paths[1]) as aside:
            aside.write_bytes(content)
    return numbers, paths


class Job(NamedTuple):
    """What a task may need: a model, its data, the test images and labels to work on, and the options of `apply`."""

    model: BaseModel
    data: Dataset
    x: Array
    y: Array | None
    method: str | None
    sigma: float
    factor: int
    strange: Dataset | None
    seed: int

    def restoring(self) -> dict[str, Any]:
        """The arguments that denoising, inpainting and super-resolution share."""
        method = self.method or ("metropolis" if capabilities.has(self.model, "density") else "optimise")
        return {"y": self.y, "method": method, "seed": self.seed}


def _anomaly(job):
    best = {"density": "elbo", "energy": "energy"}  # by what a model has
    method = job.method or next((best[each] for each in best if capabilities.has(job.model, each)), "reconstruction")
    ours, name, other = "test images", "upside down", job.x[:, ::-1]
    if job.x.ndim < 4:
        ours, name = "test examples", "reversed"
    if job.strange is not None:
        name, other = job.strange.name, job.strange.x_test[: len(job.x)]
    y = None if job.y is None else job.y[: len(other)]
    scores = applications.anomaly_score(job.model, job.x, job.y, method, seed=job.seed)
    other_scores = applications.anomaly_score(job.model, other, y, method, seed=job.seed)
    numbers = {
        "auroc": applications.auroc(scores, other_scores),
        "median score": float(np.median(scores)),
        f"median score, {name}": float(np.median(other_scores)),
    }
    return plots.anomalies(job.x, scores, other_scores, (ours, name), unit=UNITS[method]), numbers


def _denoise(job):
    rng = np.random.default_rng(checks.seeds(job.seed, 1)[0])  # `job.x` may be binarized by the seed itself
    noisy = job.x + job.sigma * rng.standard_normal(job.x.shape)
    samples = applications.denoise(job.model, noisy, job.sigma, **job.restoring())
    if job.x.ndim == 4:
        numbers = {
            "PSNR of noisy images, dB": _psnr(job.x, noisy),
            "PSNR of the estimate, dB": _psnr(job.x, samples.mean(0)),
        }
    else:  # without a peak
        numbers = {
            "MSE of noisy examples": evaluation.reconstruction_mse(job.x, noisy),
            "MSE of the estimate": evaluation.reconstruction_mse(job.x, samples.mean(0)),
        }
    return plots.denoising(job.x, noisy, samples, title=f"Removing noise of σ = {job.sigma:g}"), numbers


def _inpaint(job):
    mask = np.ones(job.model.image_shape, bool)
    mask[len(mask) // 2 :] = False
    samples = applications.inpaint(job.model, job.x, mask, **job.restoring())
    mean, spread = samples.mean(axis=0), samples.std(axis=0)
    half = "lower half" if job.x.ndim == 4 else "second half"
    numbers = {
        f"MSE in the {half}": evaluation.reconstruction_mse(job.x[:, ~mask], mean[:, ~mask]),
        f"spread in the {half}": float(spread[:, ~mask].mean()),
    }
    return plots.inpainting(job.x, mask, samples, title=f"Filling in the {half}"), numbers


def _super_resolve(job):
    small = applications.downsample(job.x, job.factor)
    samples = applications.super_resolve(job.model, small, job.factor, **job.restoring())
    repeated = np.kron(small, np.ones((1, job.factor, job.factor, 1)))
    numbers = {
        "PSNR of repeated pixels, dB": _psnr(job.x, repeated),
        "PSNR of the estimate, dB": _psnr(job.x, samples.mean(axis=0)),
    }
    return plots.super_resolution(job.x, small, samples, title=f"Super-resolution by {job.factor}"), numbers


def _compress(job):
    capabilities.needs_continuous_codes(job.model)
    name = type(job.model).__name__
    pca = fit_pca(job.model.latent_dim, job.data.x_train)
    curves = {}
    coders: list[tuple[Any, str, Any]] = [(job.model, name, job.y), (pca, "PCA", None)]
    for coder, label, y in coders:
        deviation = (coder.encode(job.x) if y is None else coder.encode(job.x, y)).std()
        curves[label] = applications.rate_distortion(coder, job.x, deviation * np.array(STEPS), y)
    curve, middle = curves[name], len(STEPS) // 2
    file = applications.compress(job.model, job.x, curve["step"][middle], job.y)
    png = applications.png_rate(job.x) if job.x.ndim == 4 else None
    examples, unit = ("images", "pixel") if job.x.ndim == 4 else ("examples", "value")
    numbers = {
        examples: len(job.x),
        "bytes": len(file),
        "step of the codes": float(curve["step"][middle]),
        f"bits per {unit}": float(curve["rate"][middle]),
        "MSE": float(curve["mse"][middle]),
    }
    if png is not None:
        numbers["bits per pixel as PNG"] = png
    title = f"Rate and distortion, {job.model.latent_dim} latent dimensions"
    return plots.rate_distortion(curves, png, title), numbers, file


def _psnr(x, estimate):
    return float(applications.psnr(x, estimate).mean())


TASKS = {
    "anomaly": _anomaly,
    "denoise": _denoise,
    "inpaint": _inpaint,
    "super-resolve": _super_resolve,
    "compress": _compress,
}
