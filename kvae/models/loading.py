"""Loading a saved model, with an error that says what the file is instead."""

import zipfile
from pathlib import Path

import keras

from kvae.io import keras_archive
from kvae.models.base import BaseModel


def load_model(path):
    """Load a kvae model from a `.keras` file that anybody may have written.

    `keras.saving.load_model` does the same after `import kvae`. This one tells apart the ways in which a file is none,
    and checks it before Keras sees it (`kvae.io.keras_archive`): it runs no code of the file's, even where
    `keras.config.enable_unsafe_deserialization` has been called, and a model takes no more memory than its file
    accounts for. Layers of your own it refuses; for a file that you trust, `keras.saving.load_model` takes them.

    Args:
        path: a `.keras` file that `model.save` wrote.

    Returns:
        The model, of the class that was saved.

    Raises:
        ValueError: if there is no such file, if it is damaged, if it asks for what is not loaded, or if it holds no
            kvae model.
    """
    path = Path(path)
    wanted = f"`path` must be a .keras file written by a kvae model's save(). Received: {path}"
    if not path.is_file():
        raise ValueError(f"{wanted}, {'a folder' if path.is_dir() else 'which does not exist'}")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{wanted}, which is no .keras file, or one cut short")
    if path.suffix != ".keras":
        raise ValueError(f"{wanted}: give the file its .keras ending back")
    try:
        keras_archive.check(path)
        model = keras.saving.load_model(path)
    except Exception as error:  # Keras, h5py and zipfile raise many kinds on a damaged file
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(f"{wanted}, which is damaged or of another program: {reason[0][:200]}") from error
    if not isinstance(model, BaseModel):
        raise ValueError(f"{wanted}, which holds a {type(model).__name__}")
    return model
