"""Make TensorFlow use oneDNN's kernels on every x86 processor."""

from __future__ import annotations

import os
import platform
import warnings

VARIABLE = "TF_ENABLE_ONEDNN_OPTS"
ON = "1"


def use_onednn() -> None:
    """Switch on the kernels of oneDNN that TensorFlow comes with, unless users have set TF_ENABLE_ONEDNN_OPTS.

    TensorFlow does this by itself only on processors with instructions for neural networks such as AVX-512 VNNI.
    Without these, convolutions are up to three times as fast with oneDNN's kernels, too
    (`benchmarks/README.md`); PyTorch always uses them. The variable is read once, when TensorFlow is loaded, hence on
    `import kvae`.
    """
    if platform.machine().lower() in ("x86_64", "amd64"):
        os.environ.setdefault(VARIABLE, ON)


def advise() -> None:
    """Warn that TensorFlow, loaded before kvae, runs convolutions without oneDNN."""
    import tensorflow as tf

    from kvae.training import keras_internals

    is_asked_for = os.environ.get(VARIABLE) == ON and not tf.config.list_physical_devices("GPU")
    if is_asked_for and not keras_internals.tensorflow_uses_onednn():
        warnings.warn(
            "TensorFlow trains these convolutions up to three times as fast on this processor where `import kvae` "
            f"comes before `import keras`, or with {VARIABLE}={ON} in the environment",
            stacklevel=2,
        )
