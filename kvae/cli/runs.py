"""A training run as a folder: `config.json`, `history.csv`, `model.keras`, `metrics.json` and pictures.

The command line's work is done here, on plain dicts of options, so that a run can be repeated from its `config.json`.
"""

import contextlib
import json
import platform
import time
from pathlib import Path

import keras
import numpy as np

import kvae
from kvae import baselines, callbacks, checks, evaluation, networks
from kvae.cli import build, run_folder
from kvae.data import DATASETS, binarize, load_data
from kvae.evaluation import reference_cards
from kvae.io import FileError, atomic
from kvae.models import VAE
from kvae.training import fit_on_arrays, strategy

DEFAULTS = {
    "model": "cvae",
    "dataset": "digits",
    "network": "mlp",
    "latent_dim": 2,
    "hidden": None,  # the network's own
    "epochs": 30,
    "batch_size": 128,
    "learning_rate": 2e-3,
    "beta": 1.0,
    "kl_warmup": 0,
    "likelihood": "bernoulli",
    "noise": 0.0,  # standard deviation, on a denoising autoencoder's input
    "sigma": None,  # of a Gaussian likelihood: "learned", "per_pixel" or a number
    "posterior": "normal",
    "prior": "standard",
    "bound": "elbo",
    "num_samples": 1,
    "alpha": None,  # of a Rényi bound; its own
    "free_bits": 0.0,  # nats a latent dimension, of the ELBO
    "gradient": "reparameterized",
    "binarization": None,
    "seed": 0,
    "pictures_every": None,  # five times in a run
}
# Options that an autoencoder has not.
VARIATIONAL = (
    "beta", "kl_warmup", "sigma", "posterior", "prior", "bound", "num_samples", "alpha", "free_bits", "gradient"
)  # fmt: skip
KINDS = {  # what options other than texts are
    (int,): ("latent_dim", "epochs", "batch_size", "num_samples", "kl_warmup", "seed", "pictures_every"),
    (int, float): ("learning_rate", "beta", "noise", "alpha", "free_bits"),
    (int, float, str): ("sigma",),
    (list, tuple): ("hidden",),
}
DEMO = {**DEFAULTS, "epochs": 60, "batch_size": 32, "num_samples": 5}


