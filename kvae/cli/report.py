"""`kvae report` and `kvae compare`: what run folders say, as a page and as a table."""

from __future__ import annotations

import warnings
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvae.io import FileError

if TYPE_CHECKING:
    from kvae.cli.report_page import Examination
    from kvae.cli.run_record import Record


def report(arguments: Namespace) -> None:
    """Write one HTML page about a run, or about several side by side."""
    from kvae.cli import printing, report_page, run_record
    from kvae.io import html_page

    out = Path(arguments.out)
    if not out.parent.is_dir():
        raise FileError(f"`out` must be a file in an existing folder: create it first. Received: {out}")
    records = run_record.read(arguments.runs)
    if len(records) == 1:
        page = report_page.of_run(records[0], examine(records[0]))
    else:
        _say_if_data_differ(records)
        with printing.busy(f"drawing {len(records)} runs"):
            page = report_page.of_runs(records)
    html_page.save(page, out)
    print(f"written to {out} ({len(page) / 1e6:.1f} MB): open it in a browser")


def compare(arguments: Namespace) -> None:
    """Print the numbers of runs side by side, and the options that differ."""
    from kvae.cli import comparison, run_record

    records = run_record.read(arguments.runs)
    _say_if_data_differ(records)
    print(comparison.as_text(records))


def examine(record: Record) -> Examination:
    """What a look at a run's saved model gives; any reason why there is none is a part of it."""
    from kvae.cli import printing, run_folder, saved_model
    from kvae.cli.report_page import Examination
    from kvae.models import load_model

    path = record.path / "model.keras"
    if not path.is_file():
        return Examination(reason="training did not end, so that no model is saved.")
    networks: list[str] = []
    try:
        with printing.busy("examining the model"):
            model = load_model(path)
            networks = [_in_words(layer) for layer in model.layers if getattr(layer, "layers", ())]
            data = saved_model.dataset_of(path)
            if run_folder.describe(data) != record.config["data"]:
                return Examination(networks, reason="the data set is no longer the one of the training.")
            seed = record.options["seed"]
            arrays = saved_model.test_arrays(data, seed, model)
            return Examination(networks, saved_model.diagnose(model, data, *arrays, seed))
    except (ValueError, OSError) as error:
        return Examination(networks, reason=" ".join(str(error).split()))


def _in_words(network: Any) -> str:
    """The layers of a network that have weights, and how many."""
    layers = [layer for layer in network.layers if layer.count_params()]
    sizes = [getattr(layer, "units", None) or getattr(layer, "filters", None) for layer in layers]
    names = [f"{type(layer).__name__} {size or ''}".strip() for layer, size in zip(layers, sizes, strict=True)]
    shown = " → ".join(names if len(names) <= 8 else [*names[:4], f"{len(names) - 7} more", *names[-3:]])
    return f"{network.name}: {shown} ({network.count_params():,} weights)"


def _say_if_data_differ(records: list[Record]) -> None:
    from kvae.cli import comparison

    if difference := comparison.different_data(records):
        warnings.warn(difference, UserWarning, stacklevel=2)
