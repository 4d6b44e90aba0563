"""Tables and figures of `speed.py`, from its saved results."""

import json
import statistics

from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator
from speed_cases import ASKED, CASES, CURVES, FRESH, GROWERS, KVAE, KVAE_JAX, Asked

from kvae import plots
from kvae.io import atomic
from kvae.plots.canvas import COLORS, LABEL_SIZE, TICK_SIZE, new_figure

SUBJECTS = {
    "mlp": "MLP",
    "conv": "convolutional",
    "likelihood": "log p(x)",
    "startup": "start-up",
    "memory": "MNIST fit's memory",
    "generate": "generation",
    "methods": "methods",
}
SIDES = {False: "Rates: at least", True: "Costs: at most"}
SHORT_NOTE = "**`--short`: one tiny round. These numbers do not measure speed.**"


def write_json(path, content):
    """Write JSON atomically: an interruption leaves either the old file or the new one."""
    atomic.make_folder(path.parent)
    with atomic.replacing(path) as aside:
        aside.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def ratios(results, asked):
    """The ratios of all rounds in which both ran, in order; empty if there are none."""
    rounds = results["records"].get(asked.case, {"rounds": []})["rounds"]
    found = []
    for row in rounds:
        under = asked.under if isinstance(asked.under, float) else row.get(asked.under)
        if asked.over in row and under:
            found.append(row[asked.over] / under)
    return found


def spread(values, form):
    """The median, with the smallest and largest value."""
    middle = form.format(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} ({form.format(min(values))} to {form.format(max(values))})"


def columns(record):
    """Dict from contestants, in the order of the rounds, to their numbers."""
    names = dict.fromkeys(name for row in record["rounds"] for name in row)
    return {name: [row[name] for row in record["rounds"] if name in row] for name in names}


def markdown(header, rows):
    """A Markdown table."""
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in (header, ["---"] * len(header), *rows))


def described(asked):
    """The ratio of an `Asked`, in words."""
    if asked.under == 1:
        return asked.over
    if isinstance(asked.under, float):
        return f"{asked.over}, fraction of {asked.under:g} MB"
    return f"{asked.over} / {asked.under}"


def tables(results):
    """All tables, in Markdown."""
    about = ", ".join(f"{key} {value}" for key, value in results["machine"].items())
    parts = [f"Measured on: {about}. Rounds: {results['rounds']}; the median, with the smallest and largest round."]
    if results["short"]:
        parts.append(SHORT_NOTE)
    rows = []
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
    parts += [_curve(name, results) for name in CURVES if points(name, results)]
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
    form = "{:.0f}" if name == "memory" else "{:.2f}"
    rows = [(label, spread(values, form)) for label, values in columns(record).items()]
    return "\n\n".join(
        [f"### {FRESH[name].title}", markdown(("what", "measured"), rows), *_missing(record["left_out"])]
    )


def points(axis, results):
    """Dict from the measured values of a growth curve to their `columns`."""
    found = {value: results["records"].get(f"{axis}={value}") for value in CURVES[axis].tasks}
    return {value: columns(record) for value, record in found.items() if record}


def _curve(axis, results):
    rows = [
        (value, *(spread(rates[name], "{:,.0f}") if name in rates else "–" for name in GROWERS))
        for value, rates in points(axis, results).items()
    ]
    title = f"### {CURVES[axis].title}: images/s of the MLP"
    left_out = next(results["records"][f"{axis}={value}"]["left_out"] for value in points(axis, results))
    return "\n\n".join([title, markdown((CURVES[axis].label, *GROWERS), rows), *_missing(left_out)])


def draw(results, folder):
    """Write `speed.png` and `speed_AXIS.png` to `folder`, without what was not measured."""
    asked = [a for a in ASKED if ratios(results, a)]
    if asked:
        plots.save(bars(asked, results), folder / "speed.png")
    for axis in CURVES:
        if points(axis, results):
            plots.save(curve(axis, results), folder / f"speed_{axis}.png")


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


def curve(axis, results):
    """Plot images per second against a size on log axes, with each contestant named at the end of its curve."""
    measured = points(axis, results)
    figure = new_figure(10, 6.5, f"{CURVES[axis].title}: images per second, training the MLP")
    axes = figure.subplots()
    ends = {}
    for color, name in zip((COLORS[0], COLORS[4], COLORS[6], COLORS[8]), GROWERS, strict=True):
        rates = {value: row[name] for value, row in measured.items() if name in row}
        if not rates:
            continue
        medians = [statistics.median(values) for values in rates.values()]
        below = [middle - min(values) for middle, values in zip(medians, rates.values(), strict=True)]
        above = [max(values) - middle for middle, values in zip(medians, rates.values(), strict=True)]
        axes.errorbar(list(rates), medians, (below, above), color=color, marker="o", linewidth=2.5, capsize=4)
        ends[name] = (list(rates)[-1], medians[-1], color)
    axes.set_xscale("log")
    axes.set_yscale("log")
    _name_ends(axes, ends)
    axes.xaxis.set_major_locator(FixedLocator(list(measured)))
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    for side in (axes.xaxis, axes.yaxis):
        side.set_minor_locator(NullLocator())
        side.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_xlabel(CURVES[axis].label, fontsize=LABEL_SIZE)
    axes.set_ylabel("images/s", fontsize=LABEL_SIZE)
    axes.tick_params(labelsize=TICK_SIZE)
    axes.grid(alpha=0.3)
    return figure


def _name_ends(axes, ends):
    """Write names next to the ends of curves, shifted so that they do not overlap."""
    low, high = axes.get_ylim()
    gap = (high / low) ** 0.06  # height of a text line, as a factor on the log axis
    place = 0.0
    for name, (x, y, color) in sorted(ends.items(), key=lambda item: item[1][1]):
        place = max(y, place * gap)
        axes.annotate(
            name, (x, y), (1.02, place), xycoords="data", textcoords=axes.get_yaxis_transform(), va="center",
            color=color, fontsize=LABEL_SIZE, annotation_clip=False,
        )  # fmt: skip
