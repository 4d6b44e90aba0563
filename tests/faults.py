"""Inject faults into training, and record what the user sees: `python tests/faults.py [NAME ...]`.

Each fault is injected into a separate `kvae train` process. It is handled if the command terminates with a one-line
error message and no traceback, and leaves no partially written file. Where training can be resumed, it is, with
`kvae train --resume`; the history and every variable of the model and its optimizer must then be bit-identical to those
of an uninterrupted run. Prints a Markdown table; exits with 1 if a fault is not handled.
"""

import argparse
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import fresh
import numpy as np
from crash import content

from kvae.io import atomic

OPTIONS = ("--model", "vae", "--hidden", "32", "--epochs", "5", "--batch-size", "64", "--kl-warmup", "4")
PATIENCE = 300  # seconds, on a busy machine


class Trainings:
    """Training runs in subfolders of a scratch folder, and their results."""

    def __init__(self, scratch):
        self.scratch = Path(scratch)
        self.whole = self.scratch / "whole"
        code, printed = self.end(self.start("--out", self.whole))
        if code:
            raise SystemExit(printed)
        self.expected = content(self.whole)

    def start(self, *arguments, options=OPTIONS, fork=True, **environment):
        """A process of `kvae train`; a fork's output goes to files."""
        line = ("train", *(() if "--resume" in arguments else options), *map(str, arguments))
        if not fork or "KERAS_BACKEND" in environment or "--backend" in arguments:  # which Keras reads at its import
            pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
            return subprocess.Popen([sys.executable, "-m", "kvae", *line], **pipes, env={**os.environ, **environment})
        return fresh.Process(fresh.KVAE, *line, **environment)

    def end(self, process):
        """The exit code and the output, errors last."""
        try:
            printed = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            return "hangs", "".join(process.communicate())
        return process.returncode, "".join(printed)

    def many_images(self):
        """A file of so many images that an epoch takes seconds."""
        path = self.scratch / "many.npz"
        if not path.is_file():
            np.savez(path, images=np.random.default_rng(0).random((100_000, 8, 8), "float32"))
        return path

    def until_epoch(self, process, out, epoch=2):
        """Wait until the history contains `epoch`, and return the process."""
        history = out / "history.csv"
        while process.poll() is None and not (history.is_file() and len(history.read_text().splitlines()) > epoch):
            time.sleep(0.005)
        return process

    def goes_on(self, out):
        """Whether the run, once resumed, ends like an uninterrupted one."""
        code, printed = self.end(self.start("--resume", out))
        if code:
            return f"no: {printed.splitlines()[-1]}"
        found = content(out)
        different = [name for name in self.expected if found[name] != self.expected[name]]
        return "no: other " + ", ".join(different) if different else "yes, equal to the bit"


def signalled(number):
    """Fault: signal `number` after the second epoch."""

    def fault(trainings, out):
        process = trainings.until_epoch(trainings.start("--out", out), out)
        process.send_signal(number)
        return *trainings.end(process), trainings.goes_on(out)

    return fault


def early(number):
    """Fault: signal `number` before the first epoch is complete."""

    def fault(trainings, out):
        process = trainings.start("--out", out, options=(*OPTIONS, "--dataset", str(trainings.many_images())))
        while process.poll() is None and not (out / "pictures").is_dir():
            time.sleep(0.005)
        process.send_signal(number)
        return *trainings.end(process), "–"

    return fault


def late(number):
    """Fault: signal `number` in the closing evaluation."""

    def fault(trainings, out):
        process = trainings.start("--out", out)
        while process.poll() is None and not (out / "model.keras").is_file():
            time.sleep(0.001)
        process.send_signal(number)
        return *trainings.end(process), trainings.goes_on(out)

    return fault


def full_disk(epoch):
    """Fault: after `epoch` epochs, file sizes are limited to a few bytes."""

    def fault(trainings, out):
        process = trainings.start("--out", out, fork=False)  # its output has no limit
        if epoch:
            trainings.until_epoch(process, out, epoch)
        while process.poll() is None and not (out / "config.json").is_file():
            time.sleep(0.005)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (500, 500))
        return *trainings.end(process), trainings.goes_on(out) if epoch else "–"

    return fault


