"""A callback that saves latent traversals during training."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from kvae import evaluation, plots
from kvae.callbacks.pictures import Picture, select
from kvae.evaluation.latent_usage import factorises
from kvae.models import conditions
from kvae.plots.latent_space import MAX_TRAVERSED
from kvae.types import ArrayLike, PathLike

KL_EXAMPLES = 500  # whose mean KL is written next to each dimension


class LatentTraversal(Picture):
    """Plot how the decoded image changes along each latent dimension, with the KL of each where there is one.

    The dimensions, the first 12, are always in the same order, so that pictures of different epochs can be compared.
    For the strongest first, use `plots.traversal` with `kl=` after training.

    Args:
        folder: str or path.
        x: images `(n, *image_shape)`; the traversal starts at the code of the first, and the KL is the mean over the
            first 500.
        y: their conditions, for a CVAE.
        every: int, number of epochs between figures.
        tensorboard: log directory, or `None`.

    Raises:
        ValueError: as for `Picture`; also, before training starts, if images or labels do not match the model.

    Example:

    >>> pictures = kvae.callbacks.LatentTraversal("runs/first", data.x_test, every=10)
    >>> history = model.fit(data.x_train, epochs=60, callbacks=[pictures])
    """

    name = "latent_traversal"

    def __init__(
        self,
        folder: PathLike,
        x: ArrayLike,
        y: Any = None,
        every: int = 1,
        tensorboard: PathLike | None = None,
    ) -> None:
        super().__init__(folder, every, tensorboard)
        self.x, self.y = select(x, y, slice(KL_EXAMPLES))

    def figure(self, epoch: int) -> Figure:
        model, first = self.model, slice(1)
        label = conditions.take(self.y, 0)
        z = model.encode(*select(self.x, self.y, first))[0]
        kl = None
        if factorises(model):
            kl = evaluation.kl_per_dimension(model, self.x, self.y)
        dims = range(min(model.latent_dim, MAX_TRAVERSED))
        return plots.traversal(model, z, label, dims=dims, title=f"Latent traversal after epoch {epoch}", kl=kl)
