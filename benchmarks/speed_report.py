"""Tables and the figure of `speed.py`, from its saved results."""

import statistics

from kvae import plots
from kvae.plots.canvas import COLORS, LABEL_SIZE, TICK_SIZE, new_figure

from results import columns, heading, markdown, spread
from speed_cases import ASKED, CASES, FRESH, KVAE, KVAE_JAX, Asked

SUBJECTS = {
    "mlp": "MLP",
    "jax": "MLP, three epochs",
    "conv": "convolutional",
    "iwae50": "IWAE, k = 50",
    "likelihood": "log p(x)",
    "startup": "start-up",
    "memory": "MNIST fit's memory",
    "large": "300,000 images",
    "generate": "generation",
    "methods": "methods",
}
SIDES = {False: "Rates: at least", True: "Costs: at most"}


def ratios(results, asked):
    """The ratios of all rounds in which both ran, in order; empty if there are none."""
    rounds = results["records"].get(asked.case, {"rounds": []})["rounds"]
    found = []
    for row in rounds:
        under = asked.under if isinstance(asked.under, float) else row.get(asked.under)
        if asked.over in row and under:
            found.append(row[asked.over] / under)
    return found


def described(asked):
    """The ratio of an `Asked`, in words."""
    if asked.under == 1:
        return asked.over
    if isinstance(asked.under, float):
        return f"{asked.over}, fraction of {asked.under:g} {'s' if asked.case == 'startup' else 'MB'}"
    return f"{asked.over} / {asked.under}"


def tables(results):
    """All tables, in Markdown."""
    parts, rows = heading(results), []
    for asked in ASKED:
        values = ratios(results, asked)
        sign = "≤" if asked.at_most else "≥"
        if values:
            each = " ".join(f"{value:.2f}" for value in values)
            rows.append((asked.case, described(asked), f"{sign} {asked.value:g}", spread(values, "{:.2f}"), each))
    if rows:
        header = ("case", "ratio", "target", "measured", "per round")
        parts.append("### Targets\n\n" + markdown(header, rows))
    parts += [_case(name, results) for name in CASES if name in results["records"]]
    parts += [_fresh(name, results) for name in FRESH if name in results["records"]]
    return "\n\n".join(parts)


def _case(name, results):
    case, record = CASES[name], results["records"][name]
    rows = []
    for other, rates in columns(record).items():
        ours = [ratios(results, Asked(name, kvae, other, 0)) if kvae != other else [] for kvae in (KVAE, KVAE_JAX)]
        cells = [spread(values, "{:.2f}") if values else "–" for values in ours]
        check = f"{record['checks'][other]:.3f}" if other in record["checks"] else "–"
        rows.append((other, spread(rates, "{:,.0f}"), *cells, check))
    header = ("contestant", case.unit, f"{KVAE} / it", f"{KVAE_JAX} / it", case.check)
    parts = [f"### {case.title}", markdown(header, rows), *_missing({**case.missing, **record["left_out"]})]
    if record["checks"]:
        low, high = min(record["checks"].values()), max(record["checks"].values())
        parts.append(
            f"After training the same model on the same data, {case.check} is between {low:.3f} and {high:.3f}."
        )
    return "\n\n".join(parts)


def _missing(left_out):
    """The lines of the tables on contestants that did not take part."""
    return [f"Skipped: {'; '.join(f'{name} ({reason})' for name, reason in left_out.items())}."] if left_out else []


def _fresh(name, results):
    record = results["records"][name]
    form = "{:.0f}" if name in ("memory", "large") else "{:.2f}"
    rows = [(label, spread(values, form)) for label, values in columns(record).items()]
    return "\n\n".join(
        [f"### {FRESH[name].title}", markdown(("what", "measured"), rows), *_missing(record["left_out"])]
    )


def draw(results, folder):
    """Write `speed.png` to `folder`, without what was not measured."""
    asked = [a for a in ASKED if ratios(results, a)]
    if asked:
        plots.save(bars(asked, results), folder / "speed.png")


def bars(asked, results):
    """Plot ratios as horizontal bars, with whiskers for the smallest and largest round, and a line at the target."""
    titles = {at_most: f"{words} red line: target (grey: not reached)" for at_most, words in SIDES.items()}
    groups = {at_most: [a for a in asked if a.at_most == at_most] for at_most in titles}
    groups = {titles[at_most]: group for at_most, group in groups.items() if group}
    heights = [len(group) + 0.8 for group in groups.values()]
    cores = results["machine"]["cores"]
    figure = new_figure(13, 1.6 + 0.62 * sum(heights), f"kvae and other libraries on {cores} CPU cores")
    panels = figure.subplots(len(groups), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axes, (title, group) in zip(panels, groups.items(), strict=True):
        for row, a in enumerate(group):
            values = ratios(results, a)
            middle = statistics.median(values)
            reached = middle <= a.value if a.at_most else middle >= a.value
            axes.barh(row, middle, height=0.62, color=COLORS[0] if reached else COLORS[3])
            axes.plot((min(values), max(values)), (row, row), color="black", linewidth=1.5)
            axes.plot((a.value, a.value), (row - 0.42, row + 0.42), color=COLORS[2], linewidth=3)
            end, beside = (max(*values, a.value), row), {"textcoords": "offset points", "va": "center"}
            axes.annotate(f"{middle:.2f}", end, (6, 0), fontsize=LABEL_SIZE, **beside)
        axes.set_yticks(range(len(group)), [f"{SUBJECTS[a.case]}: {described(a)}" for a in group], fontsize=TICK_SIZE)
        axes.invert_yaxis()
        axes.set_title(title, fontsize=LABEL_SIZE, loc="left")
        axes.tick_params(axis="x", labelsize=TICK_SIZE)
        axes.margins(x=0.08)
        axes.set_xlim(left=0)
        axes.spines[["top", "right"]].set_visible(False)
    return figure
