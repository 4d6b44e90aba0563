"""The time of `log_likelihood` relative to the matrix products of its decoder, and its memory against `batch_size`.

The decoder is that of Burda et al., 50-200-200-784 with tanh, for binary images. Products and estimates of the same
batch shape are timed alternately in one process, together with NumPy's products. The weights are random, which does not
affect the time.

Run it on an idle machine: `python benchmarks/likelihood.py [examples] [rounds] [samples] [batch size]`, with the
backend in KERAS_BACKEND.
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path

import kvae
from kvae.training.kept import kept

import keras
import numpy as np
from keras import ops

IMAGE, LATENT, HIDDEN = (28, 28, 1), 50, (200, 200)


def build(num_examples):
    """A model of the size used in the paper, and binary images."""
    keras.utils.set_random_seed(0)
    model = kvae.VAE(*kvae.networks.mlp(IMAGE, LATENT, HIDDEN, activation="tanh"))
    return model, np.random.default_rng(0).integers(0, 2, (num_examples, *IMAGE)).astype("float32")


def products(model, batch_size):
    """The matrix products of the decoder, as functions without arguments: on this backend and in NumPy."""
    kernels = [layer.kernel for layer in model.decoder.layers if hasattr(layer, "kernel")]
    z = np.random.default_rng(0).normal(size=(batch_size, LATENT)).astype("float32")

    def chain(model, noise, h):
        for kernel in kernels:
            h = ops.matmul(h, kernel)
        return h[-1:]  # a single row, so that converting the result to NumPy takes no time

    arrays = [ops.convert_to_numpy(kernel) for kernel in kernels]
    outputs = [np.empty((batch_size, a.shape[1]), "float32") for a in arrays]

    def numpy_chain():
        h = z
        for array, out in zip(arrays, outputs, strict=True):
            h = np.matmul(h, array, out=out)

    compiled = kept(model, chain)
    return lambda: ops.convert_to_numpy(compiled(z)), numpy_chain


def seconds(function, times=1):
    """The wall time of `times` calls."""
    start = time.perf_counter()
    for _ in range(times):
        function()
    return time.perf_counter() - start


def main(num_examples=1000, rounds=3, num_samples=5000, batch_size=5000):
    """Print the median times, and the median of the ratios within a round."""
    model, x = build(num_examples)
    bare, numpy_bare = products(model, batch_size)
    times = num_examples * num_samples // batch_size  # calls that decode the same number of rows

    def estimate():
        return kvae.evaluation.log_likelihood(model, x, num_samples=num_samples, batch_size=batch_size, seed=0)

    estimate(), bare(), numpy_bare()  # compiles what is compiled only once
    rows = []
    for _ in range(rounds):
        rows.append((seconds(bare, times), seconds(estimate), seconds(bare, times), seconds(numpy_bare, times)))
    print(f"{keras.backend.backend()}: {num_examples} examples x {num_samples} samples, {batch_size} rows at a time")
    for name, column in (("products", 0), ("log_likelihood", 1), ("products again", 2), ("products, NumPy", 3)):
        times = sorted(row[column] for row in rows)
        print(f"{name:>16}  {statistics.median(times):.3f} s ({times[0]:.3f} to {times[-1]:.3f} in {rounds} rounds)")
    for name, ratios in (
        ("log_likelihood / products", [row[1] / (0.5 * (row[0] + row[2])) for row in rows]),
        ("log_likelihood / NumPy's products", [row[1] / row[3] for row in rows]),
    ):
        print(f"{name}: {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})")


def status(field):
    """A field of this process's status, in MiB (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def memory(batch_size):
    """Print the peak memory that an estimate adds, and the size of its decoder's outputs."""
    model, x = build(4)
    kvae.evaluation.log_likelihood(model, x, num_samples=10, batch_size=10, seed=0)  # memory needed at any size
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = status("VmRSS")
    kvae.evaluation.log_likelihood(model, x, num_samples=40_000, batch_size=batch_size, seed=0)
    added = status("VmHWM") - before
    print(f"batch_size {batch_size:>6}: {added:6.0f} MiB more, outputs are {batch_size * 784 * 4 / 2**20:4.0f} MiB")


if __name__ == "__main__":
    if sys.argv[1:2] == ["memory"]:
        memory(int(sys.argv[2]))
    else:
        main(*map(int, sys.argv[1:]))
        for size in (1000, 5000, 20_000):
            print(
                subprocess.run(
                    [sys.executable, __file__, "memory", str(size)], capture_output=True, text=True
                ).stdout.strip()
            )