def train(options, out, force=False, resume=False, verbose=True, devices="none"):
    """Train a model and write its run folder.

    The learning rate falls to zero along a cosine. An interruption (Ctrl-C, SIGTERM) ends training early and keeps its
    result; so does a loss that is no number any more, with the weights of the last good epoch. A run that was cut off,
    in whatever way, goes on from its last finished epoch and ends with the same numbers, to the bit. Of several workers
    the first alone writes, and its options are everybody's.

    Args:
        options: dict with the keys of `DEFAULTS`; missing ones take their defaults. Not used with `resume`.
        out: folder to write, created when data and model are known to be good.
        force: whether to replace a run that is there.
        resume: whether to go on with the run in `out`.
        verbose: whether to show progress.
        devices: what to train on, a name of `strategy.scope`.

    Returns:
        `(metrics, interrupted)`: the content of `metrics.json`, empty on a worker that is not the first, and whether
        training was cut short.

    Raises:
        ValueError: for options that are unknown or do not fit together, if training fails in its first epoch, and if
            there is nothing to resume.
        FileError: if `out` holds something already, cannot be written to, or is being written by another process.
        ConnectionError: if another worker goes away.
    """
    start = time.perf_counter()
    out = Path(out)
    chief = strategy.is_chief(devices)
    if chief and resume:
        options = run_folder.options_to_go_on(out, keras.backend.backend())
    elif chief:
        run_folder.check(out, force)
    options = complete(options)
    with contextlib.ExitStack() as held:
        with strategy.scope(devices) as fitting:
            options = json.loads(strategy.from_chief(json.dumps(options).encode()))
            data = load_data(options["dataset"], options["binarization"], options["seed"])
            keras.utils.set_random_seed(options["seed"])
            model = build.build(options, data)
            x_test, y_test = test_arrays(data, options, model)
            steps = -(-len(data.x_train) // options["batch_size"])
            schedule = keras.optimizers.schedules.CosineDecay(options["learning_rate"], options["epochs"] * steps)
            model.compile(optimizer=keras.optimizers.Adam(schedule))
            if chief:
                held.enter_context(atomic.locked(atomic.make_folder(out)))
                run_folder.sweep(out)
                if not resume:
                    _begin(out, options)
            checkpoint = callbacks.Checkpoint(out / run_folder.CHECKPOINT)
        training_start = time.perf_counter()
        hooks = [callbacks.KLWarmup(options["kl_warmup"])] if options["kl_warmup"] else []
        if devices == "none" and keras.backend.backend() == "tensorflow":
            model.take_steps(fit_on_arrays.steps_per_execution(steps, hooks, verbose=1))
        if chief:
            hooks += pictures(options, data, model, x_test, y_test, out / "pictures")
            hooks.append(callbacks.HistoryFile(out / "history.csv"))
            hooks += [callbacks.Progress()] if verbose else []
        with atomic.terminable(), _way_on(checkpoint):
            with fitting:
                guard, interrupted = _fit(model, data, options, (x_test, y_test), hooks, checkpoint)
            if not chief:
                return {}, interrupted
            seconds = time.perf_counter() - training_start
            with atomic.replacing(out / "model.keras") as aside:
                model.save(aside)
            metrics = evaluate(model, data, x_test, y_test, seed=options["seed"])
            if guard.message:
                metrics["stopped_in_epoch"] = guard.stopped_epoch
            elif not interrupted:
                add_card(metrics, options)
            metrics["training_seconds"] = round(seconds, 1)
            metrics["total_seconds"] = round(time.perf_counter() - start, 1)
            run_folder.write_json(out / "metrics.json", metrics)
        if not interrupted:
            (out / run_folder.CHECKPOINT).unlink(missing_ok=True)
    return metrics, interrupted


def _begin(out, options):
    """Make `out` the folder of a run with these options, and of no other."""
    run_folder.clear(out)
    versions = {"kvae": kvae.__version__, "keras": keras.__version__, "python": platform.python_version()}
    config = {"options": options, "backend": keras.backend.backend(), "versions": versions}
    run_folder.write_json(out / "config.json", config)


@contextlib.contextmanager
def _way_on(checkpoint):
    """Tell, where a file cannot be written, how to go on from the last checkpoint."""
    try:
        yield
    except FileError as error:
        if not checkpoint.path.is_file():
            raise
        raise FileError(
            f"{error}; what was trained so far is saved: go on with: kvae train --resume {checkpoint.path.parent}"
        ) from error


def _fit(model, data, options, test, hooks, checkpoint):
    """Train, from the checkpoint on if there is one: the guard against NaN, and whether training was cut short."""
    guard, out = callbacks.StopOnNaN(), checkpoint.path.parent
    batches = data.batches(
        batch_size=options["batch_size"],
        labels=model.takes_labels,
        seed=options["seed"],
        first_epoch=checkpoint.epoch,
    )
    equal = len(data.x_test) // strategy.num_devices() * strategy.num_devices()
    validation = tuple(array[:equal] for array in test if array is not None)
    # The guard before those that draw: they see the weights that it brings back. The history is never behind.
    hooks = [guard, *hooks, checkpoint]
    try:
        model.fit(batches, epochs=options["epochs"], validation_data=validation, callbacks=hooks, verbose=0)
    except KeyboardInterrupt:
        return guard, True
    except Exception:
        if checkpoint.writes and not (out / "history.csv").is_file():  # not an epoch done: leave nothing half-written
            run_folder.remove(out)
        raise
    if guard.message and not guard.good_epochs:
        if checkpoint.writes:
            run_folder.remove(out)
        raise ValueError(guard.message)
    return guard, False


def complete(options):
    """Return `options` with the defaults filled in, or raise on a key or value that is unknown."""
    unknown = sorted(set(options) - set(DEFAULTS))
    if unknown:
        raise ValueError(f"Options must be among {sorted(DEFAULTS)}. Received: {unknown}")
    options = {**DEFAULTS, **options}
    _check_kinds(options)
    for name, known in (("model", build.MODELS), ("network", networks.NETWORKS)):
        if options[name] not in known:
            raise ValueError(f"`{name}` must be one of {sorted(known)}. Received: {options[name]!r}")
    for name in ("latent_dim", "epochs", "batch_size", "num_samples"):
        checks.positive_integer(options[name], name)
    checks.positive_number(options["learning_rate"], "learning_rate")
    if options["sigma"] is not None and options["likelihood"] != "gaussian":
        raise ValueError(f"`sigma` must go with likelihood=gaussian. Received: likelihood={options['likelihood']}")
    if options["model"] == "autoencoder":
        unused = [name for name in VARIATIONAL if options[name] != DEFAULTS[name]]
        if unused:
            raise ValueError(
                f"An autoencoder must go without {unused}: use vae or cvae. Received: {options[unused[0]]}"
            )
        return options
    if options["noise"]:
        raise ValueError(f"`noise` must go with the autoencoder. Received: model={options['model']}")
    fitting = build.PRIORS[options["model"]]
    if options["prior"] not in fitting:
        raise ValueError(f"`prior` of a {options['model']} must be one of {fitting}. Received: {options['prior']!r}")
    build.bound(options)
    return options


def _check_kinds(options):
    """Raise a `ValueError` for an option that is no text or number where one is wanted: it may come from a file."""
    for name, value in options.items():
        kinds = next((kinds for kinds, names in KINDS.items() if name in names), (str,))
        unset = value is None and DEFAULTS[name] is None
        if not unset and (not isinstance(value, kinds) or isinstance(value, bool)):
            wanted = " or ".join(kind.__name__ for kind in kinds)
            raise ValueError(f"`{name}` must be of type {wanted}. Received: {str(value)[:80]!r}")
    for size in options["hidden"] or ():
        checks.positive_integer(size, "hidden")
    for name, least in (("seed", 0), ("kl_warmup", 0), ("pictures_every", 1)):
        if options[name] is not None and not least <= options[name] < 2**32:
            raise ValueError(f"`{name}` must be from {least} to {2**32 - 1}. Received: {options[name]}")


def test_arrays(data, options, model):
    """Test images and labels as arrays; dynamically binarized images are drawn once, from the seed."""
    x = data.x_test
    if data.binarization == "dynamic":
        x = binarize(x, np.random.default_rng(options["seed"]))
    return x, data.y_test if model.takes_labels else None


def evaluate(model, data, x_test, y_test, seed=0, num_samples=20):
    """The numbers of `metrics.json`.

    Args:
        model: one of `recipes.MODELS`.
        data: the `Dataset` it was trained on.
        x_test: images to evaluate on.
        y_test: their labels, or `None`.
        seed: int.
        num_samples: int, posterior samples an example for the ELBO.

    Returns:
        Dict of JSON values; nats per example, and mean squared errors per pixel.
    """
    pca = baselines.PCA(min(model.latent_dim, np.prod(data.image_shape))).fit(data.x_train)
    metrics = {
        "model": type(model).__name__,
        "dataset": data.name,
        "latent_dim": model.latent_dim,
        "test_examples": len(x_test),
    }
    if isinstance(model, VAE):
        log_likelihood, kl = model.elbo_terms(x_test, y_test, num_samples=num_samples, seed=seed)
        elbo = log_likelihood - kl
        metrics["negative_elbo"] = -float(elbo.mean())
        metrics["negative_elbo_standard_error"] = float(elbo.std(ddof=1) / np.sqrt(len(elbo)))
        metrics["reconstruction_loss"] = -float(log_likelihood.mean())
        metrics["kl_loss"] = float(kl.mean())
    metrics["reconstruction_mse"] = evaluation.reconstruction_mse(x_test, model.reconstruct(x_test, y_test))
    metrics["pca_reconstruction_mse"] = evaluation.reconstruction_mse(x_test, pca.reconstruct(x_test))
    if getattr(model, "num_classes", None):
        judge = evaluation.LabelJudge(data.x_train, data.y_train, seed=seed)
        metrics["label_agreement"] = evaluation.label_agreement(model, judge, seed=seed)
        metrics["judge_accuracy_on_real_images"] = judge.agreement(data.x_test, data.y_test)
    return metrics


def add_card(metrics, options):
    """Put the numbers' place on their reference card into `metrics`, under "card"; nothing if there is none."""
    placement = reference_cards.place(metrics, options, DEFAULTS) if options else None
    if placement is not None:
        metrics["card"] = placement.summary()


def diagnose(model, data, x_test, y_test, seed=0):
    """What the doctor finds in a model, as in `evaluation.diagnose`, with the data set's training images."""
    x_train = data.x_train
    if data.binarization == "dynamic":
        x_train = binarize(x_train, np.random.default_rng(seed))
    return evaluation.diagnose(model, x_test, y_test, x_train, data.y_train if model.takes_labels else None, seed)


def pictures(options, data, model, x_test, y_test, out):
    """The callbacks that draw a run's pictures: samples along the way, the others at the end."""
    last = options["epochs"]
    every = options["pictures_every"] or max(1, last // 5)
    attributes = y_test[:10] if model.takes_labels and data.num_classes is None else None
    hooks = [
        callbacks.ReconstructionGrid(out, x_test, y_test, every=last),
        callbacks.LatentScatter(out, x_test, data.y_test, every=last),
        callbacks.PCABaseline(out, data.x_train, x_test, data.y_test, every=last),
    ]
    if isinstance(model, VAE):  # what has a prior to draw from
        hooks.append(callbacks.SampleGrid(out, every=every, labels=attributes))
        if model.latent_dim == 2:
            hooks.append(callbacks.LatentManifold(out, every=last))
    return hooks


def options_of(model_path):
    """The complete options of the run folder in which a saved model lies; an empty dict outside one."""
    config = Path(model_path).with_name("config.json")
    return complete(run_folder.read_options(config)) if config.is_file() else {}


def dataset_of(model_path, name=None):
    """The data set to look at a saved model with: `name`, or the one its run folder tells of."""
    options = options_of(model_path)
    if name is None and not options:
        raise ValueError(f"`dataset` must be given for a model outside a run folder, one of {list(DATASETS)} or a file")
    name = name or options["dataset"]
    same = options and name == options["dataset"]
    return load_data(name, options["binarization"] if same else None, options["seed"] if same else 0)
