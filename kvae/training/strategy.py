"""Training on several devices or machines, with the strategies of TensorFlow and JAX.

A model is built in `scope`. Batches are divided among its replicas; the gradient equals that of one replica with the
whole batch, up to rounding, even if a short last batch is divided unequally. With TensorFlow, statistics over a batch
(batch normalisation, the mean activation of `penalties.KLSparsity`) are those of each replica's share.
"""

from __future__ import annotations

import contextlib
import functools
import json
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import keras
import numpy as np
from keras import ops

from kvae.io import limits
from kvae.training import cluster
from kvae.types import Array, Tensor

BACKENDS = {"mirrored": "tensorflow", "multiworker": "tensorflow", "dataparallel": "jax"}
STRATEGIES = ("none", *BACKENDS)
_DRAWING = threading.Lock()  # not in the generator: models are copied and pickled


@contextlib.contextmanager
def scope(name: str = "none", wait: float = cluster.WAIT) -> Iterator[AbstractContextManager[None]]:
    """A context in which to build and compile a model for several devices or machines; it yields the one to fit in.

    "mirrored" uses the GPUs of one machine, "multiworker" several machines, listed in the environment variable
    TF_CONFIG, "dataparallel" the devices that JAX sees. The batch size is the global one. "multiworker" waits for the
    other workers, and must be entered before TensorFlow does anything else in the process; all workers must see the
    same batches in the same order, as `Dataset.batches` gives them.

    Args:
        name: "none", "mirrored", "multiworker" (both TensorFlow) or "dataparallel" (JAX).
        wait: seconds to wait for the other workers.

    Yields:
        A context manager for `fit`. It differs from this one, in which all workers must create the same variables,
        because callbacks that draw may run on a single worker.

    Raises:
        ValueError: for an unknown name, one of another backend, an invalid TF_CONFIG or workers that do not answer.
        ConnectionError: from either context, if another worker is lost.

    Example:

    ```python
    with kvae.strategy.scope("mirrored") as fitting:
        model = kvae.VAE(*kvae.networks.mlp(data.image_shape, latent_dim=2))
        model.compile(optimizer="adam")
    with fitting:
        model.fit(data.batches(labels=False), epochs=30)
    ```
    """
    if name not in STRATEGIES:
        raise ValueError(f"`strategy` must be one of {STRATEGIES}. Received: {name!r}")
    backend = keras.backend.backend()
    if name != "none" and backend != BACKENDS[name]:
        fitting = [each for each, needed in BACKENDS.items() if needed == backend]
        raise ValueError(
            f"`strategy` {name} needs another backend: set KERAS_BACKEND={BACKENDS[name]}, or use one of "
            f"{['none', *fitting]}. Received: the {backend} backend"
        )
    if name == "dataparallel":
        distribution = keras.distribution.DataParallel()
        with distribution.scope():
            yield distribution.scope()
    elif name == "mirrored":
        import tensorflow as tf

        with tf.distribute.MirroredStrategy().scope():
            yield contextlib.nullcontext()
    elif name == "multiworker":
        cluster.wait_for_others(cluster.read_cluster(), wait)
        with _others_present(), _join().scope():
            yield _others_present()
    else:
        yield contextlib.nullcontext()


def _join():
    """Join the cluster that TF_CONFIG describes, and return its strategy."""
    import tensorflow as tf

    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except RuntimeError as error:  # TensorFlow can join a cluster only before it has done anything
        raise ValueError(
            f"`strategy` multiworker must be entered before anything else that TensorFlow does in this process: put "
            f"`with scope` first. Received: {error}"
        ) from error


@contextlib.contextmanager
def _others_present():
    """Report in one line that another worker was lost."""
    import tensorflow as tf

    try:
        yield
    except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.DeadlineExceededError) as error:
        raise ConnectionError(
            "Another worker was lost: restart all workers; training with a checkpoint resumes after its last complete "
            f"epoch. Received: {error.message.splitlines()[0]}"
        ) from error


def is_chief(name: str = "none") -> bool:
    """Whether this process writes files: the only one, or the first of several workers.

    Args:
        name: that of the strategy, as in `scope`.

    Raises:
        ValueError: for "multiworker" with an invalid TF_CONFIG.
    """
    return name != "multiworker" or cluster.read_cluster().position == 0


def writes() -> bool:
    """Whether this process writes files: the only one, or the first of the workers in whose scope this is called."""
    return not several_workers() or is_chief("multiworker")


def from_chief(content: bytes) -> bytes:
    """Broadcast the chief's bytes to all workers; every worker must call it, inside `scope`.

    Args:
        content: the bytes; those of other workers are ignored.

    Returns:
        The chief's `content`.
    """
    if not several_workers():
        return content
    length = int(_chiefs([len(content)])[0])
    if not length:  # TensorFlow crashes on reducing an empty tensor
        return b""
    return _chiefs(np.frombuffer(content.ljust(length)[:length], "uint8")).astype("uint8").tobytes()


