"""Which operations of TensorFlow a step's time goes to: `python benchmarks/operations.py` (the networks of `speed.py`).

TensorFlow's own profiler looks on while `fit` goes through an epoch. Times are of the threads that compute, added up:
two of them at once, and slower for being watched. Prints a Markdown table for the MLP and one for the convolutions.
"""

import collections
import os
import re
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import tensorflow as tf

import kvae

BATCH, SHOWN = 128, 12
GROUPS = {  # what an operation's name ends in, and what the table calls it
    "matrix products": "MatMul",
    "convolutions, forward": r"_MklNativeConv2D|Conv2D",
    "convolutions, backward to the filters": "Conv2DBackpropFilter",
    "convolutions, backward to the inputs (and the decoder's, forward)": "Conv2DBackpropInput",
    "Adam": "ResourceApplyAdam",
    "gathering the batch": "GatherV2",
    "the next numbers of rows": "IteratorGetNextAsOptional",
}
OTHER = "all others: exponentials, sums, normalisation, activations, noise, logs"


def operations(network, images):
    """`(ms by group, operations by group, ms of a step)` of one epoch of `fit`."""
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
    """Times and counts of the operations in TensorFlow's profile, a step's."""
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
    """The table's word for a kind of operation."""
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
        print(f"| {name} | operations a step | ms a step, both threads | share |\n| --- | --- | --- | --- |")
        for group, ms in times.most_common(SHOWN):
            print(f"| {group} | {counts[group]:.0f} | {ms:.2f} | {ms / sum(times.values()):.0%} |")
        print(flush=True)


if __name__ == "__main__":
    main()