def read_only_folder(trainings, out):
    """A location where not even root can create files."""
    return *trainings.end(trainings.start("--out", "/sys/kvae")), "–"


def no_folder(trainings, out):
    """A file in place of the folder."""
    out.write_text("a file")
    printed = trainings.end(trainings.start("--out", out))
    out.unlink()
    return *printed, "–"


def two_writers(trainings, out):
    """A second process that resumes a run still in progress."""
    first = trainings.until_epoch(trainings.start("--out", out), out, 1)
    first.send_signal(signal.SIGSTOP)  # otherwise it might finish before the other checks
    seen = trainings.end(trainings.start("--resume", out))
    first.send_signal(signal.SIGCONT)
    code, printed = trainings.end(first)
    assert code == 0, printed
    found = content(out)
    return *seen, "the first ended " + ("as if alone" if found == trainings.expected else "otherwise")


def damaged(name, damage):
    """Fault: file `name` of a killed run is damaged before the run is resumed."""

    def fault(trainings, out):
        process = trainings.until_epoch(trainings.start("--out", out), out)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        path = out / name
        whole = path.read_bytes()
        path.write_bytes(damage(whole))
        seen = trainings.end(trainings.start("--resume", out))
        path.write_bytes(whole)
        return *seen, trainings.goes_on(out) + ", with the file put back"

    return fault


def finished(trainings, out):
    """A finished run is resumed."""
    shutil.copytree(trainings.whole, out)
    return *trainings.end(trainings.start("--resume", out)), "–"


def taken(trainings, out):
    """A new run is started in the folder of a finished one."""
    shutil.copytree(trainings.whole, out)
    seen = trainings.end(trainings.start("--out", out))
    return *seen, "the run is as it was" if content(out) == trainings.expected else "the run is changed"


def diverged(trainings, out):
    """A learning rate that makes the loss NaN."""
    return *trainings.end(trainings.start("--out", out, options=(*OPTIONS, "--learning-rate", "1e30"))), "–"


def no_data(trainings, out):
    """The data set's file is missing when a killed run is resumed."""
    path = trainings.scratch / "images.npz"
    images = np.random.default_rng(0).random((400, 8, 8))
    np.savez(path, images=images)
    options = (*OPTIONS, "--dataset", str(path), "--epochs", "40")
    process = trainings.until_epoch(trainings.start("--out", out, options=options), out)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    path.unlink()
    return *trainings.end(trainings.start("--resume", out)), "–"


def other_data(trainings, out):
    """The data set's file is another one when a killed run is resumed."""
    path, rng = trainings.scratch / "other.npz", np.random.default_rng(0)
    np.savez(path, images=rng.random((400, 8, 8)))
    options = (*OPTIONS, "--dataset", str(path), "--epochs", "40")
    process = trainings.until_epoch(trainings.start("--out", out, options=options), out)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    np.savez(path, images=rng.random((410, 8, 8)))
    return *trainings.end(trainings.start("--resume", out)), "–"


def one_class(trainings, out):
    """Labels of a single class."""
    path = trainings.scratch / "one.npz"
    np.savez(path, images=np.zeros((100, 8, 8)), labels=np.zeros(100, int))
    return *trainings.end(trainings.start("--out", out, options=("--dataset", str(path)))), "–"


def no_memory(trainings, out):
    """A network that does not fit into memory."""
    options = (*OPTIONS[:2], "--hidden", "3000000", "3000000")
    return *trainings.end(trainings.start("--out", out, options=options)), "–"


def link(trainings, out):
    """A symbolic link, put in place of a run's file while it is trained."""
    victim = trainings.scratch / "victim"
    victim.write_text("kept")
    process = trainings.until_epoch(trainings.start("--out", out), out, 1)
    process.send_signal(signal.SIGSTOP)
    (out / "history.csv").unlink()
    (out / "history.csv").symlink_to(victim)
    process.send_signal(signal.SIGCONT)
    seen = trainings.end(process)
    (out / "history.csv").unlink()
    kept = victim.read_text() == "kept"
    return *seen, "the target is kept" if kept else "the target is changed"


