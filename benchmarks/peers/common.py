"""What the contestants share: sizes, data, and a way to be told when to run.

A contestant is a module with `build(task, backend)`, which makes a model and gives `(run, check)`: `run()` is what is
timed and returns how many images or samples it did, `check()` a number that must be near the other contestants'. As
`python -m peers.NAME [backend]` it stays alive and answers requests, one JSON object a line, see `serve`.
"""

import dataclasses
import json
import os
import sys
import time
import traceback

import numpy as np

RATE = 1e-3  # of Adam, everywhere, with Keras's ε and moments
EPSILON = 1e-7
CHECKED = 1000  # images that the bound is compared on


@dataclasses.dataclass(frozen=True)
class Task:
    """A model, its data and what is done with it.

    Attributes:
        what: "train" for an epoch, "likelihood" for log p(x) of `count` images, "generate" for `count` images.
        network: "mlp" or "conv", the layers of `kvae.networks` of that name.
        hidden: units or filters of the encoder's layers, from the image on; the decoder is its mirror.
        latent: latent dimensions.
        activation: of the hidden layers, "relu" or "tanh".
        classes: length of the one-hot label that both networks of a conditional MLP see; 0 for no labels.
        side: pixels of an image's height and width.
        samples: posterior samples an image: L of the ELBO, k of the importance weighted bound, K of a likelihood.
        importance_weighted: whether that bound is trained, not the ELBO.
        batch: images a step.
        images: to train on; an epoch is what comes before each likelihood or generation.
        count: images to score or to generate.
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
    count: int = 0


def data(task):
    """Binary images float32 `(n, side, side, 1)`, and their labels int64 `(n,)` in 0..9: smooth blots that differ."""
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


def job(task, epoch, bound_reached, draw):
    """What a round of the task runs, and the number to compare, as `serve` wants them.

    Args:
        task: `Task` to train or to generate.
        epoch: function that trains for an epoch and returns how many images it did.
        bound_reached: function to the loss reached.
        draw: function to `task.count` images of the model as it is.
    """
    if task.what == "train":
        return epoch, bound_reached
    mean = {}

    def generate():
        mean["check"] = draw()[:CHECKED].mean()
        return task.count

    epoch()
    return generate, lambda: mean["check"]


def serve(build):
    """Answer requests on stdin until it ends.

    `{"task": {...}}` builds and runs once, so that everything is compiled; `"run"` runs once and answers with seconds
    and how many were done; `"check"` answers with the number to compare. What libraries print goes to stderr.
    """
    backend = sys.argv[1] if len(sys.argv) > 1 else None
    if backend:
        os.environ["KERAS_BACKEND"] = backend
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    run = check = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request == "run":
                start = time.perf_counter()
                done = run()
                reply = {"seconds": time.perf_counter() - start, "done": done}
            elif request == "check":
                reply = {"check": float(check())}
            else:
                task = {k: tuple(v) if isinstance(v, list) else v for k, v in request["task"].items()}
                run = check = None  # frees the memory of the task before
                run, check = build(Task(**task))
                run()
                reply = {"ready": True}
        except Exception as error:  # the others go on; speed.py names this one and leaves it out
            traceback.print_exc()
            reply = {"error": f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"}
        print(json.dumps(reply), file=replies, flush=True)
