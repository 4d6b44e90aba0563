"""What `kvae generate` is asked for: labels or attributes that the model takes, and the name of the picture."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

import numpy as np

from kvae.models import capabilities


def condition(arguments: Namespace, model: Any) -> Any:
    """What `generate` draws images for: one label per image, one vector per image, or `None`."""
    if not capabilities.has(model, "condition"):
        for name in ("label", "attributes"):
            if getattr(arguments, name) is not None:
                raise ValueError(
                    f"`{name}` must be left out: this model has no labels. Received: {type(model).__name__}"
                )
        return None
    if capabilities.has(model, "classes"):
        if arguments.label is None:
            raise ValueError("`label` is missing: a conditional model needs --label, e.g. --label 7")
        if arguments.attributes is not None:
            raise ValueError("`attributes` must be left out: this model takes class labels, so use --label alone")
        return np.repeat(arguments.label, arguments.count)
    shapes = [part.shape for part in model.conditions.parts]
    if len(shapes) != 1 or len(shapes[0]) != 1:
        raise ValueError(f"The condition must be given in Python, with model.generate. Received: a model of {shapes}")
    width = shapes[0][0]
    if arguments.label is not None or arguments.attributes is None or len(arguments.attributes) != width:
        received = "--label" if arguments.label is not None else arguments.attributes
        wanted = f"{width} numbers" if width > 1 else "number"
        raise ValueError(
            f"`attributes` must be the {wanted} of one example (classes of categorical attributes are one-hot): "
            f"this model needs --attributes{' 0' * min(width, 12)}{' …' * (width > 12)}, without --label. "
            f"Received: {received}"
        )
    return np.tile(np.array(arguments.attributes, "float32"), (arguments.count, 1))


def file_name(arguments: Namespace) -> str:
    """The default name of the picture."""
    labels = "" if arguments.label is None else "-label-" + "-".join(map(str, arguments.label))
    return f"generated{labels}.png"
