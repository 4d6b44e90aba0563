"""Where the time of one training step goes: `python benchmarks/step.py` (TensorFlow, the MLP of `speed.py`, batch 128).

Each part runs 100 times inside one graph, the best of several such runs counts; the last lines are whole epochs of
`fit` on 60,000 images, fed as kvae feeds arrays, with one batch that is always the same, and by a `tf.data` pipeline
that gathers the batches in a thread beside the model. Prints a Markdown table of milliseconds a step.
"""

import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import tensorflow as tf

import kvae
from kvae.models import feeding

BATCH, IMAGES, STEPS = 128, 60_000, 100


def milliseconds(function, repeats=6):
    """The best time of a step of `function()`, in ms."""

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
    """The model, ready for `fit`."""
    model = kvae.VAE(*kvae.networks.mlp((28, 28, 1), 20, (400,)), seed=0)
    model.compile(keras.optimizers.Adam(1e-3))
    return model


def parts(x):
    """Pairs of a part's name and its ms."""
    model, images = compiled(), tf.constant(x)
    batch = images[:BATCH]
    model(batch)
    optimizer = model.optimizer
    optimizer.build(model.trainable_variables)
    weights = [variable.value for variable in model.trainable_variables]
    noise = [tf.random.normal(weight.shape) for weight in weights]
    rows = tf.constant(np.random.default_rng(0).permutation(len(x))[:BATCH])
    whole = tf.constant(np.rint(255 * x).astype("uint8"))
    kept = tf.Variable(tf.zeros_like(batch))

    def gradients():
        with tf.GradientTape() as tape:
            model(batch, training=True)
            loss = sum(model.losses)
        return tape.gradient(loss, weights)

    def keep_gradients():  # something must, or the graph leaves them out
        for place, gradient in zip(optimizer._momentums, gradients(), strict=True):
            place.assign(gradient)

    apply = tf.function(lambda gradients: optimizer.apply(gradients, model.trainable_variables), jit_compile=True)
    whole_step = tf.function(lambda: optimizer.apply(gradients(), model.trainable_variables), jit_compile=True)
    total = 0.0
    for i, (inputs, outputs) in enumerate([(784, 400), (400, 40), (20, 400), (400, 784)]):
        a, w, d = (tf.random.normal(s) for s in ((BATCH, inputs), (inputs, outputs), (BATCH, outputs)))
        total += _product(a, w) + _product(a, d, transpose_a=True)
        total += _product(d, w, transpose_b=True) if i else 0.0  # no gradient of the images is needed
    yield "the products of both passes alone", total
    yield "forward and backward pass", milliseconds(keep_gradients)
    yield "Adam alone", milliseconds(lambda: optimizer.apply(noise, model.trainable_variables))
    yield "Adam alone, by XLA", milliseconds(lambda: apply(noise))
    yield "passes and Adam", milliseconds(lambda: optimizer.apply(gradients(), model.trainable_variables))
    yield "passes, and Adam by XLA", milliseconds(lambda: apply(gradients()))
    yield "passes and Adam, all by XLA", milliseconds(whole_step)
    yield "gathering a batch from bytes", milliseconds(lambda: kept.assign(feeding.gathered(rows, (whole, None, None))))


def _product(a, b, **kwargs):
    """ms of one product that is kept."""
    kept = tf.Variable(tf.matmul(a, b, **kwargs))
    return milliseconds(lambda: kept.assign(tf.matmul(a, b, **kwargs)))


def epochs(x):
    """Pairs of a way to feed `fit` and the ms of its steps."""
    same = tf.data.Dataset.from_tensors(tf.constant(x[:BATCH])).repeat(-(-IMAGES // BATCH))
    feeds = {
        "`fit`, one batch again and again": {"x": same},
        "`fit` on the array": {"x": x, "batch_size": BATCH},
        "`fit` on `data.pipeline`": {"x": kvae.data.pipeline(x, batch_size=BATCH)},
    }
    for name, arguments in feeds.items():
        model, begun, ended = compiled(), [], []
        clock = keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs, begun=begun: begun.append(time.perf_counter()),
            on_epoch_end=lambda epoch, logs, ended=ended: ended.append(time.perf_counter()),
        )
        if not isinstance(arguments["x"], np.ndarray):
            model.take_steps(67)  # as `fit` on the array does
        model.fit(**arguments, epochs=5, verbose=0, callbacks=[clock])
        yield name, 1e3 * float(np.median(np.subtract(ended, begun)[1:])) / -(-IMAGES // BATCH)


def main():
    """Print the table."""
    x = (np.random.default_rng(0).random((IMAGES, 28, 28, 1), "float32") > 0.8).astype("float32")
    print("| part of a step | ms |\n| --- | --- |")
    for rows in (parts(x), epochs(x)):
        for name, ms in rows:
            print(f"| {name} | {ms:.2f} |", flush=True)


if __name__ == "__main__":
    main()
