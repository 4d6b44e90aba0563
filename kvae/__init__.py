"""kvae: variational autoencoders in Keras 3, for teaching and practice.

The examples in the documentation assume `import kvae, keras`, `import numpy as np` and `from keras import ops`. Unless
an example defines them itself, `data` is the result of `kvae.load_data("digits")` and `x` its test images; `model` is a
VAE with a two-dimensional code trained on it, `cvae` a CVAE with ten classes, `pca` a `kvae.baselines.PCA`; `encoder`
and `decoder` are a pair from `kvae.networks.mlp`.
"""

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from wrapt import register_post_import_hook

from kvae.training.allocator import keep_freed_memory
from kvae.training.onednn import use_onednn

__version__ = "0.1.0"

# Public names that are not modules of this package, and the module that each comes from.
_HOMES = {
    "AdversarialAutoencoder": "models",
    "Autoencoder": "models",
    "AuxiliaryVAE": "models",
    "CVAE": "models",
    "EnergyNetwork": "models",
    "FactorVAE": "models",
    "GAN": "models",
    "HierarchicalVAE": "models",
    "IntroVAE": "models",
    "PredictiveSparseDecomposition": "models",
    "SemiSupervisedVAE": "models",
    "VAE": "models",
    "VAEGAN": "models",
    "VQVAE": "models",
    "explore": "explorer",
    "load_data": "data",
    "load_model": "models",
}
# Public modules that live one level down.
_ROOMS = {"classifier": "applications.classifier", "strategy": "training.strategy", "toy": "data.toy"}

__all__ = [
    "CVAE",
    "GAN",
    "VAE",
    "VAEGAN",
    "VQVAE",
    "AdversarialAutoencoder",
    "Autoencoder",
    "AuxiliaryVAE",
    "EnergyNetwork",
    "FactorVAE",
    "HierarchicalVAE",
    "IntroVAE",
    "PredictiveSparseDecomposition",
    "SemiSupervisedVAE",
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
    "explore",
    "explorer",
    "flows",
    "ladder",
    "layers",
    "load_data",
    "load_model",
    "models",
    "networks",
    "objectives",
    "penalties",
    "plots",
    "priors",
    "quantization",
    "sklearn",
    "strategy",
    "toy",
    "training",
    "worksheet",
]

keep_freed_memory()
use_onednn()

if TYPE_CHECKING:
    from kvae import (
        applications,
        baselines,
        bounds,
        callbacks,
        corruption,
        data,
        distributions,
        energy,
        evaluation,
        explorer,
        flows,
        ladder,
        layers,
        models,
        networks,
        objectives,
        penalties,
        plots,
        priors,
        quantization,
        sklearn,
        training,
        worksheet,
    )
    from kvae.applications import classifier
    from kvae.data import load_data, toy
    from kvae.explorer import explore
    from kvae.models import (
        CVAE,
        GAN,
        VAE,
        VAEGAN,
        VQVAE,
        AdversarialAutoencoder,
        Autoencoder,
        AuxiliaryVAE,
        EnergyNetwork,
        FactorVAE,
        HierarchicalVAE,
        IntroVAE,
        PredictiveSparseDecomposition,
        SemiSupervisedVAE,
        load_model,
    )
    from kvae.training import strategy


if not TYPE_CHECKING:  # to a type checker, it would make every name an attribute

    def __getattr__(name):
        """Import a public name when it is first used: Matplotlib and scikit-learn take a second to import."""
        if name not in __all__:
            raise AttributeError(f"module 'kvae' has no attribute {name!r}")
        if name in _HOMES:
            return getattr(importlib.import_module(f"kvae.{_HOMES[name]}"), name)
        return importlib.import_module(f"kvae.{_ROOMS.get(name, name)}")


def __dir__():
    return sorted([*globals(), *__all__])


def _register_models(imported):
    """Register kvae's classes with Keras, imported before or after kvae, so that `keras.saving.load_model` finds them.

    Without Keras there is nothing to register them with: `kvae --help` does not wait for it. Where a module of kvae is
    the first to import Keras, `kvae.models` would import that half-made module, so it waits until the module is done.
    """
    modules = [module for name, module in sys.modules.items() if name.startswith("kvae.") and module is not imported]
    half_made = any(getattr(module.__spec__, "_initializing", False) for module in modules)
    if "keras" in sys.modules and not half_made:
        importlib.import_module("kvae.models")


_package = Path(__file__).parent
for _path in _package.rglob("*.py"):
    _module = ".".join(_path.relative_to(_package.parent).with_suffix("").parts).removesuffix(".__init__")
    register_post_import_hook(_register_models, _module)
register_post_import_hook(_register_models, "keras")
