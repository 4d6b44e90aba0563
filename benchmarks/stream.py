"""Memory while a VAE trains on data larger than memory: `python benchmarks/stream.py [gigabytes] [--out FOLDER]`.

The data are images of blobs, 128×128×3 float32, generated block by block and never stored. Otherwise they pass through
`kvae.data.stream`: blocks in random order, shuffled in windows, batched, prefetched and passed to `fit`. Bytes are
counted where a file would be read. Trains for one epoch, over 50 GB (of 10^9 bytes) by default. Writes `memory.csv` and
`memory.png` to the folder, and prints the resident memory (Linux) at the start, at the end and at its peak, and its
growth over the stream.
"""

import argparse
import csv
import threading
import time
from pathlib import Path

import kvae
from kvae import plots
from kvae.data.sources import WINDOW_BYTES, Source
from kvae.io import atomic
from kvae.plots.canvas import COLORS, LABEL_SIZE, TICK_SIZE, new_figure

import keras
import numpy as np

IMAGE, BLOCK, BATCH = (128, 128, 3), 16, 64
IMAGE_BYTES = 4 * int(np.prod(IMAGE))
SETTLED = 0.05  # fraction of the stream after which the step is compiled and every buffer has been filled
PERIOD = 0.5  # seconds between two memory measurements


def blobs(block, size, shape):
    """Images `(size, *shape)` in [0, 1], each a coloured Gaussian blob, which depend on the block's number only."""
    rng = np.random.default_rng([0, block])
    axes = []
    for length in shape[:2]:
        centre, width = rng.uniform(0.2, 0.8, (size, 1)), rng.uniform(0.05, 0.2, (size, 1))
        axes.append(np.exp(-0.5 * ((np.linspace(0, 1, length) - centre) / width) ** 2).astype("float32"))
    colours = rng.random((size, shape[2]), dtype="float32")
    return axes[0][:, :, None, None] * axes[1][:, None, :, None] * colours[:, None, None]


def synthetic(num_images, counted, shape=IMAGE, block=BLOCK):
    """A `Stream` that counts the bytes it reads in the list `counted`.

    Args:
        num_images: int.
        counted: list of one int, incremented at each read.
        shape: `(height, width, channels)`.
        block: int, images per read.

    Returns:
        A `kvae.data.Stream`.
    """
    sizes = np.full(-(-num_images // block), block)
    sizes[-1] -= sizes.sum() - num_images

    def fetch(number):
        images = blobs(number, sizes[number], shape)
        counted[0] += images.nbytes
        return (images,)

    window = max(1, WINDOW_BYTES // (block * 4 * int(np.prod(shape))))
    source = Source(shape, "float32", False, None, sizes, window, fetch, lambda columns, run: (columns[0], None))
    return kvae.data.Stream(shape, None, num_images, "blobs", source=source)


def resident():
    """Resident memory of this process in MB (10^6 bytes; Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmRSS"))


def watched(function, counted):
    """Run `function` while recording memory, as a list of `(seconds, gigabytes, megabytes)`."""
    samples, done, begin = [], threading.Event(), time.perf_counter()

    def look():
        samples.append((time.perf_counter() - begin, counted[0] / 1e9, resident()))

    def watch():
        while not done.wait(PERIOD):
            look()

    look()
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        function()
    finally:
        done.set()
        watcher.join()
    return samples


def draw(samples, settled):
    """Plot resident memory against the bytes read."""
    _, gigabytes, megabytes = np.array(samples).T
    flat = megabytes[settled:]
    figure = new_figure(
        10, 6, f"{gigabytes[-1]:.3g} GB read by fit: {flat.min():,.0f} to {flat.max():,.0f} MB of resident memory"
    )
    axes = figure.subplots()
    axes.plot(gigabytes, megabytes, color=COLORS[0], linewidth=2.5)
    axes.axvline(gigabytes[settled], color=COLORS[8], linewidth=1.5, linestyle="--")
    axes.annotate(
        "compiled, buffers full",
        (gigabytes[settled], 0),
        (6, 8),
        textcoords="offset points",
        fontsize=TICK_SIZE,
        color=COLORS[8],
    )
    axes.set_xlabel("data streamed, GB", fontsize=LABEL_SIZE)
    axes.set_ylabel("resident memory, MB", fontsize=LABEL_SIZE)
    axes.set_xlim(0, gigabytes[-1])
    axes.set_ylim(0, 1.25 * megabytes.max())
    axes.tick_params(labelsize=TICK_SIZE)
    axes.grid(alpha=0.3)
    return figure


def main(gigabytes, out):
    """Train on the stream for one epoch; save, plot and print the measurements."""
    out, counted = atomic.make_folder(out), [0]
    stream = synthetic(max(BATCH, round(gigabytes * 1e9 / IMAGE_BYTES)), counted)
    keras.utils.set_random_seed(0)
    model = kvae.VAE(*kvae.networks.mlp(IMAGE, latent_dim=8, hidden=(32,)), seed=0)
    model.compile(keras.optimizers.Adam(1e-3))
    losses = {}
    samples = watched(
        lambda: losses.update(model.fit(stream.batches(BATCH), epochs=1, verbose=0).history),
        counted,
    )
    with atomic.replacing(out / "memory.csv") as aside, open(aside, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("seconds", "gigabytes", "resident_megabytes"))
        writer.writerows([f"{value:.4f}" for value in sample] for sample in samples)
    settled = next(i for i, sample in enumerate(samples) if sample[1] >= SETTLED * samples[-1][1])
    seconds, streamed, megabytes = np.array(samples).T
    trend = np.polyfit(streamed[settled:], megabytes[settled:], 1)[0] if len(samples) - settled > 2 else np.nan
    print(
        f"{stream.num_examples:,} images, {streamed[-1]:.2f} GB, {seconds[-1]:.0f} s, loss {losses['loss'][0]:.1f} nats"
    )
    print(
        f"resident MB: {megabytes[0]:.0f} before fit, {megabytes[settled]:.0f} after {SETTLED:.0%}, "
        f"{megabytes[-1]:.0f} at the end, {megabytes.max():.0f} at the peak; trend {trend:+.2f} MB/GB"
    )
    print(f"written to {plots.save(draw(samples, settled), out / 'memory.png')} and {out / 'memory.csv'}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gigabytes", nargs="?", type=float, default=50.0)
    parser.add_argument("--out", type=Path, default=Path("runs/stream"))
    arguments = parser.parse_args()
    main(arguments.gigabytes, arguments.out)
