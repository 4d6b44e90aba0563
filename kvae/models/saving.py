"""What is checked before a model is saved, while nothing is lost yet."""

from __future__ import annotations

import keras

from kvae.types import PathLike


def check(model: keras.Model, filepath: PathLike) -> None:
    """Raise a `ValueError` unless the file that `model.save(filepath)` writes can be loaded again.

    Args:
        model: a model of several networks.
        filepath: path of a `.keras` file.
    """
    if not str(filepath).endswith(".keras"):
        raise ValueError(f"`filepath` must end in .keras, the format that models load from. Received: {filepath}")
    # Keras writes a shared layer once, and makes two of it when it reads the file.
    owners: dict[int, keras.layers.Layer] = {}
    for part in model.layers:
        for variable in part.weights:
            other = owners.setdefault(id(variable), part)
            if other is not part:
                raise ValueError(
                    "A model whose networks share layers can't be saved whole: give each network layers of its own "
                    f"(keras.models.clone_model), or keep the weights with save_weights(). Received: {variable.path} "
                    f"in {other.name!r} and {part.name!r}"
                )
