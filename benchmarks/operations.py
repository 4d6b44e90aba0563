"""TensorFlow operations by their time in a training step: `python benchmarks/operations.py` (networks of `speed.py`).

TensorFlow's profiler records one epoch of `fit`. Times are summed over the two compute threads, and include the
overhead of profiling. Prints a Markdown table for the MLP and one for the convolutional network.
"""

import collections
import os
import re
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"

import kvae

import keras
import numpy as np
import tensorflow as tf

BATCH, SHOWN = 128, 12
GROUPS = {  # end of an operation's name, and its name in the table
    "matrix products": "MatMul",
    "convolutions, forward": r"_MklNativeConv2D|Conv2D",
    "convolutions, gradients of the filters": "Conv2DBackpropFilter",
    "convolutions, gradients of the inputs (and the decoder's forward pass)": "Conv2DBackpropInput",
    "Adam": "ResourceApplyAdam",
    "gathering the batch": "GatherV2",
    "the next row indices": "IteratorGetNextAsOptional",
}
OTHER = "all others: exponentials, sums, normalisation, activations, noise, logs"


def operations(network, images):
    """`(ms by group, operations by group, ms per step)` of one epoch of `fit`."""
    x = (np.random.default_rng(0).random((images, 28, 28, 1), "float32") > 0.8).astype("float32")
    model = kvae.VAE(*network, seed=0)
    model.compile(keras.optimizers.Adam(1e-3))
    model.fit(x, batch_size=BATCH, verbose=0)
    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        model.fit(x, batch_size=BATCH, verbose=0)
        tf.profiler.experimental.stop()
        return by_group(next(Path(folder).rglob("*.xplane.pb")).read_bytes(), -(-images // BATCH))


def by_group(profile, steps):
    """Times and counts per step of the operations in TensorFlow's profile."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    space = xplane_pb2.XSpace()
    space.ParseFromString(profile)
    times, counts = collections.Counter(), collections.Counter()
    for plane in space.planes:
        for line in plane.lines:
            if not line.name.startswith("tf_Compute"):
                continue
            for event in line.events:
                name = plane.event_metadata[event.metadata_id].name
                if re.fullmatch(r"[\w/.\-]+:\w+", name) and "/" in name:  # "path/of/the/node:Kind"
                    group = group_of(name.rpartition(":")[2])
                    times[group] += event.duration_ps / 1e9 / steps
                    counts[group] += 1 / steps
    return times, counts


def group_of(kind):
    """The name in the table for a kind of operation."""
    for group, pattern in GROUPS.items():
        if re.search(rf"({pattern})$", kind):
            return group
    return OTHER


def main():
    """Print the tables."""
    networks = {"MLP": (kvae.networks.mlp((28, 28, 1), 20, (400,)), 60_000)}
    networks["convolutions"] = kvae.networks.conv((28, 28, 1), 20), 6_000
    for name, (network, images) in networks.items():
        times, counts = operations(network, images)
        print(f"| {name} | operations per step | ms per step, both threads | share |\n| --- | --- | --- | --- |")
        for group, ms in times.most_common(SHOWN):
            print(f"| {group} | {counts[group]:.0f} | {ms:.2f} | {ms / sum(times.values()):.0%} |")
        print(flush=True)


if __name__ == "__main__":
    main()
