"""The page of `kvae report`: a run, or several side by side, as one HTML file."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from kvae.cli import comparison, report_figures, runs
from kvae.cli.options import DEFAULTS, VARIATIONAL, WITH_BOUND, WITH_POSTERIOR
from kvae.cli.report_figures import TERMS
from kvae.cli.run_record import Record
from kvae.evaluation import Finding
from kvae.evaluation.reference_cards import METRICS
from kvae.io import html_page
from kvae.io.html_page import Markup, element

LEVELS = {"problem": "problem", "warning": "caution", "note": "plain", "ok": "good"}


class Number(NamedTuple):
    """A cell of a table, aligned as a number."""

    shown: str
    best: bool = False


class Examination(NamedTuple):
    """What a look at the saved model gave.

    Attributes:
        networks: its networks in words.
        findings: the doctor's.
        reason: why there are no findings; "" if there are.
    """

    networks: Sequence[str] = ()
    findings: Sequence[Finding] = ()
    reason: str = ""


def of_run(record: Record, examination: Examination) -> str:
    """The page of one run."""
    level, word, sentence = verdict(record, examination)
    model = record.metrics.get("model", record.options["model"])
    changed = [
        [f"--{name.replace('_', '-')}", comparison.value(each), comparison.value(DEFAULTS[name])]
        for name, each in record.changed().items()
    ]
    return _page(
        f"{model} on {Path(record.options['dataset']).name}: {record.name}",
        element("p", element("strong", f"{word}: "), sentence, class_=f"verdict {level}"),
        _key_numbers(record),
        element("h2", "What was trained on what"),
        _table("", [], [[name, fact] for name, fact in _facts(record, model, examination.networks).items()]),
        element("h3", "Options that differ from the defaults"),
        _table("", ["option", "value", "default"], changed, wide=True) if changed else element("p", "None."),
        element("h2", "Curves"),
        *_curves(record),
        element("h2", "Numbers"),
        *_numbers(record),
        element("h2", "The doctor's findings"),
        *_findings(examination),
        element("h2", "Pictures"),
        *report_figures.pictures([record]),
        element("h2", "How to repeat it"),
        *_repetition(record),
    )


def _facts(record: Record, model: str, networks: Sequence[str]) -> dict[str, str]:
    """What was trained on what, by heading."""
    options, shape = record.options, record.config["data"].get("image_shape")
    size = int(record.number("latent_dim") or options["latent_dim"])  # of a hierarchy, all layers together
    dimensions = "1 latent dimension" if size == 1 else f"{size} latent dimensions"
    facts = {
        "model": f"{model}, {dimensions}",
        "networks": "; ".join(networks) or options["network"],
        "likelihood": options["likelihood"],
    }
    if options["model"] in WITH_POSTERIOR["model"]:
        facts["posterior"] = options["posterior"]
    if options["model"] in VARIATIONAL["model"]:
        facts["prior"] = options["prior"]
    if options["model"] in WITH_BOUND["model"]:
        samples = "1 sample" if options["num_samples"] == 1 else f"{options['num_samples']} samples"
        facts["objective"] = f"{options['bound']}, {samples} per example, KL weighted by {options['beta']:g}"
    values = f", {' × '.join(map(str, shape))} values each" if isinstance(shape, list) else ""
    facts["data"] = comparison.describe_data(record) + values
    rate = f"Adam from a learning rate of {options['learning_rate']:g}"
    return {**facts, "training": f"{record.progress}, batches of {options['batch_size']}, {rate}"}


def of_runs(records: Sequence[Record]) -> str:
    """The page that compares runs."""
    columns = comparison.columns(records)
    heads = ["run", "epochs", *(comparison.NUMBERS[column.name].long for column in columns)]
    rows = [
        [
            record.name,
            f"{record.epochs}/{record.options['epochs']}",
            *(_marked(column.cells[i], column.marks[i]) for column in columns),
        ]
        for i, record in enumerate(records)
    ]
    options = comparison.differing(records)
    values = [
        [record.name, *(comparison.value(each[i]) for each in options.values())] for i, record in enumerate(records)
    ]
    level = "caution" if comparison.different_data(records) else "plain"
    data = "" if comparison.different_data(records) else f" on {Path(records[0].options['dataset']).name}"
    return _page(
        f"{len(records)} runs compared{data}",
        element("p", comparison.verdict(records), class_=f"verdict {level}"),
        element("h2", "Numbers"),
        _table("Of test examples; ★ marks the best, ≈ what two standard errors do not tell from it", heads, rows, True),
        element("ul", *(element("li", note) for note in comparison.notes(records))),
        _meanings(column.name for column in columns),
        element("h2", "Options that differ"),
        _table("", ["run", *options], values, True) if options else element("p", "None: all options are the same."),
        element("h2", "Curves"),
        *report_figures.overlaid(records),
        element("h2", "Pictures"),
        *report_figures.pictures(records, ("sample_grid", "reconstruction_grid")),
        element("h2", "How to repeat them"),
        *(element("pre", element("code", record.command())) for record in records),
    )


def verdict(record: Record, examination: Examination) -> tuple[str, str, str]:
    """A run in one sentence: its level, a key of the page's style, a word for it, and the sentence."""
    named = {
        severity: [each.name.replace("_", " ") for each in examination.findings if each.severity == severity]
        for severity in ("problem", "warning")
    }
    placement = record.placement
    placed = placement if placement is not None and not placement.differs else None
    said = [] if record.state == "finished" else [record.progress]
    name = comparison.headline(record)
    if name is not None:
        said.append(f"{comparison.title(name)} {comparison.written(record, name)}{METRICS[name].unit}")
        if placed is not None and placed.card.metric == name:
            place = "within" if placed.distance == 0 else "better than" if placed.distance < 0 else "worse than"
            low, high = (f"{edge:.{METRICS[name].digits}f}" for edge in placed.card.band)
            said[-1] += f", {place} the range of its reference card, {low} to {high}"
    if named["problem"]:
        said.append(
            f"the doctor found {'problems' if named['problem'][1:] else 'a problem'}: {', '.join(named['problem'])}"
        )
    if named["warning"]:
        said.append(f"the doctor warns: {', '.join(named['warning'])}")
    if not (examination.reason or any(named.values())):
        said.append("the doctor found no problem")
    elif examination.reason:
        said.append("the doctor did not examine it")
    sentence = "; ".join(said) + "."
    if record.state == "stopped" or named["problem"]:
        return "problem", "Not usable yet", sentence
    if record.state != "finished" or named["warning"] or (placed is not None and placed.distance > 0):
        return "caution", "With reservations", sentence
    return ("plain", "Not examined", sentence) if examination.reason else ("good", "Healthy", sentence)