def check_same(description: dict[str, Any], must: str) -> None:
    """Raise a `ValueError` on all workers unless they pass the same `description`; all must call it, in `scope`.

    Args:
        description: dict that JSON can hold.
        must: str, the beginning of the message: what must be the same, and how to fix it.
    """
    if not several_workers():
        return
    own = json.loads(json.dumps(description))
    chiefs = json.loads(from_chief(json.dumps(description).encode()))
    differs = {name: own.get(name) != value for name, value in chiefs.items()}
    differs["others"] = own.keys() != chiefs.keys()
    found = [name for name, count in zip(differs, _summed(list(differs.values())), strict=True) if count]
    if found:
        here = ", ".join(f"{name} {own.get(name, sorted(own))!r}" for name in found)
        chiefs = ", ".join(f"{name} {chiefs.get(name, sorted(chiefs))!r}" for name in found)
        elsewhere = "other values on another worker" if here == chiefs else f"{limits.printable(chiefs)} on the first"
        raise ValueError(f"All workers must have the same {must}. Received: {limits.printable(here)} here; {elsewhere}")


def _chiefs(numbers):
    """The chief's small integers as an array; all workers must pass the same number."""
    return _summed(numbers, chiefs_only=True)


def _summed(numbers, chiefs_only=False):
    """The sum over all replicas, or over the first one, of small integers; all workers must pass the same number."""
    import tensorflow as tf

    strategy = tf.distribute.get_strategy()
    total = _summation(strategy, chiefs_only)(tf.constant(numbers, tf.int32))
    return strategy.experimental_local_results(total)[0].numpy()


@functools.lru_cache(maxsize=2)  # TensorFlow warns of functions that are made again and again
def _summation(strategy, chiefs_only):
    import tensorflow as tf

    def one(numbers):
        replica = tf.distribute.get_replica_context()
        counted = not chiefs_only or replica.replica_id_in_sync_group == 0
        return replica.all_reduce(tf.distribute.ReduceOp.SUM, tf.cast(counted, numbers.dtype) * numbers)

    return tf.function(lambda numbers: strategy.run(one, (numbers,)), [tf.TensorSpec([None], tf.int32)])


# For models and their steps.


def scope_of(model: keras.Model) -> AbstractContextManager[None]:
    """The scope of the strategy under which a model was created, in which its variables live; empty without one."""
    made_under = getattr(model, "distribute_strategy", None)  # TensorFlow has it; without one, the default
    return made_under.scope() if made_under is not None else contextlib.nullcontext()


def is_distributed(model: keras.Model) -> bool:
    """Whether a model was created under a TensorFlow strategy."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    with scope_of(model):
        return tf.distribute.has_strategy()


def several_workers() -> bool:
    """Whether the strategy in whose scope this is called has several workers."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    if not tf.distribute.has_strategy():
        return False
    strategy = tf.distribute.get_strategy()
    return strategy.num_replicas_in_sync > len(strategy.extended.worker_devices)


def share(num_examples: Tensor) -> Tensor | None:
    """The weight of a replica's mean over its examples, such that the mean over replicas is the mean over the batch.

    Args:
        num_examples: int tensor, the size of the replica's part of a batch.

    Returns:
        Float tensor, 1 if all replicas have the same number of examples; `None` with a single replica, and on JAX,
        which divides the work within one step.
    """
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return None
    mine = tf.cast(num_examples, tf.float32)
    return replica.num_replicas_in_sync * mine / replica.all_reduce(tf.distribute.ReduceOp.SUM, mine)


def num_devices() -> int:
    """The number that every batch size must be divisible by: JAX divides batches equally among its devices."""
    distribution = keras.distribution.distribution()
    return 1 if distribution is None else distribution.device_mesh.devices.size


def check_equal_parts(number: int, name: str) -> None:
    """Raise a `ValueError` unless `number` rows, of the argument `name`, can be divided equally among JAX devices."""
    devices = num_devices()
    if number % devices:
        fitting = number // devices * devices or devices
        raise ValueError(
            f"`{name}` must be divisible by the number of devices, {devices}: use {fitting}. Received: {number}"
        )


def reducible(logs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Logs as Keras can reduce them over several workers: it does so along the first axis, and fails on scalars."""
    return {name: ops.reshape(log, (1,)) for name, log in logs.items()} if several_workers() else logs


class SeedGenerator(keras.random.SeedGenerator):
    """Keras's generator, with different random numbers on each replica, and for each thread that draws from it.

    Keras's own gives all replicas the same, and two threads that read the state before either advances it.
    """

    def next(self, ordered: bool = True) -> Tensor:
        with _DRAWING:
            seed = super().next(ordered)
        if keras.backend.backend() != "tensorflow":
            return seed
        import tensorflow as tf

        replica = tf.distribute.get_replica_context()
        if replica is None or replica.num_replicas_in_sync == 1:
            return seed
        return seed + tf.cast(replica.replica_id_in_sync_group, seed.dtype) * tf.constant([1_000_003, 0], seed.dtype)


def take(generator: keras.random.SeedGenerator, draws: int) -> Array:
    """The state of a generator, whose next `draws` numbers no other thread gets: it advances past them."""
    with _DRAWING:
        state = ops.convert_to_numpy(generator.state)
        if draws:
            generator.state.assign(state + np.array([0, draws], state.dtype))
    return state
