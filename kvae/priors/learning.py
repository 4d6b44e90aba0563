"""Training of a density of codes by maximum likelihood."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from kvae.priors.base import Prior
from kvae.types import Array, Tensor

QUIET = 2.0  # seconds before progress is first shown


def maximum_likelihood(
    density: Prior,
    params: Array,
    draw: Callable[[Tensor, Any], Tensor],
    epochs: int,
    batch_size: int,
    learning_rate: float,
    seed: int | None,
) -> None:
    """Maximise the mean of log p(z) over codes, drawn anew in each step, by Adam with a rate that falls to zero.

    Args:
        density: bound `Prior`, whose weights are trained.
        params: what codes are drawn from, `(n, ...)`.
        draw: function from a batch of `params` and a seed to codes `(batch, *latent_shape)`.
        epochs: passes over `params`.
        batch_size: rows per step.
        learning_rate: initial rate.
        seed: int for reproducible draws.

    Raises:
        ValueError: if the weights became NaN or infinite.
    """
    learner = _Learner(density, draw, seed)
    steps = epochs * -(-len(params) // batch_size)
    schedule = keras.optimizers.schedules.CosineDecay(learning_rate, steps)
    learner.compile(optimizer=keras.optimizers.Adam(schedule, clipnorm=100.0))
    learner.fit(params, batch_size=batch_size, epochs=epochs, verbose=0, callbacks=[_Progress()])
    if not all(np.isfinite(ops.convert_to_numpy(weight)).all() for weight in density.weights):
        raise ValueError(
            f"The density became NaN or infinite: lower `learning_rate`. Received: learning_rate={learning_rate:g}"
        )


class _Learner(keras.Model):
    """Minimises −log p(z) of codes, or a bound of it."""

    def __init__(self, density: Prior, draw: Callable[[Tensor, Any], Tensor], seed: int | None) -> None:
        super().__init__(name="learner")  # TensorFlow takes no name that starts with an underscore
        self.density = density
        self.draw = draw
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, params: Tensor) -> Tensor:
        z = self.draw(params, self.seed_generator)
        log_prob = self.density.log_prob(z, (), self.seed_generator)
        self.add_loss(-ops.mean(log_prob))
        return log_prob


class _Progress(keras.callbacks.Callback):
    """A Keras progress bar of all epochs in runs of more than two seconds; ten lines if it is not a terminal."""

    def on_train_begin(self, logs: Any = None) -> None:
        self.start, self.tenths, epochs = time.perf_counter(), 0, self.params["epochs"]
        self.bar = keras.utils.Progbar(epochs, unit_name="epoch", stateful_metrics=["loss"])

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        done, epochs = epoch + 1, self.params["epochs"]
        if time.perf_counter() - self.start < QUIET:
            return
        if sys.stdout.isatty():
            self.bar.update(done, [("loss", (logs or {}).get("loss"))], finalize=done == epochs)
        elif 10 * done // epochs > self.tenths:
            self.tenths = 10 * done // epochs
            print(f"prior: epoch {done} of {epochs}, {(logs or {}).get('loss', float('nan')):.2f} nats", flush=True)
