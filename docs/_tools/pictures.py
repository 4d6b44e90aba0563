"""Draws the pictures of the documentation that are not in `assets/`: `python docs/_tools/pictures.py`.

Figures of the worksheets are taken from their executed notebooks; the others are computed, without any training.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy.special import expit
from scipy.stats import norm

from kvae.data import shapes
from kvae.plots.canvas import COLORS, LABEL_SIZE, TICK_SIZE, new_figure
from kvae.plots.image_grids import image_grid

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "pictures"
BLUE, ORANGE, RED, GREY = COLORS[:4]

# For each picture, the worksheet, words that its cell alone holds, and which of the cell's pictures it is.
WORKSHEETS = {
    "elbo": ("w04_latent_variable_models", "The gap is KL", 0),
    "naive": ("w04_latent_variable_models", '"10,000 samples of the prior"', 0),
    "kl": ("w07_tighter_bounds_and_collapse", '"KL of each latent dimension"', 0),
    "bounds": ("w07_tighter_bounds_and_collapse", '"Bounds on log p(x)', 0),
    "collapse": ("w07_tighter_bounds_and_collapse", '"KL of each latent dimension"', 1),
    "few_labels": ("w10_half_the_labels", '"Accuracy on test images', 0),
    "adversaries": ("w12_learned_similarity", 'title="Reconstructions"', 0),
}


def from_worksheet(stem: str, words: str, which: int) -> bytes:
    """A PNG of the only cell of an executed worksheet whose code holds these words."""
    cells = json.loads((ROOT / "workshops" / "solutions" / f"{stem}.ipynb").read_text(encoding="utf-8"))["cells"]
    (cell,) = (cell for cell in cells if cell["cell_type"] == "code" and words in "".join(cell["source"]))
    drawn = [output["data"]["image/png"] for output in cell["outputs"] if "image/png" in output.get("data", {})]
    return base64.b64decode(drawn[which])


def flows() -> Figure:
    """Samples of N(0, I) after 0, 1, 2 and 4 planar flows, chosen by hand."""
    z = np.random.default_rng(0).normal(size=(3000, 2))
    colors = np.array(COLORS[:3])[np.digitize(z[:, 0], [-0.6, 0.6])]  # where a point comes from
    steps = [((2.0, 0.0), (0.0, 1.5), 0.0), ((0.0, 1.8), (2.0, 0.0), -0.5), ((-1.0, 1.0), (1.0, 1.0), 0.5)]
    steps += [((1.5, 0.5), (0.3, 1.0), -1.0)]
    figure = new_figure(11, 3.1)
    for axes, number in zip(figure.subplots(1, 4), (0, 1, 2, 4), strict=True):
        points = z
        for u, w, b in steps[:number]:
            points = points + np.array(u) * np.tanh(points @ np.array(w) + b)[:, None]
        axes.scatter(*points.T, s=2, c=colors, alpha=0.5, linewidths=0)
        axes.set(xticks=[], yticks=[], aspect="equal", xlim=(-5.5, 5.5), ylim=(-5.5, 5.5))
        axes.set_title(f"{number} planar flow{'s' * (number != 1)}", fontsize=LABEL_SIZE)
    return figure


def likelihoods() -> Figure:
    """log p of one pixel for a decoder that is about sure of 0.8."""
    x = np.linspace(0, 1, 501)
    mean, s = 0.8, 0.05
    odds = np.log(mean / (1 - mean))  # of a continuous Bernoulli with λ = 0.8
    step = 1 / 255
    levels = np.arange(256) * step
    logistic = expit((levels + step / 2 - mean) / s) - expit((levels - step / 2 - mean) / s)
    curves = {
        '"bernoulli", p = 0.8: a mass at 0 and 1, extended to greys': x * np.log(mean) + (1 - x) * np.log(1 - mean),
        '"continuous_bernoulli", λ = 0.8': x * odds + np.log(odds / np.expm1(odds)),
        '"gaussian", σ = 0.1': norm.logpdf(x, mean, 0.1),
    }
    figure = new_figure(9, 4.2)
    axes = figure.add_subplot()
    for (name, curve), color in zip(curves.items(), (BLUE, ORANGE, RED), strict=True):
        axes.plot(x, curve, color=color, linewidth=2.5, label=name)
    axes.plot(levels, np.log(logistic), ".", color=COLORS[4], markersize=4, label='"discretized_logistic", s = 0.05')
    axes.set_ylim(-9, 6.5)
    axes.set_xlabel("value x of a pixel", fontsize=LABEL_SIZE)
    axes.set_ylabel("log p(x|z), nats", fontsize=LABEL_SIZE)
    axes.tick_params(labelsize=TICK_SIZE)
    axes.legend(fontsize=TICK_SIZE - 2, loc="upper left")
    axes.grid(alpha=0.3)
    return figure


def codebook() -> Figure:
    """Encoder outputs, the codes of a codebook, and the region of the plane that each code stands for."""
    rng = np.random.default_rng(1)
    codes = rng.uniform(-1, 1, size=(8, 2))
    vectors = rng.uniform(-1, 1, size=(18, 2))
    side = np.linspace(-1.2, 1.2, 400)
    plane = np.stack(np.meshgrid(side, side), axis=-1)
    region = np.linalg.norm(plane[:, :, None] - codes, axis=-1).argmin(axis=-1)
    nearest = codes[np.linalg.norm(vectors[:, None] - codes, axis=-1).argmin(axis=-1)]
    figure = new_figure(5.4, 4.6)
    axes = figure.add_subplot()
    axes.pcolormesh(side, side, region, cmap="Pastel1", shading="nearest", rasterized=True)
    for start, end in zip(vectors, nearest, strict=True):
        axes.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": "#404040"})
    axes.plot(*vectors.T, "o", color=BLUE, markersize=7, label="encoder: z_e(x)")
    axes.plot(*codes.T, "s", color=RED, markersize=10, label="codebook: e")
    axes.set(xticks=[], yticks=[], aspect="equal")
    axes.legend(fontsize=TICK_SIZE, loc="upper center", bbox_to_anchor=(0.5, 0), ncols=2, frameon=False)
    return figure


def factors() -> Figure:
    """Images of `load_data("shapes")` with one factor changed in each row."""
    middle = np.array([2, 2, 0, 5, 5])
    columns = 8
    rows = []
    for factor, number in enumerate(shapes.NUM_VALUES):
        row = np.tile(middle, (columns, 1))
        row[:, factor] = np.linspace(0, number - 1, columns).round()
        rows.append(row)
    images = shapes.draw(np.concatenate(rows)).reshape(len(rows), columns, shapes.SIZE, shapes.SIZE, 1)
    return image_grid(images, list(shapes.FACTOR_NAMES))


def hierarchy() -> Figure:
    """What generates what in two layers of codes, and what infers what."""
    figure = new_figure(8, 2.5)
    places = {"x": (0.1, 0.2), "z₁": (0.5, 0.2), "z₂": (0.9, 0.2)}
    for axes, title in zip(figure.subplots(1, 2), ("generation p", "inference q"), strict=True):
        axes.set(xlim=(-0.05, 1.05), ylim=(-0.1, 0.62), aspect="equal")
        axes.axis("off")
        axes.set_title(title, fontsize=LABEL_SIZE)
        for name, place in places.items():
            face = GREY if name == "x" else "white"
            axes.text(*place, name, fontsize=LABEL_SIZE, ha="center", va="center", zorder=3,
                      bbox={"boxstyle": "circle,pad=0.4", "fc": face, "ec": "#404040", "lw": 1.5})  # fmt: skip

        def arrow(start, end, color=BLUE, bend=0.0, axes=axes):
            style = {"arrowstyle": "-|>", "color": color, "lw": 2, "shrinkA": 17, "shrinkB": 17}
            style["connectionstyle"] = f"arc3,rad={bend}"
            axes.annotate("", places[end], places[start], arrowprops=style)

        if title == "generation p":
            arrow("z₂", "z₁")
            arrow("z₁", "x")
            arrow("z₂", "x", bend=0.35)
        else:
            arrow("x", "z₂", color=ORANGE, bend=-0.35)
            arrow("x", "z₁", color=ORANGE)
            arrow("z₂", "z₁")
    return figure


def main() -> None:
    """Write all pictures."""
    FOLDER.mkdir(exist_ok=True)
    for name, place in WORKSHEETS.items():
        (FOLDER / f"{name}.png").write_bytes(from_worksheet(*place))
    for draw in (flows, likelihoods, codebook, factors, hierarchy):
        draw().savefig(FOLDER / f"{draw.__name__}.png", dpi=72)


if __name__ == "__main__":
    main()
