"""Mutated files for every loader, and random command lines: `python tests/fuzz_files.py --count 20000 --seed 0`.

A loader must return, or raise a one-line `ValueError` (such as `kvae.io.FileError`); the command must return 0, 1
or 2 and print no traceback. Anything else is a failure: another error, a crash, a hang, memory above the limit, or a
file that only code hidden in an input would create. Inputs run in forked processes, many in each; input i of a seed is
the same on every machine. Failing inputs are kept for `--replay`.

`--commands 2000` does the same with command lines. Exit code 1 if anything failed.
"""

import argparse
import collections
import contextlib
import io
import json
import os
import pickle
import random
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parent))

import fuzz_mutations as mutations
import numpy as np

BATCH = 200  # inputs per process
SECONDS = 60.0  # seconds of CPU time per input
MEMORY = 2**31  # bytes, in addition to a process's initial memory
SHARES = {"npz": 18, "notebook": 10, "config": 9, "history": 8, "report": 6, "compressed": 6, "keras": 15, "npy": 8,
          "idx": 4, "tfrecord": 6, "image": 8, "checkpoint": 4}  # fmt: skip
ENDINGS = {"npz": ".npz", "notebook": ".ipynb", "config": ".json", "history": ".csv", "report": ".jsonl",
           "compressed": ".kvae", "keras": ".keras", "npy": ".npy", "idx": ".gz", "tfrecord": ".tfrecord",
           "image": ".png", "checkpoint": ".npz"}  # fmt: skip


def load_npz(path):
    import kvae

    return kvae.load_data(path)


def load_notebook(path):
    """Grading without running the notebook, whose report is empty."""
    return _grade(path, [])


def load_config(path):
    from kvae.cli import options as run_options
    from kvae.cli import run_folder

    return run_options.complete(run_folder.read_options(path))


def load_history(path):
    from kvae.cli import plot

    return plot.read_history(path)


def load_report(path):
    from kvae.worksheet import grading, notebooks

    return _grade(notebooks.student_notebooks()[6], list(grading._parsed(path)))


def load_compressed(path):
    from kvae import applications

    return applications.decompress(_model(), path.read_bytes())


def load_keras(path):
    import kvae

    return kvae.load_model(path)


def load_npy(path):
    return _both(_read_all, _load_data, path)


def load_tfrecord(path):
    return _both(_read_all, _load_data, path)


def load_idx(path):
    """A file whose ending says that it is compressed, and one that is not."""
    import gzip

    from kvae.io import idx

    plain = path.with_suffix(".idx")
    plain.write_bytes(path.read_bytes())
    path.write_bytes(gzip.compress(plain.read_bytes()))
    try:
        return idx.read(plain), idx.read(path)
    finally:
        plain.unlink()


def load_image(path):
    """An image by itself, and as one of a class of images."""
    from kvae.data import image_folder

    def load_folder(path):
        from PIL import Image

        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            for name in "ab":
                (Path(folder) / name).mkdir()
                for i in range(3):
                    Image.new("L", (6, 6), 40 * i).save(Path(folder) / name / f"{i}.png")
            shutil.copy(path, Path(folder) / "a" / f"mutated{path.suffix}")
            return _load_data(folder)

    def load_one(path):
        return image_folder.fitted(image_folder.decode(path.read_bytes()), None, 3)

    return _both(load_one, load_folder, path)


def load_checkpoint(path):
    from kvae.callbacks import Checkpoint

    return Checkpoint(path).epoch


def _load_data(path):
    import kvae

    return kvae.load_data(path, image_size=(6, 6), channels=1) if Path(path).is_dir() else kvae.load_data(path)


def _both(first, second, path):
    """Load a file in two ways, also if the first one refuses it."""
    try:
        return first(path)
    finally:
        second(path)


def _read_all(path):
    """Open a stream and decode all its blocks, without TensorFlow's pipeline, which does not survive a fork."""
    from kvae import data

    source = data.stream(path).source
    return [source.decode(source.fetch(block), map) for block in range(min(len(source.sizes), 100))]


LOADERS = {name: globals()[f"load_{name}"] for name in SHARES}


def _grade(notebook, records):
    from kvae.worksheet import grade_table, grading

    grading._records = lambda *_: (records, None)  # no student code runs here
    result = grading.run(notebook)
    grade_table.write_csv([result], "grades.csv")
    return [result.total(), *grading.lines(result)]


