"""The `kvae` command. Heavy imports are inside the functions that need them, so that `--help` answers at once."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import warnings
from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from kvae.cli import backends, interruptions, parser, streams
from kvae.cli import workshop as workshops
from kvae.cli.explore import explore
from kvae.cli.options import DEFAULTS, DEMO
from kvae.cli.report import compare, report
from kvae.io import atomic


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: arguments; `None` for the process's own.

    Returns:
        Exit code: 0 on success, 1 if it could not be done, 2 if the arguments are wrong.
    """
    with streams.open_streams(), warnings.catch_warnings():
        try:
            arguments = parser.parser(COMMANDS).parse_args(argv)
        except SystemExit as leaving:
            return int(leaving.code or 0)
        return _run(arguments)


def _run(arguments: Namespace) -> int:
    """Run the parsed command; an error is one line on standard error."""
    command = f"kvae {arguments.command}"
    streams.disarm_warnings()
    try:
        if needs_keras := getattr(arguments, "action", None) not in WITHOUT_KERAS:
            backends.start(backends.chosen(arguments), quietly=not arguments.debug)
        warnings.showwarning = lambda message, *_: print(f"{command}: {message}", file=sys.stderr)
        _import_modules(getattr(arguments, "modules", ()))
        if needs_keras:
            backends.check_floatx(arguments.command in TRAINERS)
        if arguments.command in WRITERS and arguments.out:
            atomic.check_replaceable(arguments.out)  # rather than when the work is done
        with interruptions.remembered(signals=[signal.SIGINT]):
            code = COMMANDS[arguments.command](arguments) or 0
        sys.stdout.flush()
        return code
    except KeyboardInterrupt as interruption:
        print(f"{command}: {str(interruption) or 'interrupted'}", file=sys.stderr)
    except Exception as error:
        expected = isinstance(error, (ValueError, OSError, ImportError, MemoryError, OverflowError))
        if arguments.debug or not (expected or _is_out_of_memory(error)):
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        if _is_out_of_memory(error):
            reason = f"out of memory: use a smaller --batch-size, or a smaller network. Received: {reason[:200]}"
        print(f"{command}: {reason}", file=sys.stderr)
    return 1


def _is_out_of_memory(error):
    """Whether a backend, or NumPy, could not allocate memory: each has a type of error, or only words, of its own."""
    words = ("RESOURCE_EXHAUSTED", "out of memory", "can't allocate memory", "Unable to allocate")
    names = ("ResourceExhaustedError", "OutOfMemoryError", "MemoryError")
    return type(error).__name__ in names or any(word in str(error) for word in words)


def demo(arguments: Namespace) -> int:
    """Train a conditional VAE on real digits and draw new ones for every label."""
    print("Training a conditional VAE on 1,437 real 8x8 digits.")
    return _train(DEMO | {"seed": arguments.seed}, arguments)


def train(arguments: Namespace) -> int:
    """Train a model and write a run folder."""
    from kvae.cli import run_folder

    given = {name: getattr(arguments, name) for name in DEFAULTS if getattr(arguments, name) is not None}
    if arguments.resume:
        if given or arguments.config or arguments.force:
            raise ValueError(f"`resume` takes its options from {arguments.resume}: drop the others")
        arguments.out = arguments.resume
    return _train((run_folder.read_options(arguments.config) if arguments.config else {}) | given, arguments)


def generate(arguments: Namespace) -> None:
    """Draw new images from a trained model."""
    import numpy as np

    from kvae import checks, plots
    from kvae.cli import requests
    from kvae.models import load_model
    from kvae.plots.examples import grids_of

    checks.positive_integer(arguments.count, "count")
    model = load_model(arguments.model)
    path = arguments.out or os.path.join(os.path.dirname(arguments.model), requests.file_name(arguments))
    condition = requests.condition(arguments, model)
    given = {"n": arguments.count} if condition is None else {"labels": condition}
    images = model.generate(**given, seed=arguments.seed, temperature=arguments.temperature)
    if path.endswith(".npz"):
        atomic.make_folder(os.path.dirname(path) or ".")
        with atomic.replacing(path) as aside:
            np.savez_compressed(aside, images=images)
    else:
        shown = "" if arguments.label is None else f", label {', '.join(map(str, arguments.label))}"
        rows = condition if arguments.label and len(set(arguments.label)) > 1 else None
        draw = grids_of(model.image_shape).samples
        plots.save(draw(images, rows, title=f"Generated by {type(model).__name__}{shown}"), path)
    kind = "images" if images.ndim == 4 else "examples"
    print(f"{len(images)} {kind} {images.shape[1:]} written to {path}")


def evaluate(arguments: Namespace) -> None:
    """Print a trained model's numbers on a data set's test images."""
    from kvae.cli import printing, run_folder, saved_model
    from kvae.evaluation.doctor.diagnose import check_model
    from kvae.models import load_model

    model = load_model(arguments.model)
    dataset = saved_model.dataset_of(arguments.model, arguments.dataset, arguments.image_size, arguments.channels)
    x_test, y_test = saved_model.test_arrays(dataset, arguments.seed, model)
    if arguments.doctor:
        check_model(model)  # before the numbers, which take time
    with printing.busy(f"evaluating on {len(x_test):,} test images"):
        metrics = saved_model.evaluate(model, dataset, x_test, y_test, arguments.seed, arguments.num_samples)
    saved_model.add_card(metrics, saved_model.options_of(arguments.model))
    found = []
    if arguments.doctor:
        with printing.busy("looking for what is wrong"):
            found = saved_model.diagnose(model, dataset, x_test, y_test, arguments.seed)
    if found:
        metrics["findings"] = [vars(finding) for finding in found]
    if arguments.out:
        run_folder.write_json(arguments.out, metrics)
    printing.metrics(metrics)
    printing.findings(found)


