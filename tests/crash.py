"""Kill training repeatedly at random moments, and compare the result with an uninterrupted run.

    python tests/crash.py --kills 50
    python tests/crash.py --kills 50 --signals KILL TERM INT

Each run is a `kvae train` process that is sent a random one of the signals at a random moment, in any phase from its
start (Keras is imported by then) to its closing evaluation, and resumed with `kvae train --resume`, until it finishes.
After SIGTERM and SIGINT it must end within 30 seconds with one line on how to go on. Runs are repeated until the
requested number of kills is reached. Every variable of the model and its optimizer, the history and the metrics must be
bit-identical, and no extra file may remain. Prints one line per run and the number of differences; exits with 1 if
there is one.
"""

import argparse
import io
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import fresh
import h5py

TRAIN = ("--model", "cvae", "--binarization", "dynamic", "--kl-warmup", "4", "--hidden", "32", "--epochs", "12")
TIMES = ("training_seconds", "total_seconds")


def kvae(*arguments):
    """Start the command as a process."""
    return fresh.Process(fresh.KVAE, *arguments)


def end(process, timeout=None):
    """What the process has printed, its errors last."""
    return "".join(process.communicate(timeout))


def content(folder):
    """The contents of a finished run: variables as bytes, history as text, metrics without timings."""
    parts = {"variables": variables(folder / "model.keras")}
    parts["history"] = (folder / "history.csv").read_text()
    metrics = json.loads((folder / "metrics.json").read_text())
    parts["metrics"] = {name: value for name, value in metrics.items() if name not in TIMES}
    parts["files"] = sorted(path.name for path in folder.rglob("*"))
    return parts


def variables(path):
    """The bytes of every variable of a saved model and its optimizer, by name."""
    found = {}
    with zipfile.ZipFile(path) as file, h5py.File(io.BytesIO(file.read("model.weights.h5"))) as weights:

        def note(name, item):
            if isinstance(item, h5py.Dataset):
                found[name] = item[()].tobytes()

        weights.visititems(note)
    return found


def whole(folder, options):
    """Duration in seconds of an uninterrupted run."""
    start = time.perf_counter()
    process = kvae("train", *options, "--out", folder)
    output = end(process)
    if process.returncode:
        raise SystemExit(output)
    return time.perf_counter() - start


def killed(folder, options, seconds, rng, most, signals):
    """Run until finished, with at most `most` kills by any of `signals`, and return their number."""
    kills, arguments = 0, ("train", *options, "--out", folder)
    while True:
        process = kvae(*arguments)
        try:
            output = end(process, rng.uniform(0.0, 1.1 * seconds) if kills < most else None)
        except subprocess.TimeoutExpired:
            number = rng.choice(signals)
            process.send_signal(number)
            output = end(process, 30 if number != signal.SIGKILL else None)
            kills += 1
            if process.returncode == 0:  # it came too late
                return kills
            if process.returncode == 1 and ("Traceback" in output or "interrupted" not in output.splitlines()[-1]):
                raise SystemExit(f"after {number!r}: {output}") from None
            begun = (folder / "config.json").is_file()
            arguments = ("train", "--resume", folder) if begun else ("train", *options, "--out", folder, "--force")
            continue
        if process.returncode == 0 or "nothing is left to do" in output:  # killed after writing its last file
            return kills
        raise SystemExit(f"after {kills} kills: {output}")


def main():
    """Kill, compare, count."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--signals", nargs="+", choices=("KILL", "TERM", "INT"), default=["KILL"])
    parser.add_argument("options", nargs="*", default=TRAIN, help="of kvae train, after --")
    arguments = parser.parse_args()
    signals = [signal.Signals[f"SIG{name}"] for name in arguments.signals]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs, and theirs, ignore Ctrl-C
    rng, done, differences = random.Random(arguments.seed), 0, 0
    with tempfile.TemporaryDirectory() as scratch:
        first = Path(scratch) / "whole"
        seconds = whole(first, arguments.options)
        expected = content(first)
        print(f"left alone: {seconds:.1f} s", flush=True)
        run = 0
        while done < arguments.kills:
            folder = Path(scratch) / f"run{run}"
            kills = killed(folder, arguments.options, seconds, rng, arguments.kills - done, signals)
            found = content(folder)
            different = [name for name in expected if found[name] != expected[name]]
            done, run, differences = done + kills, run + 1, differences + len(different)
            print(f"run {run}: {kills} kills, {', '.join(different) or 'no'} difference", flush=True)
    print(f"{done} kills in {run} runs, {differences} differences")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