def _model():
    import kvae

    if "model" not in _kept:
        _kept["model"] = kvae.load_model(next(_saved("cvae")))
    return _kept["model"]


_kept: dict = {}


def _saved(name):
    import keras

    backend = keras.backend.backend()
    return (path for path in sorted((Path(__file__).parent / "saved").glob(f"*/{backend}/{name}.keras")))


class Payload:
    """Code in a pickle that creates the file at `path` when unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def seeds(folder, canary):
    """Write valid files of every kind, and some that contain code; return a dict from kinds to lists of contents."""
    from kvae import applications
    from kvae.cli import options as run_options
    from kvae.worksheet import notebooks

    rng = np.random.default_rng(0)
    x, y = rng.random((12, 8, 8), dtype="float32"), np.arange(12) % 3
    found = collections.defaultdict(list)
    for save, arrays in (
        (np.savez, {"images": x, "labels": y}),
        (np.savez_compressed, {"x_train": x, "x_test": x[:5], "y_train": y, "y_test": y[:5]}),
        (
            np.savez_compressed,
            {"images": (255 * x).astype("uint8")[..., None], "attributes": np.c_[y, y].astype("int8")},
        ),
        (np.savez, {"images": x, "labels": np.array([Payload(canary)] * 12, dtype=object)}),
    ):
        file = io.BytesIO()
        save(file, **arrays)
        found["npz"].append(file.getvalue())
    found["keras"] = [path.read_bytes() for path in _saved("*")]
    found["keras"].append(mutations.with_lambda(found["keras"][0], canary))
    found["npy"], found["idx"], found["image"] = _arrays(x), _idx(x), _images()
    found["tfrecord"] = [path.read_bytes() for path in _records(folder, x, y)]
    record = {"format": 1, "epoch": 2, "history": {"loss": [3.0, 2.5]}, "variables": 2}
    file = io.BytesIO()
    np.savez(file, record=np.array(json.dumps(record)), **{"0": x[0], "1": np.array(3)})
    found["checkpoint"] = [file.getvalue()]
    sheets = notebooks.student_notebooks()
    cells = [
        {"cell_type": "code", "source": [f"open({str(canary)!r}, 'w')\n", 'check("6.1", kl)\n'], "metadata": {}},
        {"cell_type": "markdown", "source": "text", "metadata": {}},
        {"cell_type": "code", "source": "check('6.2', kl)", "metadata": {}, "outputs": [], "execution_count": None},
    ]
    small = {"cells": cells, "metadata": {"kvae": {"worksheet": 6}}, "nbformat": 4, "nbformat_minor": 5}
    found["notebook"] = [json.dumps(small).encode()] * 3 + [sheets[6].read_bytes()]
    for options in (
        run_options.DEFAULTS,
        run_options.DEMO,
        {"model": "vae", "hidden": [4], "bound": "renyi", "alpha": 0.5},
    ):
        found["config"].append(json.dumps({"options": options, "backend": "tensorflow", "versions": {}}).encode())
    found["history"] = [
        b"epoch,loss,val_loss\r\n1,30.5,31.25\r\n2,29.0,30.0\r\n",
        b'epoch,loss,"kl_loss",beta\r\n1,1e3,nan,0\r\n2,inf,0.5,1\r\n',
    ]
    records = [{"cell": 1}, {"exercise": "6.1", "state": "right", "message": "yes"}, {"cell": 2, "error": "NameError"}]
    found["report"] = [b"".join(json.dumps(record).encode() + b"\n" for record in [*records, {"done": True}])]
    model = _model()
    shape = (3, *model.image_shape)
    found["compressed"] = [applications.compress(model, rng.random(shape, dtype="float32"), 0.5, np.arange(3))]
    (folder / "notes").write_text("nothing")
    (folder / "empty").mkdir()
    for number, content in enumerate(found["image"]):
        (folder / "classes" / str(number % 2)).mkdir(parents=True, exist_ok=True)
        (folder / "classes" / str(number % 2) / f"{number}.png").write_bytes(content)
    (folder / "run").mkdir()
    for name, content in (
        ("model.keras", next(_saved("vae")).read_bytes()),
        ("config.json", b'{"options": {"model": "vae", "dataset": "npz-0.npz"}}'),
        ("history.csv", found["history"][0]),
    ):
        (folder / "run" / name).write_bytes(content)
    for kind, contents in found.items():
        for number, content in enumerate(contents):
            (folder / f"{kind}-{number}{ENDINGS[kind]}").write_bytes(content)
    return found


def _arrays(x):
    found = []
    for array in (x, (255 * x).astype("uint8"), x > 0.5):
        file = io.BytesIO()
        np.save(file, array)
        found.append(file.getvalue())
    return found


def _idx(x):
    head = bytes([0, 0, 8, 3]) + np.array(x.shape, ">u4").tobytes()
    return [head + (255 * x).astype("uint8").tobytes(), bytes([0, 0, 8, 1, 0, 0, 0, 12]) + bytes(12)]


def _images():
    """Images of every format and mode, animated ones and such with metadata."""
    from PIL import Image

    colour = Image.fromarray(np.random.default_rng(0).integers(256, size=(9, 7, 3), dtype="uint8"))
    more = {"save_all": True, "append_images": [colour]}
    found = []
    for mode, kind, options in (
        ("L", "PNG", {}), ("RGBA", "PNG", {}), ("P", "PNG", {"transparency": 3}), ("I;16", "PNG", {}),
        ("RGB", "JPEG", {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"}),
        ("CMYK", "JPEG", {}), ("P", "GIF", more), ("RGB", "BMP", {}), ("RGB", "WEBP", more), ("RGB", "PNG", more),
        ("RGB", "TIFF", {"compression": "tiff_lzw"}), ("CMYK", "TIFF", {}), ("1", "TIFF", {"compression": "group4"}),
        ("F", "TIFF", {}), ("RGB", "TIFF", more),
    ):  # fmt: skip
        file = io.BytesIO()
        colour.convert("L" if mode == "I;16" else mode).convert(mode).save(file, kind, **options)
        found.append(file.getvalue())
    return found


def _records(folder, x, y):
    """TFRecord files of raw and of encoded images."""
    import tensorflow as tf
    from tensorflow.train import BytesList, Example, Feature, Features

    from kvae.data import write_records

    paths = write_records(folder / "raw.tfrecord", (255 * x).astype("uint8"), y)
    with tf.io.TFRecordWriter(str(folder / "encoded.tfrecord")) as writer:
        for content in _images()[:5]:
            feature = {"image": Feature(bytes_list=BytesList(value=[content]))}
            writer.write(Example(features=Features(feature=feature)).SerializeToString())
    return [*paths, folder / "encoded.tfrecord"]


def one_file(seed, index, good, folder):
    """Generate input `index` and load it; return `(kind, path, outcome)`."""
    rng = random.Random(f"{seed} {index}")
    kind = rng.choices(list(SHARES), list(SHARES.values()))[0]
    path = folder / f"{kind}-{seed}-{index}{ENDINGS[kind]}"
    path.write_bytes(mutations.mutate(kind, rng.choice(good[kind]), good[kind], rng))
    return kind, path, outcome_of(LOADERS[kind], path)


def one_command(seed, index, good, folder):
    """Run command line `index`; return `(command, arguments, outcome)`."""
    import fuzz_commands

    from kvae.cli import main

    arguments = fuzz_commands.random_line(random.Random(f"{seed} {index}"))
    path = folder / f"command-{seed}-{index}.json"
    path.write_text(json.dumps(arguments))
    command = arguments[0] if arguments and arguments[0] in main.COMMANDS else "other"
    return command, path, outcome_of(run_command, path)


def run_command(path):
    """Run the command line in a JSON file; raise an `AssertionError` unless it terminates as it should."""
    from kvae.cli import main

    out, err = io.StringIO(), io.StringIO()
    arguments = json.loads(path.read_text())
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main.main(arguments)
    assert code in (0, 1, 2), f"exit code {code!r}"
    assert "Traceback" not in out.getvalue() + err.getvalue(), "a traceback"
    if code == 1 and "check" in arguments and out.getvalue():
        return  # a notebook with wrong answers, reported on standard output
    lines = err.getvalue().splitlines()
    assert not code or (lines and lines[-1].startswith("kvae")), f"code {code} after {lines[-1:]}"
    if code:
        raise ValueError(lines[-1])


def outcome_of(function, path):
    """ "loaded" or "refused", or what went wrong."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            function(path)
    except ValueError as error:
        return "refused" if len(str(error).splitlines()) == 1 else f"an error of many lines: {error}"
    except BaseException:
        return traceback.format_exc()
    return "loaded"


