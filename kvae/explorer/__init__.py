"""Pages to explore the latent space of a model in the browser: one HTML file, without a server or a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kvae import checks
from kvae.explorer.calls import UnsupportedError
from kvae.explorer.contents import contents
from kvae.explorer.page import Page, in_notebook
from kvae.models.base import BaseModel
from kvae.types import ArrayLike, PathLike

__all__ = ["Page", "explore"]


def explore(
    model: Any,
    x: ArrayLike | None = None,
    y: Any = None,
    out: PathLike | None = None,
    class_names: Sequence[str] | Mapping[int, str] | None = None,
    title: str | None = None,
    sheet: bool = False,
    seed: int = 0,
) -> Page:
    """A page to drag through a model's latent space, in a notebook or as one HTML file.

    The decoder runs in the page, with weights in half precision: its images differ from `model.decode` by at most about
    0.002. Decoders of more than 2,097,152 weights, or 16,777,216 products of a number and a weight per image, would
    make the page too large or too slow; it then holds a sheet of decoded images, of which the nearest is shown.

    A latent space of up to 12 dimensions is shown as it is, two of them as a plane, the others on sliders; of a larger
    one, the 12 principal components of the codes of `x`. The page says so.

    Args:
        model: a kvae model with a decoder.
        x: training data `(n, *image_shape)`, whose codes are drawn as points, 2,000 of them at most; `None` for none.
        y: their conditions, for a conditional model; or class labels `(n,)` to colour the points by.
        out: path of the HTML file; `None` in a notebook.
        class_names: one string per class, indexed by the label; `None` for the class numbers.
        title: heading of the page; `None` for the model's class.
        sheet: whether to decode in advance whatever the size, as for layers that a page cannot compute.
        seed: int, of the choice of points.

    Returns:
        A `Page`, which a notebook shows; its `html` is the file's content.

    Raises:
        ValueError: for a model without a decoder, a layer that the page cannot compute, or images or labels that do not
            fit the model; outside a notebook, if there is no `out`.

    Example:

    >>> page = kvae.explore(model, data.x_train, data.y_train, out="page.html")
    """
    if not isinstance(model, BaseModel) or not hasattr(model, "decoder"):
        raise ValueError(
            "`model` must be a kvae model with a decoder, such as a VAE or an Autoencoder. "
            f"Received: {type(model).__name__}"
        )
    if out is None and not in_notebook():
        raise ValueError(
            '`out` must name a file outside a notebook, such as out="page.html", to open in a browser. Received: None'
        )
    examples: Any = None if x is None else model.check_images(x)
    if examples is None:
        y = None
    elif model.conditions is not None:
        y = model.check_condition(y, len(examples))
    elif y is not None:
        y = np.asarray(y)
        checks.same_length(y, len(examples), "y")
    try:
        data, notes = contents(model, examples, y, class_names, sheet, checks.seed(seed) or 0)
    except UnsupportedError as error:
        raise ValueError(
            "`model` must have a decoder of layers that a page can compute: use sheet=True (--sheet) for images "
            f"decoded in advance. Received: {error}"
        ) from error
    page = Page(title or type(model).__name__, data, notes)
    if out is not None:
        page.save(out)
    return page