def _page(title: str, *body: Markup) -> str:
    style = html_page.static("kvae.cli", "report.css")
    parts = {
        "policy": html_page.policy(style),
        "title": html_page.text(title),
        "style": style,
        "body": Markup("\n".join(each for each in body if each)),
    }
    return html_page.fill(html_page.static("kvae.cli", "report.html"), parts)


def _key_numbers(record):
    names = dict.fromkeys(filter(None, (comparison.headline(record), "reconstruction_mse", "pca_reconstruction_mse")))
    shown = {
        comparison.title(name): comparison.written(record, name) for name in names if record.number(name) is not None
    }
    shown["epochs"] = f"{record.epochs} of {record.options['epochs']}"
    if (seconds := record.number("training_seconds")) is not None:
        shown["training"] = f"{seconds / 60:.1f} min" if seconds >= 100 else f"{seconds:.0f} s"
    return element(
        "dl",
        *(element("div", element("dt", name), element("dd", value)) for name, value in shown.items()),
        class_="key",
    )


def _table(caption: str, heads: Sequence[str], rows: Sequence[Sequence[Any]], wide: bool = False) -> Markup:
    """A table, whose first column names the rows; a wide one scrolls on a narrow screen."""
    kinds = [{"class_": "number"} if isinstance(each, Number) else {} for each in rows[0]]
    head = [element("th", each, scope="col", **kind) for each, kind in zip(heads, kinds, strict=True)] if heads else []
    body = [element("tr", element("th", row[0], scope="row"), *map(_cell, row[1:])) for row in rows]
    made = element(
        "table",
        element("caption", caption) if caption else "",
        element("thead", element("tr", *head)) if head else "",
        element("tbody", *body),
    )
    label = f"Table: {caption or ', '.join(heads)}"
    return element("div", made, class_="wide", role="region", tabindex=0, aria_label=label) if wide else made


