"""Ten thousand digits of MNIST that are part of the package, for where there is no network.

`python -c "from kvae.data import mnist_small; mnist_small.make('mnist.npz')"` makes the file again from Keras's copy of
MNIST. Grey levels are rounded to 4 bits: the digits look as before, while with 1 bit their outlines become jagged, and
`binarization` has no effect. MNIST-LICENSE.md, beside the file, has the terms.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from kvae.io import atomic, npz
from kvae.types import Array, PathLike

FILE = Path(__file__).with_name("mnist_small.npz")
PER_CLASS = {"train": 800, "test": 200}
STEP = 17  # between neighbouring grey levels: 255 / 15


def split() -> tuple[Array, Array, Array, Array]:
    """Read the images: `(x_train, y_train, x_test, y_test)`, uint8 images `(n, 28, 28)` in multiples of 17."""
    arrays = npz.read(FILE)
    return _unpack(arrays["x_train"]), arrays["y_train"], _unpack(arrays["x_test"]), arrays["y_test"]


def make(source: PathLike, target: PathLike = FILE) -> None:
    """Write the file, from the training and the test images of MNIST as Keras stores them.

    The images of a class are taken at equal distances from all of it, because MNIST's test images are sorted by who
    wrote them: employees of the census, then students, who write less clearly.

    Args:
        source: path of Keras's `mnist.npz`.
        target: path of the file to write.
    """
    given = npz.read(Path(source))
    arrays: dict[str, Any] = {}  # typed as arrays, they would pass for an option of NumPy
    for subset, count in PER_CLASS.items():
        x, y = given[f"x_{subset}"], given[f"y_{subset}"]
        rows = [np.flatnonzero(y == digit) for digit in range(10)]
        chosen = np.sort(np.concatenate([each[np.arange(count) * len(each) // count] for each in rows]))
        arrays |= {f"x_{subset}": _pack(x[chosen]), f"y_{subset}": y[chosen]}
    with atomic.replacing(Path(target)) as aside, aside.open("wb") as file:
        np.savez_compressed(file, **arrays)


def _pack(x: Array) -> Array:
    """Two pixels of 4 bits in each byte, from uint8 grey levels: `(n, 28, 28)` to `(n, 28, 14)`."""
    levels = np.round(x / STEP).astype("uint8")
    return levels[..., ::2] << 4 | levels[..., 1::2]


def _unpack(packed: Array) -> Array:
    levels = np.stack([packed >> 4, packed & 15], axis=-1)
    return STEP * levels.reshape(*packed.shape[:-1], -1)
