"""Tables and pictures of `growth.py`, and the model of a cluster."""

import math
import statistics

from kvae.plots.canvas import COLORS, LABEL_SIZE, TICK_SIZE, new_figure

from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from results import columns, markdown, spread

TRAINING, EVALUATION, LIKELIHOOD = "training", "evaluation", "log p(x)"
MACHINES, GBITS, LATENCY = (8, 64), (1, 10), 50e-6  # LATENCY: seconds per message
BATCHES = (128, 1024)  # per machine, at which the table gives the speed-up


def sent(parameters, machines):
    """Bytes that each machine sends per step: a ring all-reduce of float32 gradients, 2 (N − 1) / N of their size."""
    return 4 * parameters * 2 * (machines - 1) / machines


def communication(parameters, machines, gbits):
    """Seconds per step: the bytes at `gbits` · 10⁹ bits per second, and the latency of 2 (N − 1) messages in turn."""
    return 8 * sent(parameters, machines) / (gbits * 1e9) + 2 * (machines - 1) * LATENCY


def speed_up(batch, seconds, parameters, machines, gbits):
    """Images per second of `machines` with `batch` images each, `seconds` per image, relative to one machine."""
    arithmetic = batch * seconds
    return machines * arithmetic / (arithmetic + communication(parameters, machines, gbits))


def least_batch(seconds, parameters, machines, gbits):
    """The smallest batch per machine for half of the ideal speed-up: arithmetic takes as long as communication."""
    return math.ceil(communication(parameters, machines, gbits) / seconds)


def curves(axis, results):
    """Dict from the names of curves to dicts from the values of an axis, in order, to the times of all rounds."""
    found = {}
    for key, record in results["records"].items():
        value, _, kind = key.removeprefix(f"{axis}=").partition(", ")
        if not key.startswith(f"{axis}="):
            continue
        scale = int(value) if axis == "n" else 1e6 * int(value) if kind == LIKELIHOOD else 1e6
        for name, rates in columns(record).items():
            name = f"{name}, {kind}" if kind else name
            found.setdefault(name, {})[int(value)] = [scale / rate for rate in rates]
    return {name: dict(sorted(curve.items())) for name, curve in found.items()}


def slope(curve):
    """The slope of a log-log curve between its last two points, as text; empty if there is one point."""
    if len(curve) < 2:
        return ""
    (x, y), (x_last, y_last) = ((value, statistics.median(times)) for value, times in list(curve.items())[-2:])
    return f"{math.log(y_last / y) / math.log(x_last / x):.2f}".replace("-", "−")


def table(axis, about, results):
    """Times of an axis in Markdown, with the slopes in the last row; `about` is its `growth.Axis`."""
    found = curves(axis, results)
    values = sorted({value for curve in found.values() for value in curve})
    rows = [
        (f"{value:,}", *(spread(curve[value], about.form) if value in curve else "–" for curve in found.values()))
        for value in values
    ]
    rows.append(("slope at the end", *(slope(curve) or "–" for curve in found.values())))
    skipped = {}
    for key, record in results["records"].items():
        if key.startswith(f"{axis}="):
            skipped |= record["left_out"]
    parts = [f"### {about.title}: {about.unit}", markdown((about.label, *found), rows)]
    return "\n\n".join(parts + [f"Skipped: {name} ({reason})." for name, reason in skipped.items()])


def cluster_table(found):
    """What each machine computes and sends per step, and from which batch on it pays, in Markdown."""
    rows = []
    for name, (seconds, weights) in found.items():
        for machines in MACHINES:
            for gbits in GBITS:
                where = weights, machines, gbits
                rates = (f"{speed_up(batch, seconds, *where):.1f}" for batch in BATCHES)
                size, pause = sent(weights, machines) / 1e6, 1000 * communication(*where)
                row = name, f"{weights:,}", f"{1e6 * seconds:.1f}", machines, gbits, f"{size:.2f}", f"{pause:.1f}"
                rows.append((*row, *rates, f"{least_batch(seconds, *where):,}"))
    header = ("network", "parameters", "µs per image", "machines", "Gbit/s", "MB sent per step", "ms for it")
    header += (*(f"speed-up, {batch:,} images per machine" for batch in BATCHES), "half of the ideal from")
    return "\n\n".join(["### A cluster, on paper: from which batch per machine on it pays", markdown(header, rows)])


