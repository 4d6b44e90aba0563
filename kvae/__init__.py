"""kvae: variational autoencoders in Keras 3, for teaching and for use."""

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

__version__ = "0.1.0"

# Where each public name lives. Pictures and scikit-learn's estimators wait until somebody asks for them.
_MODULES = ("baselines", "bounds", "callbacks", "data", "distributions", "evaluation", "models", "networks", "plots")
_NAMES = {"load_data": "data", "CVAE": "models", "VAE": "models", "load_model": "models"}

__all__ = [*_MODULES, *_NAMES]

if TYPE_CHECKING:
    from kvae import baselines, bounds, callbacks, data, distributions, evaluation, models, networks, plots
    from kvae.data import load_data
    from kvae.models import CVAE, VAE, load_model


def __getattr__(name):
    if name in _MODULES:
        return importlib.import_module(f"kvae.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(f"kvae.{_NAMES[name]}"), name)
    raise AttributeError(f"module 'kvae' has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *__all__])


# Importing the models registers them, so that `keras.saving.load_model` knows them. The `kvae` command alone puts that
# off, because it answers `--help` without Keras: each of its commands imports what it needs.
if not Path(*sys.argv[:1]).stem == "kvae":
    importlib.import_module("kvae.models")
