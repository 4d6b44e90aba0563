"""What a page shows of a model and its training data, as one JSON value."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np

from kvae.explorer import graph, packing
from kvae.explorer.latent import directions
from kvae.models import capabilities, conditions
from kvae.models.batches import in_batches
from kvae.models.encoder_decoder import EVALUATION_BATCH, encoded
from kvae.training.kept import kept
from kvae.types import Array

MOST_POINTS = 2_000
POINT_BYTES = 3 * 2**20  # of the codes, conditions and originals of all points together
SHEET_BYTES = 6 * 2**20  # of all decoded images of a sheet, before PNG makes them smaller
SIDES = (5, 31)  # least and most images along a side of a sheet
MOST_TILES = 20  # classes shown side by side
NAME_LENGTH = 20  # letters of the name of a class


def contents(
    model: Any, x: Array | None, y: Any, names: Any, sheet: bool, seed: int
) -> tuple[dict[str, Any], list[str]]:
    """What a page shows.

    Args:
        model: a model with a decoder.
        x: checked examples, from which the points are drawn at random, or `None`.
        y: their conditions or classes, or `None`.
        names: names of the classes, or `None`.
        sheet: whether to decode in advance.
        seed: int, of the choice of points.

    Returns:
        A JSON value, and sentences that say what is not as one might expect.
    """
    notes: list[str] = []
    can_encode = capabilities.has(model, "networks")
    if x is not None and not can_encode:
        notes.append(f"A {type(model).__name__} has no encoder, hence no codes of training data.")
    x, y = _some(model, x if can_encode else None, y, seed)
    condition = y if capabilities.has(model, "condition") else None
    codes = np.zeros((0, model.latent_dim)) if x is None else _codes(model, x, condition)
    shown = directions(model, codes)
    if shown.note:
        notes.append(shown.note)
    program = None if sheet else _program(model, notes)
    classes = _classes(model, y, names)
    found = {
        "example": _example(model, x),
        "latent": {
            "names": shown.names,
            "basis": packing.numbers(shown.basis, "float32"),
            "origin": packing.numbers(shown.origin, "float32"),
            **{name: getattr(shown, name).tolist() for name in ("low", "high", "start")},
        },
        "classes": classes,
        "condition": _condition(model, condition),
        "points": None,
        "program": program,
        "sheet": None,
    }
    if x is not None:
        labels = conditions.class_part(y)
        found["points"] = {
            "codes": packing.numbers(codes, "float32"),
            "labels": None if classes is None else np.asarray(labels).tolist(),
            "originals": packing.pictures(_scaled(x, found["example"])),
        }
    if program is None:
        side = _side(model, found["condition"])
        notes.append(f"The images are decoded in advance: the nearest of {side} × {side} is shown.")
        found["sheet"] = _sheet(model, shown, side, found, condition)
        if x is not None:
            again = _scaled(model.reconstruct(x, condition), found["example"])
            found["points"]["reconstructions"] = packing.pictures(again)
    return found, notes


def _some(model, x, y, seed):
    """At most as many examples, drawn at random, as a page can hold."""
    if x is None:
        return None, None
    parts = () if model.conditions is None else model.conditions.parts
    numbers = model.latent_dim + sum(math.prod(part.shape) for part in parts if part.num_classes is None)
    count = max(2, min(MOST_POINTS, POINT_BYTES // (4 * numbers + math.prod(model.image_shape))))
    if len(x) <= count:
        return x, y
    rows = np.sort(np.random.default_rng(seed).choice(len(x), count, replace=False))
    return x[rows], conditions.take(y, rows)


def _codes(model, x, condition):
    """Codes `(n, latent_dim)`; with a codebook what the encoder gives, whose nearest codes the page finds."""
    if capabilities.has(model, "codebook"):
        codes = in_batches(kept(model, encoded), x, None, batch_size=EVALUATION_BATCH)
    else:
        codes = model.encode(x, condition)
    return codes.reshape(len(x), -1)


def _program(model, notes):
    """The decoder's steps as JSON; `None` for a decoder that is too large."""
    try:
        program = graph.program(model)
    except graph.TooLargeError as error:
        notes.append(f"{error}.")
        return None
    steps = [{name: _packed(name, value) for name, value in step.items()} for step in program.used()]
    return {"steps": steps, "output": program.output}


