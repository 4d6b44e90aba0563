"""Where the time of one training step goes: `python benchmarks/step.py` (TensorFlow, the MLP of `speed.py`, batch 128).

Each part runs 100 times inside one graph, and the best of several such runs counts. The first rows are medians of
interleaved epochs of `fit` on 60,000 images: fed as kvae feeds arrays, with always the same batch, by a `tf.data`
pipeline that gathers batches in a separate thread, and with different kinds of logging. Prints a Markdown table of
milliseconds and page faults per step. For page faults with glibc's default instead of kvae's setting, run
`MALLOC_TOP_PAD_=131072 python benchmarks/step.py`.
"""

import contextlib
import io
import os
import resource
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"

import kvae
from kvae.training import fit_on_arrays

import keras
import numpy as np
import tensorflow as tf

BATCH, IMAGES, STEPS = 128, 60_000, 100


def milliseconds(function, repeats=6):
    """The best time per step of `function()`, in ms."""

    @tf.function
    def loop():
        for _ in tf.range(STEPS):
            function()

    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        loop()
        times.append(1e3 * (time.perf_counter() - start) / STEPS)
    return min(times)


def compiled():
    """The compiled model."""
    model = kvae.VAE(*kvae.networks.mlp((28, 28, 1), 20, (400,)), seed=0)
    model.compile(keras.optimizers.Adam(1e-3))
    return model


def parts(x):
    """Pairs of the name of a part and its time in ms."""
    model, images = compiled(), tf.constant(x)
    batch = images[:BATCH]
    model(batch)
    optimizer = model.optimizer
    optimizer.build(model.trainable_variables)
    weights = [variable.value for variable in model.trainable_variables]
    noise = [tf.random.normal(weight.shape) for weight in weights]
    places = [tf.Variable(tf.zeros(weight.shape)) for weight in weights]
    rows = tf.constant(np.random.default_rng(0).permutation(len(x))[:BATCH])
    whole = tf.constant(np.rint(255 * x).astype("uint8"))
    kept = tf.Variable(tf.zeros_like(batch))

    def gradients():
        with tf.GradientTape() as tape:
            model(batch, training=True)
            loss = sum(model.losses)
        return tape.gradient(loss, weights)

    def keep_gradients():  # used, or the graph would prune them
        for place, gradient in zip(places, gradients(), strict=True):
            place.assign(gradient)

    theirs = keras.optimizers.Adam(1e-3)  # before its update is fused
    theirs.build(model.trainable_variables)
    by_xla = tf.function(lambda gradients: theirs.apply(gradients, model.trainable_variables), jit_compile=True)
    whole_step = tf.function(lambda: optimizer.apply(gradients(), model.trainable_variables), jit_compile=True)
    total = 0.0
    for i, (inputs, outputs) in enumerate([(784, 400), (400, 40), (20, 400), (400, 784)]):
        a, w, d = (tf.random.normal(s) for s in ((BATCH, inputs), (inputs, outputs), (BATCH, outputs)))
        total += _product(a, w) + _product(a, d, transpose_a=True)
        total += _product(d, w, transpose_b=True) if i else 0.0  # no gradient of the images is needed
    yield "matrix products of both passes only", total
    yield "forward and backward pass", milliseconds(keep_gradients)
    yield "Adam only, Keras's implementation", milliseconds(lambda: theirs.apply(noise, model.trainable_variables))
    yield "Adam only, one kernel per weight", milliseconds(lambda: optimizer.apply(noise, model.trainable_variables))
    yield "Adam only, with XLA", milliseconds(lambda: by_xla(noise))
    yield "passes and Keras's Adam", milliseconds(lambda: theirs.apply(gradients(), model.trainable_variables))
    yield "passes and Adam", milliseconds(lambda: optimizer.apply(gradients(), model.trainable_variables))
    yield "passes, and Adam with XLA", milliseconds(lambda: by_xla(gradients()))
    yield "passes and Adam, both with XLA", milliseconds(whole_step)
    yield (
        "gathering a batch from bytes",
        milliseconds(lambda: kept.assign(fit_on_arrays.gathered(rows, (whole, None, None)))),
    )


def _product(a, b, **kwargs):
    """Time of a matrix product in ms, whose result is used."""
    kept = tf.Variable(tf.matmul(a, b, **kwargs))
    return milliseconds(lambda: kept.assign(tf.matmul(a, b, **kwargs)))


def epochs(x, folder, rounds=7):
    """Rows of the variants of `fit`, with ms and page faults per step."""
    steps = -(-IMAGES // BATCH)
    same = tf.data.Dataset.from_tensors(tf.constant(x[:BATCH])).repeat(steps)
    ways = {
        "`fit` on the array": {"x": x, "batch_size": BATCH, "verbose": 0},
        "the same, with a progress bar": {"x": x, "batch_size": BATCH, "verbose": 1},
        "the same, with a history file": {
            "x": x,
            "batch_size": BATCH,
            "verbose": 0,
            "callbacks": [kvae.callbacks.HistoryFile(folder / "history.csv")],
        },
        "`fit`, always the same batch": {"x": same, "verbose": 0},
        "`fit` on `data.pipeline`": {"x": kvae.data.pipeline(x, batch_size=BATCH), "verbose": 0},
    }
    models, times, faults = {name: compiled() for name in ways}, {name: [] for name in ways}, {}
    for name, arguments in ways.items():
        if not isinstance(arguments["x"], np.ndarray):
            models[name].take_steps(67)  # like `fit` on the array
    for turn in range(rounds + 1):
        for name, arguments in ways.items():
            before, start = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, time.perf_counter()
            with contextlib.redirect_stdout(io.StringIO()):
                models[name].fit(**arguments)
            if turn:  # the first epoch compiles
                times[name].append(1e3 * (time.perf_counter() - start) / steps)
            faults[name] = (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / steps
    for name in ways:
        yield name, float(np.median(times[name])), faults[name]


def main():
    """Print the table."""
    x = (np.random.default_rng(0).random((IMAGES, 28, 28, 1), "float32") > 0.8).astype("float32")
    print("| part of a step | ms | page faults |\n| --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        for name, ms, faults in epochs(x, Path(folder)):
            print(f"| {name} | {ms:.2f} | {faults:.0f} |", flush=True)
    for name, ms in parts(x):
        print(f"| {name} | {ms:.2f} | |", flush=True)


if __name__ == "__main__":
    main()
