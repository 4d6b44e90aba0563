"""A training run as a folder: `config.json`, `history.csv`, `model.keras`, `metrics.json` and pictures.

`train` shows the order: read the options, build, fit, evaluate, write. Options are a plain dict, so that a run can be
repeated from its `config.json`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from kvae import callbacks, priors
from kvae.callbacks import checkpoint as checkpoints
from kvae.cli import backends, build, interruptions, printing, run_folder, saved_model
from kvae.cli.options import complete
from kvae.data import Dataset, load_data
from kvae.io import FileError, atomic
from kvae.models import capabilities
from kvae.models.base import BaseModel
from kvae.training import fit_on_arrays, strategy
from kvae.training.orders import Order
from kvae.types import Array, PathLike


@dataclasses.dataclass(frozen=True)
class Run:
    """A run that is ready to be fitted.

    Attributes:
        options: complete options.
        out: folder of the run.
        writes: whether this process writes to the folder: it is the only one, or the first of several workers.
        data: data set.
        model: compiled model.
        x_test: test images.
        y_test: their conditions, or `None`.
        order: which training examples an epoch takes.
        steps: number of batches per epoch.
        checkpoint: callback that saves the state of training, and resumes from it.
    """

    options: dict[str, Any]
    out: Path
    writes: bool
    data: Dataset
    model: BaseModel
    x_test: Array
    y_test: Array | None
    order: Order
    steps: int
    checkpoint: callbacks.Checkpoint


def train(
    options: dict[str, Any],
    out: PathLike,
    force: bool = False,
    resume: bool = False,
    verbose: bool = True,
    devices: str = "none",
) -> tuple[dict[str, Any], bool]:
    """Train a model and write its run folder.

    The learning rate falls to zero along a cosine. An interruption (Ctrl-C, SIGTERM) ends training early and keeps its
    result; so does a loss that is NaN or infinite, with the weights of the last good epoch. A run that was interrupted
    in any way resumes after its last finished epoch and ends with the same numbers, to the bit. Of several workers only
    the first writes; all must have the same options, and the same data, whose paths may differ.

    Args:
        options: dict with keys of `options.DEFAULTS`; missing ones take their defaults. Ignored with `resume`.
        out: folder to write, created once data and model are known to be good.
        force: whether to replace a run that is there.
        resume: whether to resume the run in `out`, with its own options.
        verbose: whether to show progress.
        devices: what to train on, a name of `strategy.scope`.

    Returns:
        Tuple of the content of `metrics.json`, empty on a worker that is not the first, and whether training was
        interrupted.

    Raises:
        ValueError: for options that are unknown or do not fit together, if training fails in its first epoch, if there
            is nothing to resume, and if options or data of several workers differ.
        FileError: if `out` already contains something, cannot be written to, or is being written by another process.
        ConnectionError: if another worker is lost.
        KeyboardInterrupt: for an interruption before the first epoch is complete, which leaves nothing behind, or
            while the trained model is evaluated.
    """
    start, out = time.perf_counter(), Path(out)
    options = read(options, out, force, resume, devices)
    with interruptions.remembered(), _how_to_resume(out, devices), contextlib.ExitStack() as folder:
        with strategy.scope(devices) as fitting:
            run = prepare(options, out, resume, devices, folder)
        if verbose and not resume and devices == "none" and (backend := backends.faster(run)):
            print(f"Faster for this network: kvae train … --backend {backend}, at least 1.5 times on two CPU cores.")
        begin = time.perf_counter()
        with fitting:
            stopped, interrupted = fit(run, verbose)
        if not run.writes:
            return {}, interrupted
        if options["fit_prior"] and not interrupted:
            run = with_fitted_prior(run)
        seconds = time.perf_counter() - begin
        left = f"interrupted in the evaluation of the trained model: finish it with: {how_to_resume(out, devices)}"
        with interruptions.remembered(left), interruptions.stoppable_at_once(f"kvae train: {left}"):
            with atomic.replacing(out / "model.keras") as aside:
                run.model.save(aside)
            metrics = evaluate(run, stopped, interrupted, verbose)
            metrics["training_seconds"] = round(seconds, 1)
            metrics["total_seconds"] = round(time.perf_counter() - start, 1)
            run_folder.write_json(out / "metrics.json", metrics)
        if not interrupted:
            run.checkpoint.path.unlink(missing_ok=True)
    return metrics, interrupted


def read(options: dict[str, Any], out: Path, force: bool, resume: bool, devices: str) -> dict[str, Any]:
    """The complete options of a run, once its folder is known to be free or, with `resume`, to be resumable."""
    if strategy.is_chief(devices):
        if resume:
            options = run_folder.options_to_resume(out, keras.backend.backend())
        else:
            run_folder.check(out, force)
    return complete(options)


def shared_options(options: dict[str, Any], resume: bool) -> dict[str, Any]:
    """The first worker's options, with this one's path of the data set.

    Raises:
        ValueError: if a worker was given others than the first one; with `resume`, they are in the first one's folder.
    """
    firsts: dict[str, Any] = json.loads(strategy.from_chief(json.dumps(options).encode()))
    own = firsts if resume else {**options, "dataset": str(options["dataset"])}
    strategy.check_same(
        {name: value for name, value in own.items() if name != "dataset"}, "options: start all with the same command"
    )
    return {**firsts, "dataset": own["dataset"]}


def prepare(options: dict[str, Any], out: Path, resume: bool, devices: str, folder: contextlib.ExitStack) -> Run:
    """Load the data, build and compile the model, and only then enter the run's folder, until `folder` is closed."""
    options = shared_options(options, resume)
    data = load_data(*(options[name] for name in ("dataset", "binarization", "seed", "image_size", "channels")))
    data = build.with_sizes(options, data)
    strategy.check_same(run_folder.describe(data), "data set: copy that of the first one")
    keras.utils.set_random_seed(options["seed"])
    model = build.build(options, data)
    x_test, y_test = saved_model.test_arrays(data, options["seed"], model)
    model.check_images(x_test, "x_test")  # a likelihood that cannot score them, before there is a folder
    order = model.epoch_order(len(data.x_train), build.for_training(options, data).y_train, options["batch_size"])
    steps = -(-order.length // options["batch_size"])
    model.compile(**build.optimizers(options, model, options["epochs"] * steps))
    writes = strategy.is_chief(devices)
    if writes:
        folder.enter_context(run_folder.claimed(out, options, resume, data, devices))
    checkpoint = callbacks.Checkpoint(out / run_folder.CHECKPOINT)
    return Run(options, out, writes, data, model, x_test, y_test, order, steps, checkpoint)


def fit(run: Run, verbose: bool) -> tuple[callbacks.StopOnNaN, bool]:
    """Train, from the checkpoint if there is one: the callback that stops on NaN, and whether it was interrupted."""
    options, model = run.options, run.model
    if keras.backend.backend() == "tensorflow" and not strategy.is_distributed(model):
        model.take_steps(fit_on_arrays.steps_per_execution(run.steps, [], verbose=1))
    data, labels = build.for_training(options, run.data), capabilities.has(model, "condition")
    source: dict[str, Any]
    if takes_arrays(run):
        source = {"x": data.x_train, "y": data.y_train if labels else None, "batch_size": options["batch_size"]}
    else:
        given = {"batch_size": options["batch_size"], "seed": options["seed"], "first_epoch": run.checkpoint.epoch}
        source = {"x": data.batches(labels=labels, order=run.order, **given)}
    equal = len(run.x_test) // strategy.num_devices() * strategy.num_devices()
    validation = tuple(array[:equal] for array in (run.x_test, run.y_test) if array is not None)
    stop = callbacks.StopOnNaN()
    hooks = [stop, *progress(run, verbose), run.checkpoint]
    try:
        with interruptions.remembered() as check:
            # After the checkpoint, so that an interruption which a library lost keeps the whole epoch.
            hooks += [keras.callbacks.LambdaCallback(on_train_begin=lambda _: check(), on_epoch_end=lambda *_: check())]
            model.fit(**source, epochs=options["epochs"], validation_data=validation, callbacks=hooks, verbose=0)
    except KeyboardInterrupt:
        if run.writes:
            if not run.checkpoint.path.is_file():
                raise KeyboardInterrupt("interrupted before the first epoch was complete: nothing is saved") from None
            checkpoints.restore(model, run.checkpoint.path)  # not the weights of an unfinished epoch
        return stop, True
    if stop.message and not stop.good_epochs:
        run.checkpoint.path.unlink(missing_ok=True)  # of the epoch that failed, so that nothing is kept
        raise ValueError(stop.message)
    return stop, False


def takes_arrays(run: Run) -> bool:
    """Whether to feed a run with arrays, which JAX and PyTorch train on faster than on a `tf.data.Dataset`."""
    return (
        keras.backend.backend() != "tensorflow"
        and fit_on_arrays.covers(run.model, {})
        and run.data.binarization != "dynamic"  # new pixels in each epoch
        and run.options["batch_size"] <= len(run.data.x_train)
    )


def with_fitted_prior(run: Run) -> Run:
    """The run with a density of its model's codes as the prior."""
    options, data = run.options, run.data
    y = data.y_train if capabilities.has(run.model, "condition") else None
    model = priors.fit(run.model, data.x_train, options["fit_prior"], y, seed=options["seed"])
    return dataclasses.replace(run, model=model)


def progress(run: Run, verbose: bool) -> list[keras.callbacks.Callback]:
    """The callbacks between the one that stops on NaN, whose restored weights they see, and the checkpoint.

    The history is written before the checkpoint, so that it is never behind it.
    """
    hooks: list[keras.callbacks.Callback] = []
    if run.options["kl_warmup"]:
        hooks.append(callbacks.KLWarmup(run.options["kl_warmup"]))
    if run.writes:
        hooks += [*pictures(run), callbacks.HistoryFile(run.out / "history.csv")]
        hooks += [callbacks.Progress()] if verbose else []
    return hooks


def evaluate(run: Run, stopped: callbacks.StopOnNaN, interrupted: bool, verbose: bool) -> dict[str, Any]:
    """The numbers of the trained model, compared with their reference card if training was completed."""
    with printing.busy(f"evaluating on {len(run.x_test):,} test images") if verbose else contextlib.nullcontext():
        metrics = saved_model.evaluate(run.model, run.data, run.x_test, run.y_test, seed=run.options["seed"])
    if stopped.message:
        metrics["stopped_in_epoch"] = stopped.stopped_epoch
    elif not interrupted:
        saved_model.add_card(metrics, run.options)
    return metrics


def pictures(run: Run) -> list[callbacks.Picture]:
    """The callbacks that draw the pictures of a run: samples during training, the others at its end."""
    data, model, out, last = run.data, run.model, run.out / "pictures", run.options["epochs"]
    every, names = run.options["pictures_every"] or max(1, last // 5), data.class_names
    hooks: list[callbacks.Picture] = []
    if capabilities.has(model, "networks"):
        hooks.append(callbacks.ReconstructionGrid(out, run.x_test, run.y_test, every=last))
    if capabilities.has(model, "networks") and not capabilities.has(model, "codebook"):
        hooks += [
            callbacks.LatentScatter(out, run.x_test, data.y_test, every=last, class_names=names),
            callbacks.PCABaseline(out, data.x_train, run.x_test, data.y_test, every=last, class_names=names),
        ]
    if capabilities.has(model, "prior"):
        # A model without classes is shown under the attributes of test images.
        attributes = None if run.y_test is None or capabilities.has(model, "classes") else run.y_test[:10]
        hooks.append(callbacks.SampleGrid(out, every=every, labels=attributes, class_names=names))
        if model.latent_dim == 2:
            hooks.append(callbacks.LatentManifold(out, None if attributes is None else attributes[0], every=last))
    return hooks


def how_to_resume(out: PathLike, devices: str = "none") -> str:
    """The command that resumes a run."""
    strategies = f" --strategy {devices}" if devices != "none" else ""
    return f"kvae train --resume {shlex.quote(str(out))}{strategies}"


@contextlib.contextmanager
def _how_to_resume(out: Path, devices: str) -> Iterator[None]:
    """On a write error or the loss of a worker, say how to resume from the last checkpoint."""
    try:
        yield
    except FileError as error:
        if not (out / run_folder.CHECKPOINT).is_file():
            raise
        raise FileError(
            f"{error}; what was trained so far is saved: resume with: {how_to_resume(out, devices)}"
        ) from error
    except ConnectionError as error:
        if not strategy.is_chief(devices):
            how = "restart all workers, the first one with --resume if its run folder has a checkpoint"
        elif (out / run_folder.CHECKPOINT).is_file():
            how = f"restart all workers with: {how_to_resume(out, devices)}"
        else:
            how = "restart all workers with the same commands: no epoch was complete"
        raise ConnectionError(f"{error}; {how}") from error
