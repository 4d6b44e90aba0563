"""What the timings save, their options and tables. It needs no kvae, so that a program can report that kvae fails."""

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import sys
from pathlib import Path

PACKAGES = ("kvae-workshop", "keras", "tensorflow", "jax", "torch", "pythae", "numpy")
INSTRUCTIONS = ("avx2", "avx512f", "avx512_vnni", "amx_tile")  # which decide on the kernels; a name may not tell
SHORT_NOTE = "**`--short`: one tiny round. These numbers do not measure speed.**"


def arguments(about, names, rounds, content):
    """The options of a program that keeps its measurements in a file.

    Args:
        about: the program's docstring.
        names: of the measurements.
        rounds: int, the default number of rounds.
        content: what `--out` is the folder of.

    Returns:
        An `argparse.Namespace`: `rounds`, `short`, `only`, `out`, `again` and `draw`.
    """
    parser = argparse.ArgumentParser(description=about.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--short", action="store_true", help="one tiny round, to check that it works")
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="CASE", help=", ".join(names))
    parser.add_argument("--out", type=Path, default=Path("assets"), help=f"folder for {content}")
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--again", action="store_true", help="repeat measurements that already exist")
    either.add_argument("--draw", action="store_true", help="only print and draw existing measurements")
    options = parser.parse_args()
    options.rounds = 1 if options.short else options.rounds
    return options


def opened(path, options):
    """The results to add to: those in the file, if they are from this machine with the same options, or empty ones."""
    results = {"rounds": options.rounds, "short": options.short, "machine": machine(), "records": {}}
    if path.is_file():
        kept = json.loads(path.read_text())
        if options.draw or all(kept[key] == results[key] for key in ("rounds", "short", "machine")):
            results = kept
        elif not options.again:
            sys.exit(f"{path} is from another machine or other settings: choose another --out, or use --again.")
    elif options.draw:
        sys.exit(f"{path} does not exist: measure first, without --draw.")
    if options.again:
        forgotten = {key for key in results["records"] if key.partition("=")[0] in options.only}
        results["records"] = {key: value for key, value in results["records"].items() if key not in forgotten}
    return results


def machine():
    """The machine and the versions used for the measurements."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    about = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    cpu = about.get("model name") or platform.processor()
    known = [name for name in INSTRUCTIONS if name in about.get("flags", "").split()]
    cores, python = len(os.sched_getaffinity(0)), platform.python_version()
    return {"cpu": cpu, "instructions": ", ".join(known), "cores": cores, "python": python, **versions}


def write_json(path, content):
    """Write JSON atomically: an interruption leaves either the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(".part")
    aside.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    os.replace(aside, path)


def heading(results):
    """What was measured on, as the first paragraphs above the tables."""
    about = ", ".join(f"{key} {value}" for key, value in results["machine"].items())
    parts = [f"Measured on: {about}. Rounds: {results['rounds']}; the median, with the smallest and largest round."]
    return [*parts, SHORT_NOTE] if results["short"] else parts


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


def last_line(text):
    """The last line of what a program printed."""
    return text.strip().rpartition("\n")[2]