def picture(axis, about, results):
    """Plot times on log axes: training solid, evaluation dashed, each curve named at its end, with its slope."""
    figure = new_figure(13, 7, f"{about.title}: {about.unit}, and slopes at the end")
    axes, ends, colors = figure.subplots(), {}, {}
    found = curves(axis, results)
    for name, curve in found.items():
        who, _, kind = name.partition(", ")
        color = colors.setdefault(kind if axis == "workers" else who, COLORS[(0, 4, 6, 8)[len(colors) % 4]])
        medians = [statistics.median(times) for times in curve.values()]
        below = [middle - min(times) for middle, times in zip(medians, curve.values(), strict=True)]
        above = [max(times) - middle for middle, times in zip(medians, curve.values(), strict=True)]
        style = {"color": color, "marker": "o", "linewidth": 2.5, "linestyle": "-" if TRAINING in name else "--"}
        axes.errorbar(list(curve), medians, (below, above), capsize=4, **style)
        ends[f"{name}, slope {slope(curve)}" if slope(curve) else name] = (list(curve)[-1], medians[-1], color)
    _name_ends(_log_axes(axes, sorted({x for curve in found.values() for x in curve})), ends)
    axes.set_xlabel(about.label, fontsize=LABEL_SIZE)
    axes.set_ylabel(about.unit, fontsize=LABEL_SIZE)
    return figure


def cluster_picture(found):
    """Plot the speed-up against the batch per machine, a panel per network."""
    figure = new_figure(13, 9, "A cluster, on paper: speed-up over one machine (dotted: half of the ideal)")
    batches = [2**power for power in range(5, 15)]
    panels = figure.subplots(2, 2, sharex=True, sharey=True).flat
    for axes, (name, measured) in zip(panels, found.items(), strict=False):  # those measured so far
        for line, machines in zip(("--", "-"), MACHINES, strict=True):
            axes.axhline(machines / 2, color=COLORS[3], linestyle=":", linewidth=2)
            for color, gbits in zip((COLORS[0], COLORS[6]), GBITS, strict=True):
                gained = [speed_up(batch, *measured, machines, gbits) for batch in batches]
                label = f"{machines} machines, {gbits} Gbit/s"
                axes.plot(batches, gained, line, color=color, linewidth=2.5, label=label)
        _log_axes(axes, batches[1::2])
        axes.set_title(name, fontsize=LABEL_SIZE)
        axes.set_xlabel("images per machine and step", fontsize=TICK_SIZE)
        axes.label_outer()
    figure.axes[0].legend(fontsize=TICK_SIZE)
    return figure


def _log_axes(axes, values):
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_major_locator(FixedLocator(values))
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    for side in (axes.xaxis, axes.yaxis):
        side.set_minor_locator(NullLocator())
        side.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}"))
    axes.tick_params(labelsize=TICK_SIZE)
    axes.grid(alpha=0.3)
    return axes


def _name_ends(axes, ends):
    """Write names next to the ends of curves, shifted so that they do not overlap."""
    low, high = axes.get_ylim()
    gap = (high / low) ** 0.06  # height of a text line, as a factor on the log axis
    place = 0.0
    for name, (x, y, color) in sorted(ends.items(), key=lambda item: item[1][1]):
        place = max(y, place * gap)
        axes.annotate(
            name, (x, y), (1.02, place), xycoords="data", textcoords=axes.get_yaxis_transform(), va="center",
            color=color, fontsize=TICK_SIZE, annotation_clip=False,
        )  # fmt: skip
