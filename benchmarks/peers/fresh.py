"""Measurements in a fresh process: `python -m peers.fresh WHAT kvae|stock_keras BACKEND` prints JSON.

`startup`: seconds of the import, and from the call of `fit` on 60,000 images until its progress bar first moves.
`demo`: seconds of `kvae demo` with the bytecode that pip writes when it installs a package.
`memory`: peak resident memory of an MNIST `fit`, minus that after `import keras`, in megabytes.
`large`: peak resident memory of three methods on 300,000 images, minus that before the call and their result.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

IMAGES, BATCH = 60_000, 128
LARGE = 300_000


class FirstMove:
    """A stdout that ends the process when a progress bar first moves, and reports the time."""

    encoding = "utf-8"

    def __init__(self, stdout, report):
        self.stdout = stdout
        self.report = report

    def write(self, text):
        """Look for completed steps in the output."""
        if re.search(rf"[1-9]\d*/{-(-IMAGES // BATCH)}\b", text):
            self.stdout.write(json.dumps(self.report()))
            self.stdout.flush()
            os._exit(0)

    def flush(self):
        """Do nothing: output is not buffered."""

    def isatty(self):
        """Pretend not to be a terminal."""
        return False


def compiled(library):
    """The compiled MLP of the other measurements."""
    import keras

    if library == "kvae":
        import kvae

        model = kvae.VAE(*kvae.networks.mlp((28, 28, 1), 20, (400,)))
        model.compile(keras.optimizers.Adam(1e-3))
        return model
    from peers import common, stock_keras

    return stock_keras.compiled(common.Task())


def startup(library):
    """Print `import` and `first_step`, seconds."""
    start = time.perf_counter()
    __import__({"stock_keras": "keras"}.get(library, library))
    imported = time.perf_counter() - start
    model, shape = compiled(library), (28, 28, 1) if library == "kvae" else (784,)
    x = (np.random.default_rng(0).random((IMAGES, *shape), "float32") > 0.8).astype("float32")
    start = time.perf_counter()
    sys.stdout = FirstMove(sys.stdout, lambda: {"import": imported, "first_step": time.perf_counter() - start})
    model.fit(x, batch_size=BATCH, epochs=1)
    sys.exit("no progress bar appeared")


def resident(field):
    """`VmRSS` of this process, or its peak `VmHWM`, in megabytes (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(field))


def memory(library):
    """Print `megabytes`."""
    import keras

    before = resident("VmRSS")
    model = compiled(library)
    if library == "kvae":
        import kvae

        x = kvae.load_data("mnist").x_train
    else:
        (x, _), _ = keras.datasets.mnist.load_data()
        x = x.reshape(-1, 784).astype("float32") / 255
    model.fit(x, batch_size=BATCH, epochs=2, verbose=0)
    print(json.dumps({"megabytes": resident("VmHWM") - before}))


def large(library):
    """Print `evaluate`, `generate` and `LatentScatter`."""
    import kvae

    import keras

    model = kvae.VAE(*kvae.networks.mlp((28, 28, 1), 2, (64,)), seed=0)
    model.compile("adam")
    rng = np.random.default_rng(0)
    x, y = np.empty((LARGE, 28, 28, 1), "float32"), rng.integers(0, 10, LARGE)
    for rows in np.split(x, 30):
        rows[:] = rng.integers(0, 2, rows.shape)

    def scatter():
        with tempfile.TemporaryDirectory() as folder:
            callback = kvae.callbacks.LatentScatter(folder, x, y)
            callbacks = keras.callbacks.CallbackList([callback], model=model)
            callbacks.on_train_begin()
            callbacks.on_epoch_end(0, {})

    methods = {
        "evaluate": (lambda: model.evaluate(x, batch_size=1000, verbose=0), 0),
        "generate": (lambda: model.generate(LARGE, seed=0), x.nbytes / 1e6),
        "LatentScatter": (scatter, 0),
    }
    peaks = {}
    for name, (method, result) in methods.items():
        Path("/proc/self/clear_refs").write_text("5")  # VmHWM begins anew
        before = resident("VmRSS")
        method()
        peaks[name] = max(0.0, resident("VmHWM") - before - result)
    print(json.dumps(peaks))


def demo(library):
    """Print `seconds`."""
    with tempfile.TemporaryDirectory() as folder:
        code = "import sys; sys.argv = ['kvae', 'demo']; from kvae.cli.main import main; main()"
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, capture_output=True)
        print(json.dumps({"seconds": time.perf_counter() - start}))


if __name__ == "__main__":
    what, library, os.environ["KERAS_BACKEND"] = sys.argv[1:]
    {"startup": startup, "demo": demo, "memory": memory, "large": large}[what](library)
