"""Figures for lecture slides: 16:9, large type, one message each.

    python workshops/slides.py --out slides            all of them, 1920 × 1080 pixels
    python workshops/slides.py --out slides collapse   one

All numbers are computed from closed forms, on toy models with a known log p(x), or from seeded samples.
"""

import argparse

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch
from scipy.special import logsumexp
from scipy.stats import norm

import kvae
from kvae.plots.canvas import COLORS

BLUE, ORANGE, RED = COLORS[:3]
GREY = "#404040"
TITLE, TEXT, TICK = 34, 26, 22  # points on a slide of 13.3 inches: legible from the last row


def main():
    """Draw the requested slides."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"default: all of {', '.join(SLIDES)}")
    parser.add_argument("--out", metavar="DIR", required=True, help="folder to write PNGs to")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(SLIDES):
        parser.error(f"NAME must be one of {', '.join(SLIDES)}. Received: {', '.join(sorted(unknown))}")
    for name in arguments.names or SLIDES:
        print(kvae.plots.save(SLIDES[name](), f"{arguments.out}/{name}.png"))


# A toy model with closed forms for all integrals: z ~ N(0, 1), x ~ N(z, 1), so p(x) = N(0, 2) and p(z|x) = N(x/2, ½).


def decomposition(x=2.0):
    """Exact log p(x) = ELBO + KL(q ‖ p(z|x)) for a sequence of q that approaches p(z|x)."""
    figure, axes = slide("The ELBO rises only by closing the gap")
    evidence = norm.logpdf(x, 0, np.sqrt(2))
    families = [(-0.5, 1.0), (0.0, 1.0), (0.5, 1.0), (0.8, 0.9), (x / 2, np.sqrt(0.5))]  # (μ, σ) of q
    elbos = [gaussian_elbo(x, mean, std) for mean, std in families]
    places = np.arange(len(families))
    bottom = min(elbos) - 0.5
    axes.bar(places, np.array(elbos) - bottom, bottom=bottom, color=BLUE, width=0.62, label="ELBO")
    axes.bar(
        places, evidence - elbos, bottom=elbos, color=ORANGE, width=0.62, hatch="//", label="KL[ q(z) ‖ p(z | x) ]"
    )
    axes.axhline(evidence, color=RED, linewidth=5)
    axes.text(
        4.42, evidence + 0.06, "log p(x): the same for every q", color=RED, fontsize=TEXT, ha="right", va="bottom"
    )
    axes.set_xticks(places, [f"N({mean:g}, {std**2:.2g})".replace("-", "−") for mean, std in families])
    axes.set_xlabel(f"q(z), closer and closer to the posterior p(z | x = {x:g}) = N({x / 2:g}, 0.5)", fontsize=TEXT)
    axes.set_ylabel("nats", fontsize=TEXT)
    axes.set_ylim(bottom, evidence + 1.1)
    axes.legend(fontsize=TEXT, loc="upper center", ncols=2, framealpha=1)
    return figure


def gaussian_elbo(x, mean, std):
    """E_q[log N(x | z, 1)] − KL(q ‖ N(0, 1)) for q = N(mean, std²), in closed form."""
    reconstruction = -0.5 * (np.log(2 * np.pi) + (x - mean) ** 2 + std**2)
    return reconstruction - 0.5 * (std**2 + mean**2 - 2 * np.log(std) - 1)


def reparameterization():
    """Two graphs: a sampling node blocks the gradient, noise from outside lets it pass."""
    figure = empty("Move the randomness out of the gradient's path")
    before, after = figure.subplots(1, 2)
    for axes, title in ((before, "z drawn from q"), (after, "z computed from noise")):
        axes.set(xlim=(0, 10), ylim=(0, 10.4), aspect="equal")
        axes.axis("off")
        axes.text(5, 10, title, fontsize=TEXT + 2, ha="center", va="center", weight="bold")
    for axes in (before, after):
        box(axes, (3.2, 1), "encoder: μ, σ")
        box(axes, (3.2, 8.4), "loss")
        arrow(axes, (2.7, 1.8), (2.7, 3.75), GREY)
        arrow(axes, (2.7, 6.15), (2.7, 7.6), GREY)
        arrow(axes, (3.9, 7.6), (3.9, 6.15), BLUE)
    circle(before, (3.3, 4.95), 1.15, "z ~ q", ORANGE)
    before.text(3.9, 2.75, "✗", fontsize=44, color=RED, ha="center", va="center", weight="bold")
    before.text(4.6, 2.75, "no derivative of\na random draw", fontsize=TICK, color=RED, va="center")
    box(after, (3.3, 4.95), "z = μ + σ · ε", height=2.2, width=5)
    arrow(after, (3.9, 3.75), (3.9, 1.8), BLUE)
    circle(after, (8.6, 4.95), 0.95, "ε", ORANGE)
    arrow(after, (7.6, 4.95), (5.9, 4.95), GREY)
    after.text(8.6, 3.5, "ε ~ N(0, 1)", fontsize=TICK, ha="center", va="center")
    after.text(4.4, 2.75, "∂z/∂μ = 1,  ∂z/∂σ = ε", fontsize=TICK, color=BLUE, va="center")
    before.text(4.4, 6.9, "gradient", fontsize=TICK, color=BLUE, va="center")
    after.text(4.4, 6.9, "gradient", fontsize=TICK, color=BLUE, va="center")
    return figure


def importance():
    """Estimates of log p(x) from samples of the prior and of a good proposal, against the number of samples."""
    figure, axes = slide("Sample z where the posterior is")
    numbers = np.logspace(0, 4, 13).astype(int)
    for name, proposal, color, marker in (("the prior p(z)", False, ORANGE, "s"), ("q(z | x)", True, BLUE, "o")):
        estimates = np.array([toy_estimates(n, proposal, repeats=100, seed=n) for n in numbers])
        low, middle, high = np.quantile(estimates, (0.05, 0.5, 0.95), axis=1)
        axes.fill_between(numbers, low, high, color=color, alpha=0.3)
        axes.plot(numbers, middle, color=color, linewidth=5, marker=marker, markersize=13, label=f"z from {name}")
    axes.axhline(TOY_EVIDENCE, color=RED, linewidth=4, linestyle="--", label="exact log p(x)")
    axes.set_xscale("log")
    axes.set_ylim(TOY_EVIDENCE - 60, TOY_EVIDENCE + 8)
    axes.set_xlabel(f"samples of z ∈ ℝ$^{{{TOY_DIM}}}$ (median and central 90% of the estimates)", fontsize=TEXT)
    axes.set_ylabel("estimate of log p(x), nats", fontsize=TEXT)
    axes.legend(fontsize=TEXT, loc="lower right", framealpha=1)
    return figure


def bounds():
    """Importance-weighted bounds against K, for the toy model: from the ELBO up to log p(x)."""
    figure, axes = slide("More samples, a tighter bound")
    numbers = [1, 2, 5, 10, 50, 500]
    values = [toy_estimates(k, True, repeats=200_000 // k, seed=k).mean() for k in numbers]
    places = np.arange(len(numbers))
    bottom = values[0] - 0.6
    axes.bar(
        places, np.array(values) - bottom, bottom=bottom, width=0.7, color=[BLUE] + [COLORS[9]] * 5, edgecolor=GREY
    )
    axes.axhline(TOY_EVIDENCE, color=RED, linewidth=5)
    axes.text(-0.35, TOY_EVIDENCE + 0.04, "log p(x)", color=RED, fontsize=TEXT, ha="left", va="bottom")
    for place, value in zip(places, values, strict=True):
        gap = f"gap {TOY_EVIDENCE - value:.2f}" if TOY_EVIDENCE - value > 0.01 else "< 0.01"
        axes.text(
            place, value - 0.06, gap, fontsize=TICK - 2, ha="center", va="top", color="white" if place == 0 else "black"
        )
    axes.set_xticks(places, ["ELBO\nK = 1", *(f"IWAE\nK = {k}" for k in numbers[1:])])
    axes.set_ylabel("bound, nats", fontsize=TEXT)
    axes.set_ylim(bottom, TOY_EVIDENCE + 0.35)
    return figure


# z ~ N(0, I) in ten dimensions, x ~ N(z, s²I): p(x) = N(0, 1 + s²), p(z|x) = N(m x, m s²), m = 1 / (1 + s²), in each
# dimension. The proposal is close but imperfect, like a trained encoder: the right mean, but too wide.
TOY_DIM, TOY_STD, TOY_WIDTH = 10, 0.2, 1.4
TOY_X = np.random.default_rng(1).normal(0, 1, TOY_DIM)
TOY_EVIDENCE = norm.logpdf(TOY_X, 0, np.sqrt(1 + TOY_STD**2)).sum()


def toy_estimates(n, proposal, repeats, seed):
    """`repeats` estimates log (1/n) Σ p(x|z)p(z)/q(z), with z from the proposal or from the prior."""
    rng = np.random.default_rng(seed)
    shrink = 1 / (1 + TOY_STD**2)
    mean, std = (shrink * TOY_X, TOY_WIDTH * TOY_STD * np.sqrt(shrink)) if proposal else (0 * TOY_X, 1.0)
    z = mean + std * rng.standard_normal((repeats, n, TOY_DIM))
    log_weights = norm.logpdf(TOY_X, z, TOY_STD) + norm.logpdf(z) - norm.logpdf(z, mean, std)
    return logsumexp(log_weights.sum(axis=2), axis=1) - np.log(n)


def collapse(sigma=0.1, shown=(1, 4, 8, 16, 32)):
    """KL of latent dimensions of the optimal linear β-VAE of the digits: ½ log(λ / βσ²) if λ > βσ², else 0.

    λ are the eigenvalues of the covariance. For β = 1 the model is probabilistic PCA (Lucas et al. 2019,
    https://arxiv.org/abs/1911.02469); another β has the effect of a noise variance of βσ².
    """
    figure, axes = slide("The larger β, the fewer dimensions are used")
    x = kvae.load_data("digits").x_train
    eigenvalues = np.linalg.eigvalsh(np.cov(x.reshape(len(x), -1), rowvar=False, bias=True))[::-1]
    for rank, color in zip(shown, COLORS[:3] + COLORS[4:6], strict=True):
        end = eigenvalues[rank - 1] / sigma**2  # the β at which it collapses
        axes.plot([1, end], [0.5 * np.log(end), 0], color=color, linewidth=6)
        axes.plot(end, 0, "o", color=color, markersize=18, clip_on=False, zorder=5)
        axes.annotate(
            ordinal(rank), (end, 0), (10, 16), textcoords="offset points", fontsize=TEXT, color=color, weight="bold"
        )
    axes.set_xscale("log")
    axes.set(xlim=(1, 120), ylim=(0, None), yticks=(0, 0.5, 1, 1.5, 2))
    axes.set_xticks([1, 2, 5, 10, 20, 50, 100], ["1", "2", "5", "10", "20", "50", "100"])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("β, the weight of the KL", fontsize=TEXT)
    axes.set_ylabel("KL per dimension, nats", fontsize=TEXT)
    note = "optimal linear VAE of the 8×8 digits, in closed form\n● the 1st, 4th, … dimension collapses here"
    axes.text(1, 0.98, note, fontsize=TICK, ha="right", va="top", transform=axes.transAxes)
    return figure


# Shared by all slides


def ordinal(number):
    """A number as an ordinal: 1st, 2nd, 3rd, 4th."""
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def empty(title):
    """A 16:9 figure with a title."""
    figure = Figure(figsize=(40 / 3, 7.5), dpi=144, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.2, h_pad=0.2)
    figure.suptitle(title, fontsize=TITLE)
    return figure


def slide(title):
    """A 16:9 figure with one axes."""
    figure = empty(title)
    axes = figure.add_subplot()
    axes.tick_params(labelsize=TICK)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def box(axes, center, text, width=4.6, height=1.6):
    """A rounded box with text, for a computed value."""
    corner = (center[0] - width / 2, center[1] - height / 2)
    axes.add_patch(
        FancyBboxPatch(corner, width, height, boxstyle="round,pad=0,rounding_size=0.25", fc="white", ec=GREY, lw=3)
    )
    axes.text(*center, text, fontsize=TEXT, ha="center", va="center")


def circle(axes, center, radius, text, color):
    """A filled circle with text, for a random value."""
    axes.add_patch(Circle(center, radius, fc=color, ec=GREY, lw=3))
    axes.text(*center, text, fontsize=TEXT, ha="center", va="center")


def arrow(axes, start, end, color):
    """A straight arrow."""
    axes.add_patch(
        FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=34, lw=4.5, color=color, shrinkA=0, shrinkB=0)
    )


SLIDES = {
    "decomposition": decomposition,
    "reparameterization": reparameterization,
    "importance": importance,
    "bounds": bounds,
    "collapse": collapse,
}

if __name__ == "__main__":
    main()
