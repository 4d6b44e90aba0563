"""The ladder's picture: a row a method, a column a question."""

import numpy as np

from kvae.plots.canvas import LABEL_SIZE, TITLE_SIZE, new_figure
from kvae.plots.image_grids import draw_images
from kvae.plots.scatter import draw_scatter

SIDE = 4  # images in each of the two rows that a method has in a column
COLUMNS = ("real, reconstructed", "random codes z ~ N(0, I)", "interpolation", "codes of test images")


def ladder(rungs, x, labels, title="The ladder"):
    """Draw what each method of `kvae.ladder.climb` reached.

    Args:
        rungs: list of `kvae.ladder.Rung`.
        x: the test images `(n, *image_shape)` that the rungs' reconstructions begin with.
        labels: their labels `(n,)`, for the colours of the codes.
        title: str.

    Returns:
        A `matplotlib.figure.Figure`: a row a method with its numbers, its reconstructions under the originals, decoded
        random codes, an interpolation and its codes.
    """
    figure = new_figure(21, 3.1 * len(rungs) + 0.8, title)
    figure.get_layout_engine().set(wspace=0.03)
    grid = figure.add_gridspec(len(rungs), 5, width_ratios=(3, 5, 5, 5, 3))
    handles = []
    for row, rung in enumerate(rungs):
        axes = [figure.add_subplot(grid[row, column]) for column in range(5)]
        axes[0].axis("off")
        numbers = [
            f"reconstruction MSE {rung.reconstruction_mse:.4f}",
            f"Fréchet distance {rung.frechet_distance:.2f}\n(fitted codes {rung.frechet_distance_fitted:.2f})",
            f"probe accuracy {rung.probe_accuracy:.1%}",
            f"{rung.seconds:.1f} s",
        ]
        axes[0].text(0, 0.98, rung.name, fontsize=TITLE_SIZE, weight="bold", va="top")
        axes[0].text(0, 0.76, "\n".join(numbers), fontsize=LABEL_SIZE, va="top", linespacing=1.5)
        columns = [np.concatenate([x[:SIDE], rung.reconstructions[:SIDE]]), rung.random, rung.interpolation]
        for axis, images in zip(axes[1:4], columns, strict=True):
            draw_images(axis, images[: 2 * SIDE].reshape(2, SIDE, *images.shape[1:]))
        handles = draw_scatter(axes[4], rung.z, labels[: len(rung.z)], inches=2.6)
        if row == 0:
            for axis, name in zip(axes[1:], COLUMNS, strict=True):
                axis.set_title(name, fontsize=TITLE_SIZE)
    figure.legend(
        handles=handles, loc="outside lower center", ncols=10, fontsize=LABEL_SIZE, markerscale=1.6, frameon=False
    )
    return figure