def work(job, seed, indices, good, folder, canary, pipe):
    """In a forked process: run inputs and report each outcome."""
    held = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_DATA, (held + MEMORY,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.chdir(folder)
    for index in indices:
        before = time.process_time()
        kind, path, outcome = job(seed, index, good, folder)
        if canary.exists():
            canary.unlink()
            outcome = "CODE RUN"
        if time.process_time() - before > SECONDS:
            outcome = f"took {time.process_time() - before:.0f} s"
        if outcome in ("loaded", "refused"):
            path.unlink()
        pipe.write(pickle.dumps((index, kind, str(path), outcome)) + b"\nEND\n")
        pipe.flush()


def run_all(job, seed, count, good, folder, canary):
    """Run inputs 0 to count − 1, and yield `(kind, path, outcome)` for each."""
    index = 0
    while index < count:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            os.dup2(os.open(folder / "noise", os.O_CREAT | os.O_WRONLY), 2)
            try:
                work(job, seed, range(index, min(count, index + BATCH)), good, folder, canary, os.fdopen(writing, "wb"))
            finally:
                os._exit(0)
        os.close(writing)
        until = min(count, index + BATCH)
        for told in _messages(reading, child):
            index = told[0] + 1
            yield told[1:]
        os.close(reading)
        _, status = os.waitpid(child, 0)
        if index < until:  # it terminated early
            ending = "hung" if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL else "crashed"
            left = list(folder.glob(f"*-{seed}-{index}.*"))
            yield "?", str(left[0] if left else index), f"the process {ending}, status {status}"
            index += 1


def _messages(reading, child):
    """Yield the reports of a process until it terminates, or hangs and is killed."""
    buffer, used, heard = b"", _processor_seconds(child), time.monotonic()
    while True:
        ready, _, _ = select.select([reading], [], [], 1.0)
        if ready:
            chunk = os.read(reading, 2**16)
            if not chunk:
                return
            *whole, buffer = (buffer + chunk).split(b"\nEND\n")
            yield from (pickle.loads(each) for each in whole)
            if whole:
                used, heard = _processor_seconds(child), time.monotonic()
        # CPU time, so that a busy machine does not matter, and wall time for a process that waits indefinitely.
        elif _processor_seconds(child) - used > 2 * SECONDS or time.monotonic() - heard > 20 * SECONDS:
            os.kill(child, signal.SIGKILL)


def _processor_seconds(process):
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def in_a_fork(function, *arguments):
    """Call `function(*arguments)` in a separate process: once initialised, TensorFlow does not survive a fork."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with os.fdopen(writing, "wb") as pipe:
            pickle.dump(function(*arguments), pipe)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        content = pipe.read()
    os.waitpid(child, 0)
    return pickle.loads(content)


def fuzz(job, seed, count, keep):
    """Run `count` inputs, print the outcomes and return the number of failures."""
    start, table, failures = time.monotonic(), collections.defaultdict(collections.Counter), 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        canary = folder / "canary"
        good = in_a_fork(seeds, folder, canary)
        assert not canary.exists(), "a seed's code ran while it was written"
        for kind, path, outcome in run_all(job, seed, count, good, folder, canary):
            fine = outcome in ("loaded", "refused")
            table[kind][outcome if fine else "FAILED"] += 1
            if not fine:
                failures += 1
                keep.mkdir(parents=True, exist_ok=True)
                if Path(path).is_file():
                    path = shutil.copy(path, keep)
                print(f"{path}: {outcome}", flush=True)
    for kind, outcomes in sorted(table.items()):
        print(f"{kind:>12}  " + ", ".join(f"{number} {name}" for name, number in sorted(outcomes.items())))
    total = sum(outcomes.total() for outcomes in table.values())
    print(f"{total} inputs, {failures} failures, {time.monotonic() - start:.0f} s", flush=True)
    return failures


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=0, help="files")
    parser.add_argument("--commands", type=int, default=0, help="command lines")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("fuzz-failures"), help="folder for what failed")
    parser.add_argument("--replay", type=Path, help="a file that was kept")
    arguments = parser.parse_args()
    if arguments.replay:
        kind = arguments.replay.name.split("-")[0]
        print(outcome_of(LOADERS.get(kind, run_command), arguments.replay.resolve()))
        return
    import kvae.cli.plot
    import kvae.worksheet.grading  # noqa: F401  # once, before the forks

    failures = 0
    if arguments.count:
        failures += fuzz(one_file, arguments.seed, arguments.count, arguments.keep)
    if arguments.commands:
        failures += fuzz(one_command, arguments.seed, arguments.commands, arguments.keep)
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