def _cell(content):
    if isinstance(content, Number):
        return element("td", content.shown, class_="number best" if content.best else "number")
    return element("td", content)


def _marked(cell, mark):
    return Number({comparison.BEST: "★ ", comparison.CLOSE: "≈ ", "": ""}[mark] + cell, mark == comparison.BEST)


def _curves(record):
    history = record.history
    if "loss" not in history:
        why = "there is no loss in history.csv" if history else "no epoch is complete"
        return [element("p", f"There are none: {why}.")]
    last = record.epochs
    rows = {1: "first", last: "last"}
    if "val_loss" in history:
        best = min(range(last), key=lambda i: (math.isnan(history["val_loss"][i]), history["val_loss"][i]))
        rows[best + 1] = ", ".join(filter(None, [rows.get(best + 1), "lowest validation loss"]))
    terms = [prefix + term for term in TERMS for prefix in ("", "val_") if prefix + term in history]
    heads = [f"{TERMS[term.removeprefix('val_')]}, {'validation' if 'val_' in term else 'training'}" for term in terms]
    cells = [
        [f"epoch {epoch}, {name}", *(Number(f"{history[term][epoch - 1]:.2f}") for term in terms)]
        for epoch, name in sorted(rows.items())
    ]
    return [report_figures.curves(record), _table("Nats per example", ["epoch", *heads], cells, wide=True)]


def _numbers(record):
    rows = [
        [comparison.title(name), Number(comparison.written(record, name)), named.meaning]
        for name, named in comparison.NUMBERS.items()
        if record.number(name) is not None
    ]
    if not rows:
        yield element("p", "There are none: the model was not evaluated.")
        return
    caption = f"On {record.metrics.get('test_examples')} test examples; ± is the standard error over them"
    yield _table(caption, ["number", "value", "what it is"], rows, wide=True)
    notes = record.metrics.get("notes")
    yield element("ul", *(element("li", note) for note in notes)) if isinstance(notes, list) else Markup()
    yield element("h3", "Is it good?")
    if record.placement is None:
        yield element("p", "There is no reference card for this data, model and likelihood.")
    else:
        yield element("p", record.placement.text)


def _meanings(names):
    rows = [[comparison.NUMBERS[name].long, comparison.NUMBERS[name].meaning] for name in names]
    return html_page.join(element("h3", "What they are"), _table("", [], rows)) if rows else Markup()


def _findings(examination):
    if examination.reason:
        return [element("p", f"There are none: {examination.reason}")]
    items = [
        element(
            "li",
            element("strong", f"{finding.severity}, {finding.name.replace('_', ' ')}: "),
            finding.message,
            element("p", f"Try {finding.advice}") if finding.advice else "",
            class_=LEVELS.get(finding.severity, "plain"),
        )
        for finding in examination.findings
    ]
    return [element("ul", *items, class_="findings")]


def _repetition(record: Record) -> list[Markup]:
    versions: Mapping[str, Any] = record.config["versions"]
    rows = [
        ["seed", record.options["seed"]],
        ["versions", ", ".join(f"{name} {version}" for name, version in versions.items())],
        ["backend", f"{record.config['backend']}, devices: {record.config['devices']}"],
        ["data checksum", f"{record.config['data'].get('checksum')}"],
    ]
    again = f"kvae train --config {shlex.quote(str(record.path / 'config.json'))} --out runs/again"
    made = [
        element("pre", element("code", record.command())),
        element("p", "Or, from its options:"),
        element("pre", element("code", again)),
    ]
    if record.state == "interrupted":
        resume = runs.how_to_resume(record.path, record.config["devices"])
        made += [element("p", "To resume it:"), element("pre", element("code", resume))]
    return [*made, _table("", [], rows)]
