"""Common parts of the contestants: sizes, data, and a protocol to run them.

A contestant is a module with `build(task, backend)`, which builds a model and returns `(run, check)`. `run()` is timed
and returns the number of processed images or samples; `check()` returns a number that must be close to those of the
other contestants. `python -m peers.NAME [backend]` keeps running and answers requests, one
JSON object per line (see `serve`).
"""

import dataclasses
import json
import os
import sys
import time
import traceback

import numpy as np

RATE = 1e-3  # of Adam for all contestants, with Keras's ε and decay rates
EPSILON = 1e-7
CHECKED = 1000  # number of images on which the bounds are compared


@dataclasses.dataclass(frozen=True)
class Task:
    """A model, its data and what to do with it.

    Attributes:
        what: "train" for `epochs`, "evaluate" for `evaluate` on as many images (kvae only), "likelihood" for log p(x)
            of `count` images, "generate" for `count` images.
        network: "mlp" or "conv", the layers of `kvae.networks` of that name.
        hidden: units or filters of the encoder's layers, starting at the image; the decoder mirrors them.
        latent: latent dimensions.
        activation: of the hidden layers, "relu" or "tanh".
        classes: length of the one-hot label given to both networks of a conditional MLP; 0 for no labels.
        side: height and width of an image in pixels.
        samples: posterior samples per image: L of the ELBO, k of the importance-weighted bound, K of a likelihood.
        importance_weighted: whether to train on that bound instead of the ELBO.
        batch: images per step.
        images: number of training images; one epoch of training precedes each likelihood or generation task.
        epochs: of training in one call.
        count: number of images to score or generate.
        untimed: calls before the timed one in each round.
        streamed: whether the images are generated block by block while they are read, and never all in memory (kvae
            only).
        policy: Keras's dtype policy of the networks (kvae only).
    """

    what: str = "train"
    network: str = "mlp"
    hidden: tuple = (400,)
    latent: int = 20
    activation: str = "relu"
    classes: int = 0
    side: int = 28
    samples: int = 1
    importance_weighted: bool = False
    batch: int = 128
    images: int = 60_000
    epochs: int = 1
    count: int = 0
    untimed: int = 0
    streamed: bool = False
    policy: str = "float32"


def from_json(fields):
    """The `Task` of a dict, in which JSON has turned tuples to lists."""
    return Task(**{name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()})


def data(task):
    """Binary images of random smooth shapes, float32 `(n, side, side, 1)`, and labels in 0..9, int64 `(n,)`."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, task.images)
    waves = np.cos(np.pi * np.outer(np.arange(5), (np.arange(task.side) + 0.5) / task.side))
    waves = np.einsum("iy,jx->ijyx", waves, waves).reshape(25, -1).astype("float32")
    weights = 1.5 * rng.normal(size=(10, 25))[labels] + rng.normal(size=(task.images, 25))
    images = (weights.astype("float32") @ waves > 0).astype("float32")
    return images.reshape(-1, task.side, task.side, 1), labels


def one_hot(task, labels):
    """Labels as float32 `(n, classes)`, or `None` for a task without labels."""
    return np.eye(task.classes, dtype="float32")[labels] if task.classes else None


def job(task, train, bound_reached, draw):
    """Return what a round of the task runs, and the number to compare, as required by `serve`.

    Args:
        task: `Task` to train or generate.
        train: function that trains for `task.epochs` and returns the number of images, each counted as often as seen.
        bound_reached: function that returns the loss.
        draw: function that generates `task.count` images with the current model.
    """
    if task.what == "train":
        return train, bound_reached
    mean = {}

    def generate():
        mean["check"] = draw()[:CHECKED].mean()
        return task.count

    train()
    return generate, lambda: mean["check"]


def serve(build):
    """Answer requests on stdin until it is closed.

    `{"task": {...}}` builds the task and runs it once, so that everything is compiled; `"run"` runs it once, after the
    task's untimed calls, and returns seconds and count; `"check"` returns the number to compare. The output of
    libraries is redirected to stderr.
    """
    backend = sys.argv[1] if len(sys.argv) > 1 else None
    if backend:
        os.environ["KERAS_BACKEND"] = backend
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    run = check = task = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request == "run":
                for _ in range(task.untimed):
                    run()
                start = time.perf_counter()
                done = run()
                reply = {"seconds": time.perf_counter() - start, "done": done}
            elif request == "check":
                reply = {"check": float(check())}
            else:
                run = check = None  # frees the memory of the previous task
                task = from_json(request["task"])
                run, check = build(task)
                run()
                reply = {"ready": True}
        except Exception as error:  # the others continue; speed.py reports this contestant and skips it
            traceback.print_exc()
            reply = {"error": f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"}
        print(json.dumps(reply), file=replies, flush=True)