def unusable_backend(trainings, out):
    """A backend that cannot train."""
    return *trainings.end(trainings.start("--out", out, KERAS_BACKEND="numpy")), "–"


def disagreeing_workers(trainings, out):
    """Two workers who list each other in another order."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        workers = [f'"127.0.0.1:{each.getsockname()[1]}"' for each in (one, other)]
    processes = []
    for i, listed in enumerate((workers, workers[::-1])):
        task = '"task": {"type": "worker", "index": 0}'
        config = f'{{"cluster": {{"worker": [{", ".join(listed)}]}}, {task}}}'
        place = out if i == 0 else trainings.scratch / "unused"
        processes.append(trainings.start("--strategy", "multiworker", "--out", place, TF_CONFIG=config))
    (code, printed), second = map(trainings.end, processes)
    return (
        code,
        printed,
        "both workers say so" if second[0] == 1 and "same order" in second[1] else "no: the other hangs",
    )


def no_reader(trainings, out):
    """A pipe whose reader is gone: training goes on."""
    command = f"{sys.executable} -m kvae train {' '.join(OPTIONS)} --out {out} | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    same = content(out) == trainings.expected
    return done.returncode, done.stderr, "it ended as if alone" if same else "it ended otherwise"


def no_streams(trainings, out):
    """Closed standard streams: training goes on."""
    command = f"{sys.executable} -m kvae train {' '.join(OPTIONS)} --out {out} <&- >&- 2>&-"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    same = content(out) == trainings.expected
    return done.returncode, done.stderr, "it ended as if alone" if same else "it ended otherwise"


def other_backend(trainings, out):
    """A killed run is resumed on another backend."""
    process = trainings.until_epoch(trainings.start("--out", out), out)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return *trainings.end(trainings.start("--resume", out, "--backend", "jax")), trainings.goes_on(out)


def no_tf_config(trainings, out):
    """A strategy of several workers without TF_CONFIG."""
    environment = {"TF_CONFIG": ""}
    return *trainings.end(trainings.start("--strategy", "multiworker", "--out", out, **environment)), "–"


def unreachable_worker(trainings, out):
    """A worker that has not been started."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        ports = [each.getsockname()[1] for each in (one, other)]
    workers = ", ".join(f'"127.0.0.1:{port}"' for port in ports)
    config = f'{{"cluster": {{"worker": [{workers}]}}, "task": {{"type": "worker", "index": 0}}}}'
    return *trainings.end(trainings.start("--strategy", "multiworker", "--out", out, TF_CONFIG=config)), "–"


