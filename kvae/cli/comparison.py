"""The numbers of runs side by side: which may be ranked, which is best, and which options differ."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

from kvae.cli.options import ADVERSARIAL, FEW_LABELS
from kvae.cli.run_record import Record
from kvae.evaluation.reference_cards import METRICS
from kvae.io import limits

CONDITIONAL = ("cvae", *FEW_LABELS)  # the other models are all of p(x)
# What runs must share for a number of theirs to be ranked, beside the data.
NEEDS = {
    "negative_elbo": ("model", "likelihood", "binarization"),  # densities of the same pixels, p(x) or p(x|y)
    "reconstruction_mse": ("binarization",),
    "frechet_distance": ("seed",),  # by which the features are trained that it is measured in
}


class Named(NamedTuple):
    """What a number is called on a terminal and on a page, and what it is."""

    short: str
    long: str
    meaning: str


NUMBERS = {
    "negative_elbo": Named(
        "−ELBO, nats", "−ELBO, nats", "an upper bound on −log p(x), or −log p(x|y): reconstruction and KL at β = 1"
    ),
    "reconstruction_loss": Named(
        "reconstr.", "reconstruction, nats", "−log p(x|z), the reconstruction's part of −ELBO"
    ),
    "kl_loss": Named("KL", "KL, nats", "the KL divergence of the posterior and the prior, the other part"),
    "bits_per_dimension": Named("bits/dim.", "bits per dimension", "−ELBO in bits for each value of bytes"),
    "reconstruction_mse": Named("MSE", "MSE", "mean squared error of a reconstructed value"),
    "pca_reconstruction_mse": Named("PCA's MSE", "PCA's MSE", "the same of PCA with as many dimensions"),
    "accuracy": Named("accuracy", "accuracy", "share of test examples that the classifier gets right"),
    "frechet_distance": Named(
        "Fréchet", "Fréchet distance", "distance between the features of test images and of generated ones"
    ),
    "perplexity": Named("perplexity", "perplexity", "how many codes of the codebook are in use, in effect"),
    "label_agreement": Named(
        "agreement", "label agreement", "share of generated images in which a judge sees the label asked for"
    ),
    "judge_accuracy_on_real_images": Named(
        "its judge", "its judge's accuracy", "share of test images of which this judge sees the label"
    ),
    "zeros": Named("zeros", "zeros", "share of zeros in the test data"),
    "generated_zeros": Named("drawn 0s", "zeros drawn", "share of zeros in what the model draws"),
    "median_dispersion": Named("dispersion", "dispersion", "variance over mean of the test data's columns, the median"),
    "median_generated_dispersion": Named("drawn disp.", "dispersion drawn", "the same of what the model draws"),
}
DECIMALS = {
    "reconstruction_loss": 2,
    "kl_loss": 2,
    "bits_per_dimension": 3,
    "pca_reconstruction_mse": 4,
    "judge_accuracy_on_real_images": 3,
}
BEST, CLOSE = "best", "close"


class Column(NamedTuple):
    """A number of several runs.

    Attributes:
        name: its key in `metrics.json`.
        cells: the number of each run with its standard error, as text.
        marks: for each run `BEST`, `CLOSE` if two standard errors do not tell it from the best, or "".
    """

    name: str
    cells: list[str]
    marks: list[str]


def value(content: Any) -> str:
    """The value of an option in words."""
    if isinstance(content, (list, tuple)):
        return " ".join(map(str, content))
    return "–" if content is None else str(content)


def written(record: Record, name: str) -> str:
    """A number of a run with its standard error; "–" if it is missing."""
    number, error = record.number(name), standard_error(record, name)
    if number is None:
        return "–"
    decimals = METRICS[name].digits if name in METRICS else DECIMALS.get(name)
    form = ".4g" if decimals is None else f".{decimals}f"
    shown = f"{number:{form}}" if error is None else f"{number:{form}} ± {error:{form}}"
    return shown.replace("-", "−")


def title(name: str) -> str:
    """What a number is called in a sentence, without its unit."""
    return NUMBERS[name].long.split(",")[0]


def standard_error(record: Record, name: str) -> float | None:
    """The standard error of a number over test examples; `None` if it is not known."""
    share, count = record.number(name), record.number("test_examples")
    if name == "accuracy" and share is not None and count is not None and count > 0:  # binomial
        return math.sqrt(max(share * (1.0 - share), 0.0) / count)
    return record.number(f"{name}_standard_error")


def headline(record: Record) -> str | None:
    """The number that a run is judged by."""
    frechet = ("frechet_distance",) if record.options["model"] in ADVERSARIAL else ()
    names = ("accuracy", *frechet, "negative_elbo", "reconstruction_mse")
    return next((name for name in names if record.number(name) is not None), None)


def columns(records: Sequence[Record]) -> list[Column]:
    """The numbers that at least one of the runs has."""
    names = [name for name in NUMBERS if any(record.number(name) is not None for record in records)]
    return [Column(name, [written(record, name) for record in records], marks(records, name)) for name in names]


def marks(records: Sequence[Record], name: str) -> list[str]:
    """For each run `BEST`, `CLOSE` or "", all of them "" if the number cannot be ranked."""
    numbers = [record.number(name) for record in records]
    known = [number for number in numbers if number is not None]
    if name not in METRICS or len(set(known)) < 2 or obstacles(records, name):
        return [""] * len(records)
    best = (max if METRICS[name].higher_is_better else min)(known)
    error = standard_error(records[numbers.index(best)], name)

    def mark(record, number):
        if number is None or number == best:
            return "" if number is None else BEST
        own = standard_error(record, name)
        close = own is not None and error is not None and abs(number - best) < 2.0 * math.hypot(own, error)
        return CLOSE if close else ""

    return list(map(mark, records, numbers))


def obstacles(records: Sequence[Record], name: str) -> list[str]:
    """In what the runs differ that must be the same for a number to be ranked."""
    able = [record for record in records if record.number(name) is not None]
    differ = [option for option in NEEDS.get(name, ()) if len({_scale(record, option) for record in able}) > 1]
    return (["data"] if len({record.data_key for record in able}) > 1 else []) + differ


def _scale(record, option):
    """An option as far as a number's scale depends on it."""
    chosen = record.options[option]
    return "p(x)" if option == "model" and chosen not in CONDITIONAL else str(chosen)


