"""kvae: variational autoencoders in Keras 3, for teaching and for use."""

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from kvae.allocator import keep_freed_memory

__version__ = "0.1.0"

# Where a name lives that is no module. All of them wait until somebody asks: pictures and scikit-learn take a second.
_HOMES = {"load_data": "data", "Autoencoder": "models", "CVAE": "models", "VAE": "models", "load_model": "models"}

__all__ = [
    "CVAE",
    "VAE",
    "Autoencoder",
    "applications",
    "baselines",
    "bounds",
    "callbacks",
    "classifier",
    "corruption",
    "data",
    "distributions",
    "energy",
    "evaluation",
    "load_data",
    "load_model",
    "models",
    "networks",
    "penalties",
    "plots",
    "priors",
    "strategy",
    "toy",
    "worksheet",
]

keep_freed_memory()

if TYPE_CHECKING:
    from kvae import (
        applications,
        baselines,
        bounds,
        callbacks,
        classifier,
        corruption,
        data,
        distributions,
        energy,
        evaluation,
        models,
        networks,
        penalties,
        plots,
        priors,
        strategy,
        toy,
        worksheet,
    )
    from kvae.data import load_data
    from kvae.models import CVAE, VAE, Autoencoder, load_model


def __getattr__(name):
    if name not in __all__:
        raise AttributeError(f"module 'kvae' has no attribute {name!r}")
    module = importlib.import_module(f"kvae.{_HOMES.get(name, name)}")
    return getattr(module, name) if name in _HOMES else module


def __dir__():
    return sorted([*globals(), *__all__])


# Importing the models registers them, so that `keras.saving.load_model` knows them. The `kvae` command alone puts that
# off, because it answers `--help` without Keras: each of its commands imports what it needs.
if Path(*sys.argv[:1]).stem != "kvae":
    importlib.import_module("kvae.models")
