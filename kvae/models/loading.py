"""Loading a saved model, with errors that say what a file is if it is not one."""

from __future__ import annotations

import zipfile
from pathlib import Path

import keras

from kvae.io import keras_archive
from kvae.models.base import BaseModel
from kvae.types import PathLike


def load_model(path: PathLike) -> BaseModel:
    """Load a kvae model from a `.keras` file, which may come from an untrusted source.

    `keras.saving.load_model` does the same after `import kvae`. This function also reports why a file is not a model,
    and checks it before Keras sees it (`kvae.io.keras_archive`): no code in the file is run, even after
    `keras.config.enable_unsafe_deserialization`, and a model takes no more memory than its file accounts for. Models
    and layers of your own load once the module that registers them, by `keras.saving.register_keras_serializable`, has
    been imported.

    Args:
        path: a `.keras` file that `model.save` wrote.

    Returns:
        The model, of the class that was saved. To a type checker it is a `BaseModel`; `isinstance(model, kvae.VAE)`
        narrows it to the class with the methods in question.

    Raises:
        ValueError: if the file does not exist, is damaged, names classes that are not registered, or does not hold a
            kvae model.

    Example:

    >>> model.save("vae.keras")
    >>> loaded = kvae.load_model("vae.keras")
    >>> isinstance(loaded, kvae.VAE)
    True
    """
    path = Path(path)
    wanted = f"`path` must be a .keras file written by a kvae model's save(). Received: {path}"
    if not path.is_file():
        raise ValueError(f"{wanted}, {'a folder' if path.is_dir() else 'which does not exist'}")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{wanted}, which is not a .keras file, or is truncated")
    if path.suffix != ".keras":
        raise ValueError(f"{wanted}: rename it to end in .keras")
    try:
        keras_archive.check(path)
        model = keras.saving.load_model(path)
    except keras_archive.UnknownClassError as error:
        raise ValueError(f"{wanted}: it {error}") from error
    except Exception as error:  # Keras, h5py and zipfile raise many kinds of errors for a damaged file
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(f"{wanted}, which is damaged or was written by another program: {reason[0][:200]}") from error
    if not isinstance(model, BaseModel):
        raise ValueError(f"{wanted}, which holds a {type(model).__name__}")
    return model