def plot(arguments: Namespace) -> None:
    """Draw pictures of a trained model, or of a run's history."""
    from kvae.cli.plot import draw

    convert = arguments.image_size, arguments.channels
    for path in draw(arguments.model, arguments.kind, arguments.dataset, arguments.label, arguments.out, *convert):
        print(f"written to {path}")


def apply(arguments: Namespace) -> None:
    """Use a trained model: anomaly detection, denoising, inpainting, super-resolution, compression."""
    from kvae.cli import printing
    from kvae.cli.apply import run_task

    given = {name: value for name, value in vars(arguments).items() if name not in ("command", "debug", "modules")}
    with printing.busy(f"{arguments.task} on {arguments.count:,} test images"):
        numbers, paths = run_task(model_path=given.pop("model"), **given)
    printing.metrics(numbers)
    print(f"written to {' and '.join(map(str, paths))}")


def data(arguments: Namespace) -> None:
    """List the data sets, or describe one."""
    from kvae.cli import printing
    from kvae.data import DATASETS, load_data

    if arguments.name is None:
        print("\n".join([*DATASETS, "or the path of your own data, see: kvae data --help"]))
        return
    found = load_data(arguments.name, image_size=arguments.image_size, channels=arguments.channels)
    printing.dataset(found)
    if arguments.out:
        from kvae import plots
        from kvae.plots.examples import grids_of

        figure = grids_of(found.image_shape).samples(found.x_train[:64], title=f"{found.name}: the first training data")
        plots.save(figure, arguments.out)
        print(f"written to {arguments.out}")


def ladder(arguments: Namespace) -> None:
    """Train PCA, autoencoders, a VAE and a CVAE of one latent size and budget, and draw them side by side."""
    from kvae import ladder as ladders
    from kvae import plots
    from kvae.cli import printing, run_folder
    from kvae.data import load_data

    dataset = load_data(arguments.dataset, image_size=arguments.image_size, channels=arguments.channels)
    out = atomic.make_folder(arguments.out)
    latent_dim, epochs = arguments.latent_dim, arguments.epochs
    print(f"Training five methods on {dataset.name}: {latent_dim} latent dimensions, {epochs} epochs.")
    rungs: list[Any] = []
    for rung in ladders.climb(dataset, latent_dim, epochs, arguments.batch_size, seed=arguments.seed):
        print(f"{rung.name}: {rung.seconds:.1f} s", flush=True)
        rungs.append(rung)
    numbers = [rung.numbers() for rung in rungs]
    printing.ladder(numbers)
    run_folder.write_json(out / "ladder.json", numbers)
    title = f"{dataset.name}: {latent_dim} latent dimensions, {epochs} epochs each"
    path = plots.save(plots.ladder(rungs, dataset.x_test, dataset.y_test, title), out / "ladder.png")
    print(f"written to {path} and {out / 'ladder.json'}")


def workshop(arguments: Namespace) -> int | None:
    """Hand out, check and grade worksheets."""
    return workshops.run(arguments)


TRAINERS = ("demo", "train", "ladder")
WITHOUT_KERAS = ("list", "copy", "zip")  # actions of `kvae workshop`
WRITERS = ("generate", "evaluate", "apply", "explore", "report", "data")  # of a file, --out
COMMANDS = {
    each.__name__: each
    for each in (demo, train, generate, evaluate, plot, apply, explore, report, compare, ladder, data, workshop)
}


def _import_modules(names: Sequence[str]) -> None:
    """Import modules that register a user's own classes; those in the current folder are found too."""
    if names and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    for name in names:
        wanted = f"`import` must name an importable module, such as my_models for my_models.py. Received: {name}"
        if not all(part.isidentifier() for part in name.split(".")):
            raise ImportError(wanted)
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if not f"{name}.".startswith(f"{error.name}."):
                raise  # the module exists, but one that it imports does not
            raise ImportError(wanted) from error


def _train(options: dict[str, Any], arguments: Namespace) -> int:
    from kvae.cli import printing, runs

    resume, devices = bool(arguments.resume), arguments.strategy
    metrics, interrupted = runs.train(options, arguments.out, arguments.force, resume, devices=devices)
    if not metrics:
        print("interrupted" if interrupted else "done; the first worker writes the run folder")
        return int(interrupted)
    printing.metrics(metrics)
    print(f"\nwritten to {arguments.out}: model.keras, metrics.json, history.csv, config.json, pictures/")
    if interrupted:
        how = f"what was trained so far is saved; resume with: {runs.how_to_resume(arguments.out, devices)}"
        print(f"kvae {arguments.command}: interrupted; {how}", file=sys.stderr)
        return 1
    return 1 if "stopped_in_epoch" in metrics else 0