def differing(records: Sequence[Record]) -> dict[str, list[Any]]:
    """The options in which runs differ, with the value of each run."""
    values = {name: [record.options[name] for record in records] for name in records[0].options}
    others = {
        "backend": [record.config["backend"] for record in records],
        **{
            f"version of {name}": [record.config["versions"].get(name) for record in records]
            for name in dict.fromkeys(name for record in records for name in record.config["versions"])
            if len({record.config["backend"] for record in records}) == 1
        },
    }
    return {name: each for name, each in {**values, **others}.items() if any(one != each[0] for one in each)}


def different_data(records: Sequence[Record]) -> str:
    """A sentence that says which run used which data; "" if it is the same."""
    groups: dict[tuple[Any, ...], list[Record]] = {}
    for record in records:
        groups.setdefault(record.data_key, []).append(record)
    if len(groups) == 1:
        return ""
    kinds = [
        f"{describe_data(group[0])}, checksum {group[0].config['data'].get('checksum')} "
        f"({', '.join(each.name for each in group)})"
        for group in groups.values()
    ]
    return f"The runs used different data, and are not ranked: {limits.printable('; '.join(kinds), 2000)}"


def describe_data(record: Record) -> str:
    """The data of a run in a few words."""
    data = record.config["data"]
    binarized = f", {record.options['binarization']} binarization" if record.options["binarization"] else ""
    counts = [data.get(name) for name in ("training_images", "test_images")]
    train, test = (f"{count:,}" if isinstance(count, int) else "?" for count in counts)
    sizes = f"{train} training and {test} test examples"
    return f"{record.options['dataset']}{binarized}, {sizes}"