def _packed(name, value):
    """Weights in half precision; codes are not rounded, which could change the nearest one."""
    if not isinstance(value, np.ndarray):
        return value
    return packing.numbers(value, "float32" if name == "codebook" else "float16")


def _example(model, x):
    """Shape and range of an example: images are drawn between these two values, other examples as lines."""
    low, high = (0.0, 1.0) if x is None else (float(np.nanmin(x)), float(np.nanmax(x)))  # NaN: missing
    image = len(model.image_shape) == 3
    if image and low >= 0.0 and high <= 1.0:
        low, high = 0.0, 1.0
    if image and model.image_shape[-1] not in (1, 3):
        raise ValueError(f"`model` must be of images with 1 or 3 channels. Received: shape {model.image_shape}")
    return {"shape": list(model.image_shape), "low": low, "high": high if high > low else low + 1.0}


def _scaled(examples, example):
    """Images with values in [0, 1], as they are drawn; other examples as they are."""
    examples = np.nan_to_num(examples, nan=example["low"])
    if examples.ndim < 4:
        return examples
    return (examples - example["low"]) / (example["high"] - example["low"])


def _classes(model, y, names):
    """What classes are called; `None` without class labels."""
    labels = conditions.class_part(y)
    if capabilities.has(model, "classes"):
        count = model.num_classes
    elif labels is not None and np.ndim(labels) == 1 and np.asarray(labels).dtype.kind in "iu":
        count = int(np.max(labels)) + 1
    else:
        return None
    return [str(k if names is None else names[k])[:NAME_LENGTH] for k in range(count)]


def _condition(model, condition):
    """What the decoder sees besides the code: one of the classes, or the conditions of the points."""
    if not capabilities.has(model, "condition"):
        return None
    if capabilities.has(model, "classes"):
        tiles = np.linspace(0, model.num_classes - 1, min(model.num_classes, MOST_TILES)).round().astype(int)
        return {"classes": model.num_classes, "tiles": tiles.tolist()}
    if condition is None:
        raise ValueError(
            "`x` and `y` (--dataset) must be given: this model decodes under the conditions of examples. Received: None"
        )
    parts = []
    for part, values in model.conditions.pairs(condition):
        values = np.asarray(values)
        seen = values if part.num_classes is None else np.eye(part.num_classes)[values]
        parts.append({"size": math.prod(part.shape), "values": packing.numbers(seen.reshape(len(seen), -1))})
    return {"parts": parts}


def _side(model, condition):
    """Images along each side of a sheet."""
    number = len(condition["tiles"]) if condition and "tiles" in condition else 1
    sizes = [min(side, packing.LARGEST_SIDE) for side in model.image_shape[:2]] + list(model.image_shape[2:])
    side = math.isqrt(SHEET_BYTES // (math.prod(sizes) * number))
    return min(max(side, SIDES[0]), SIDES[1])


def _sheet(model, shown, side, found, condition):
    """Decoded images on a grid of the plane, row by row from the top, for each class; or under the first condition."""
    across, up = (np.linspace(shown.low[k], shown.high[k], side) for k in (0, min(1, len(shown.basis) - 1)))
    u = np.tile(shown.start, (side * side, 1))
    u[:, 0] = np.tile(across, side)
    if len(shown.basis) > 1:
        u[:, 1] = np.repeat(up[::-1], side)
    z = (shown.origin + u @ shown.basis).reshape(-1, *model.latent_shape).astype("float32")
    if capabilities.has(model, "codebook"):
        z = keras.ops.convert_to_numpy(model.quantizer(z).indices)
    if not capabilities.has(model, "condition"):
        given: list[Any] = [None]
    elif capabilities.has(model, "classes"):
        given = [np.full(len(z), label) for label in found["condition"]["tiles"]]
    else:
        given = [conditions.repeat(conditions.take(condition, 0), len(z))]
    images = [_scaled(model.decode(z, y), found["example"]) for y in given]
    return {"side": side, "images": [packing.pictures(each) for each in images]}
