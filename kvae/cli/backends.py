"""The backend of the `kvae` command: chosen before Keras is imported, and another one that would train faster."""

from __future__ import annotations

import importlib.util
import math
import os
import sys
import warnings
from argparse import Namespace
from typing import TYPE_CHECKING

from kvae.io import limits

if TYPE_CHECKING:
    from kvae.cli.runs import Run
    from kvae.types import PathLike

BACKENDS = ("tensorflow", "jax", "torch")
# What was measured on two cores (benchmarks/README.md), by the work of a step: the number of weights times that of
# examples, of convolutions times that of pixels as well. With MOST work or less, dense networks trained on JAX at 1.6
# to 2.6 times the speed of TensorFlow; with more, at 1.3 to 1.6 times. With LEAST work or more, convolutions trained on
# TensorFlow at 4.9 times the speed of JAX, which can be the faster one with less.
MOST, LEAST = 200e6, 6e9
LONG = 40_000  # steps of dense networks: with fewer, JAX saves less than half a minute, and needs longer to compile
SHORT = 1_000  # steps of convolutions
SHORT_EPOCH = 100  # steps: with fewer, what happens between the epochs takes as long as they do


def chosen(arguments: Namespace) -> str | None:
    """The backend for a command: from --backend, the run to resume, KERAS_BACKEND or the run to repeat, in this order.

    Returns:
        Its name; `None` for Keras's own choice, which keras.json may hold.
    """
    flag, resumed, repeated = (getattr(arguments, name, None) for name in ("backend", "resume", "config"))
    return (
        flag
        or (_recorded(os.path.join(resumed, "config.json")) if resumed else None)
        or os.environ.get("KERAS_BACKEND")
        or (_recorded(repeated) if repeated else None)
    )


def _recorded(path: PathLike) -> str | None:
    """The backend in a run's `config.json`; `None` if there is none: the command itself says what is wrong with it."""
    try:
        found = limits.parse_json(limits.read_bytes(path, limits.CONFIG, "config"))["backend"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if found in BACKENDS else None


def start(backend: str | None, quietly: bool) -> None:
    """Import Keras and touch a device, discarding what TensorFlow's C++ side prints meanwhile.

    Args:
        backend: name of the backend; `None` for Keras's own choice.
        quietly: whether to discard it.

    Raises:
        ValueError: if the backend cannot train, if Keras refuses its settings, or has been imported with another one.
        ImportError: if the backend is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    stderr = os.dup(2)
    try:
        if quietly:
            with open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), 2)
        wanted = f"--backend, KERAS_BACKEND or keras.json must name one of {BACKENDS}, which can train"
        if backend and backend not in BACKENDS:
            raise ValueError(f"{wanted}. Received: {backend}")  # before Keras imports what that backend needs
        if backend and "keras" not in sys.modules:
            os.environ["KERAS_BACKEND"] = backend
        try:
            import keras
        except ModuleNotFoundError as error:
            raise ImportError(f"{wanted} and is installed; try: pip install {error.name}. Received: {error}") from error
        except Exception as error:  # what keras.json says, of any type
            if "backend" not in str(error):
                wanted = "keras.json must contain settings that Keras accepts: correct it, or delete it"
            raise ValueError(f"{wanted}. Received: {error or type(error).__name__}") from error
        if (found := keras.backend.backend()) not in BACKENDS:
            raise ValueError(f"{wanted}. Received: {found}")
        if backend and found != backend:
            raise ValueError(f"--backend must be that of this process, whose Keras has {found}. Received: {backend}")
        if "TF_CONFIG" not in os.environ:  # several workers must find one another before anything else
            keras.ops.zeros(1)
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


def check_floatx(trains: bool) -> None:
    """Raise a `ValueError` for a `floatx` in which the backend cannot compute, or cannot train."""
    import keras

    floatx, default = keras.config.floatx(), 'set "floatx" to "float32" in keras.json'
    if floatx == "float64" and keras.backend.backend() == "jax":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # JAX's own, which comes again and again
            found = keras.backend.standardize_dtype(keras.ops.zeros(1).dtype)
        if found != floatx:
            raise ValueError(f"JAX must be allowed to compute in {floatx}: set JAX_ENABLE_X64=1, or {default}")
    if trains and floatx == "float16":  # smaller numbers than 6e-8 are 0: the 1e-7 that Adam adds hardly counts
        raise ValueError(
            f"Weights in {floatx} lead to NaN: {default}. For half precision, train in Python after "
            f'keras.config.set_dtype_policy("mixed_float16"). Received: floatx={floatx}'
        )


def faster(run: Run) -> str | None:
    """The backend on which a run on a CPU would take two thirds of its time at most, if that is worth a restart.

    Args:
        run: one that has not begun.

    Returns:
        The name of an installed backend other than that of Keras; `None` if none is known to be so much faster.
    """
    import keras

    from kvae.training import fit_on_arrays

    now, steps = keras.backend.backend(), run.steps * run.options["epochs"]
    if "cpu" not in str(keras.ops.zeros(1).device).lower():
        return None
    batch_size = run.options["batch_size"]
    if layers := fit_on_arrays.convolutions(run.model):
        work = _size(layers) * batch_size * math.prod(run.model.image_shape[:2])
        return "tensorflow" if now == "jax" and work >= LEAST and steps >= SHORT else None
    if (
        now == "tensorflow"
        and run.options["model"] in ("vae", "cvae")  # which were measured
        and run.options["num_samples"] == 1
        and _size([run.model]) * batch_size <= MOST
        and steps >= LONG
        and run.steps >= SHORT_EPOCH
        and run.data.binarization != "dynamic"  # which JAX is not fed as arrays
        and importlib.util.find_spec("jax") is not None
    ):
        return "jax"
    return None


def _size(layers):
    return sum(math.prod(each.shape) for layer in layers for each in layer.trainable_weights)