def notes(records: Sequence[Record]) -> list[str]:
    """What a reader must know to read the numbers."""
    said = [different_data(records)] if different_data(records) else []
    said += [f"{record.name}: {record.progress}" for record in records if record.state != "finished"]
    for column in columns(records):
        wanting = obstacles(records, column.name)
        if column.name in METRICS and wanting and wanting[0] != "data":
            said.append(f"{title(column.name)} is not ranked: the runs differ in {' and '.join(wanting)}")
    if any(BEST in column.marks for column in columns(records)):
        said.append("± is the standard error over test examples of one training; another seed may change more")
    return said


def verdict(records: Sequence[Record]) -> str:
    """The comparison in one sentence."""
    name = headline(records[0])
    if different_data(records):
        return "These runs used different data, so none of them is the best."
    if name is None or BEST not in marks(records, name):
        wanting = obstacles(records, name) if name else []
        why = (
            f"they differ in {' and '.join(wanting)}" if wanting else "no two of them have different numbers to compare"
        )
        return f"None of these runs is the best{f' by {title(name)}' if name else ''}, because {why}."
    found = marks(records, name)
    best = records[found.index(BEST)]
    close = [record.name for record, mark in zip(records, found, strict=True) if mark == CLOSE]
    close += [record.name for record, mark in zip(records, found, strict=True) if mark == BEST and record is not best]
    word = "highest" if METRICS[name].higher_is_better else "lowest"
    sentence = f"{best.name} has the {word} {title(name)}, {written(best, name)}{METRICS[name].unit}"
    return f"{sentence}; two standard errors do not tell it from {', '.join(close)}." if close else f"{sentence}."


def as_text(records: Sequence[Record], width: int = 80) -> str:
    """The comparison as text, aligned, in lines of at most `width` letters."""
    signs = {BEST: " *", CLOSE: " ~", "": "  "}
    headed = [("epochs", [f"{record.epochs}/{record.options['epochs']}" for record in records])]
    found = columns(records)
    for column in found:
        ranked = any(column.marks)
        signed = [cell + signs[mark] * ranked for cell, mark in zip(column.cells, column.marks, strict=True)]
        headed.append((NUMBERS[column.name].short + signs[""] * ranked, signed))
    names = [record.name for record in records]
    blocks = [_table("run", names, headed, width)]
    if any(BEST in column.marks for column in found):
        blocks.append(textwrap.wrap("* best,  ~ not told from the best by two standard errors", width))
    if len(records) > 1:
        options = differing(records)
        cells = [(name, [limits.printable(value(each)) for each in options[name]]) for name in options]
        blocks.append(_table("differ in", names, cells, width) if cells else ["All options are the same."])
        blocks.append(textwrap.wrap(verdict(records), width))
    said = [note for note in notes(records) if note != different_data(records)]
    blocks.append([line for note in said for line in textwrap.wrap(f"note: {note}", width)])
    return "\n\n".join("\n".join(block) for block in blocks if block)


def _table(corner, names, headed, width):
    """Lines of a table, with columns that do not fit beside the others below them."""
    most = width // 3
    name_cells = [textwrap.wrap(name, most) or [""] for name in names]
    first = max(len(line) for lines in [[corner], *name_cells] for line in lines)
    lines: list[str] = []
    while headed:
        taken, room = 0, width - first
        sizes = [min(most, max(map(len, [heading, *cells]))) for heading, cells in headed]
        while taken < len(headed) and (room := room - sizes[taken] - 2) >= 0:
            taken += 1
        taken = max(taken, 1)
        block, headed = headed[:taken], headed[taken:]
        rows = [[[corner], *([heading] for heading, _ in block)]]
        rows += [[name_cells[i], *(_wrapped(cells[i], most) for _, cells in block)] for i in range(len(names))]
        lines += [""] if lines else []
        for row in rows:
            for i in range(max(map(len, row))):
                parts = [cell[i] if i < len(cell) else "" for cell in row]
                shown = [part.rjust(size) for part, size in zip(parts[1:], sizes, strict=False)]
                lines.append("  ".join([parts[0].ljust(first), *shown]).rstrip())
    return lines


def _wrapped(cell, most):
    return [cell] if len(cell) <= most else textwrap.wrap(cell, most)