FAULTS = {  # name: (fault, text required in the last line)
    "kill -9 in epoch 3": (signalled(signal.SIGKILL), ""),
    "Ctrl-C in epoch 3": (signalled(signal.SIGINT), "interrupted; what was trained so far is saved; resume with:"),
    "SIGTERM in epoch 3": (signalled(signal.SIGTERM), "interrupted; what was trained so far is saved; resume with:"),
    "Ctrl-C in epoch 1": (early(signal.SIGINT), "before the first epoch was complete: nothing is saved$"),
    "SIGTERM in epoch 1": (early(signal.SIGTERM), "before the first epoch was complete: nothing is saved$"),
    "Ctrl-C in the closing evaluation": (late(signal.SIGINT), "in the evaluation .*: kvae train --resume"),
    "SIGTERM in the closing evaluation": (late(signal.SIGTERM), "in the evaluation .*: kvae train --resume"),
    "disk full in epoch 1": (full_disk(0), "could not be written"),
    "disk full in epoch 3": (full_disk(2), "could not be written.*resume with:"),
    "read-only folder": (read_only_folder, "output folder must be writable"),
    "a file where the folder should be": (no_folder, "must be a folder"),
    "two processes, one folder": (two_writers, "in use by another process"),
    "checkpoint cut in half": (
        damaged("checkpoint.npz", lambda whole: whole[: len(whole) // 2]),
        "must be a checkpoint",
    ),
    "checkpoint with one byte changed": (
        damaged("checkpoint.npz", lambda whole: whole[:9000] + bytes([whole[9000] ^ 1]) + whole[9001:]),
        "must be a checkpoint",
    ),
    "history.csv damaged": (damaged("history.csv", lambda whole: whole[:-9]), "must be the history.csv"),
    "history.csv from elsewhere": (
        damaged("history.csv", lambda whole: b"loss," + b"\xff" * 99 + whole),
        "must be the history.csv",
    ),
    "history.csv cut short": (
        damaged("history.csv", lambda whole: whole.splitlines(keepends=True)[0]),
        "must be the history.csv",
    ),
    "config.json damaged": (damaged("config.json", lambda whole: whole[:-9]), "must be the config.json of a run"),
    "resume of a finished run": (finished, "nothing is left to do"),
    "folder of another run": (taken, "use --force"),
    "loss becomes NaN": (diverged, "Training stopped in epoch 1"),
    "data set deleted": (no_data, "images.npz"),
    "data set of another size": (other_data, "requires the data that the run began with"),
    "data of one class": (one_class, "at least two classes"),
    "a network that memory does not hold": (no_memory, "out of memory: use a smaller --batch-size"),
    "a link in place of history.csv": (link, "new or regular file.*a symbolic link"),
    "a backend that cannot train": (unusable_backend, "which can train. Received: numpy"),
    "two workers, two orders": (disagreeing_workers, "same workers in the same order"),
    "a pipe without a reader": (no_reader, ""),
    "closed standard streams": (no_streams, ""),
    "resume on another backend": (other_backend, "use --backend tensorflow"),
    "TF_CONFIG missing": (no_tf_config, "TF_CONFIG must be set"),
    "worker that cannot be reached": (unreachable_worker, "no answer within 50 seconds"),
}


def inflict(trainings, name):
    """Inject a fault; return whether it was handled, and its table row."""
    fault, expected = FAULTS[name]
    out = trainings.scratch / re.sub(r"\W+", "-", name)
    begin = time.perf_counter()
    code, printed, after = fault(trainings, out)
    seconds = time.perf_counter() - begin
    lines = printed.splitlines() or [""]
    halves = [path.name for path in (*atomic.halves(out), *atomic.halves(out / "pictures"))]
    wanted = -signal.SIGKILL if "kill" in name else 0 if fault in (no_reader, no_streams) else 1
    bad = code != wanted or "Traceback" in printed or not re.search(expected, lines[-1])
    bad = bad or halves or after.startswith("no") or "changed" in after or "otherwise" in after
    saw = (
        "(nothing)"
        if "kill" in name or not lines[-1]
        else lines[-1].replace(str(trainings.scratch), "…").replace("|", "\\|")
    )
    left = ", ".join(sorted(path.name for path in out.iterdir())) if out.is_dir() else "no folder"
    return not bad, f"| {name} | {code} | {saw} | {left} | {after} | {seconds:.0f} |"


def main(arguments=None):
    """Inject the faults and print the results."""
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all of them")
    names = parser.parse_args(arguments).names or FAULTS
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs, and theirs, ignore Ctrl-C
    # For all processes: without `coverage`, which would write its own file to the full disk.
    for name in [name for name in os.environ if name.startswith("COVERAGE_")]:
        del os.environ[name]
    os.environ["KERAS_BACKEND"] = "tensorflow"
    unmet = []
    with tempfile.TemporaryDirectory() as scratch:
        trainings = Trainings(scratch)
        print("| fault | exit code | what the user saw | in the folder | resumed | seconds |")
        print("| --- | --- | --- | --- | --- | --- |")
        for name in names:
            met, line = inflict(trainings, name)
            unmet += [] if met else [name]
            print(line, flush=True)
    print(f"\n{len(names)} faults, {len(unmet)} not met{': ' + ', '.join(unmet) if unmet else ''}")
    return int(bool(unmet))


if __name__ == "__main__":
    sys.exit(main())
