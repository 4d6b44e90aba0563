"""Train for a long time with all features enabled, and check for memory leaks: `python tests/soak.py --epochs 200`.

Trains a CVAE on the digits with the callbacks of a run and, every tenth epoch, does what a notebook does between
training sessions: generates images, computes an ELBO, saves and loads a file. Resident memory (Linux) is recorded after
each epoch. Its growth is the median over the last tenth of the epochs relative to that over the tenth following the
first fifth, by which time everything is compiled. Prints ten progress lines; exits with 1 if memory grew by 2% or more.
"""

import argparse
import ctypes
import gc
import statistics
import sys
import tempfile
from pathlib import Path

import keras

import kvae
from kvae import callbacks

LIMIT = 0.02


def resident():
    """Resident memory of this process in MB (10^6 bytes)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmRSS"))


class Memory(keras.callbacks.Callback):
    """Records memory at the end of each epoch, after the additional work."""

    def __init__(self, data, folder, every):
        super().__init__()
        self.data, self.path, self.every, self.megabytes = data, folder / "model.keras", every, []

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % 10 == 0:
            self.model.save(self.path)
            again = kvae.load_model(self.path)
            again.generate(labels=list(range(10)), seed=epoch)
            again.elbo(self.data.x_test, self.data.y_test, num_samples=5, seed=epoch)
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)  # what is freed goes back to the system: 60 MB that come and go otherwise
        self.megabytes.append(resident())
        if (epoch + 1) % self.every == 0:
            print(f"epoch {epoch + 1}: {self.megabytes[-1]:.1f} MB, loss {logs['loss']:.2f}", flush=True)


def growth(megabytes):
    """Relative growth of memory from the first fifth of the epochs to the end."""
    tenth, fifth = max(1, len(megabytes) // 10), len(megabytes) // 5
    return statistics.median(megabytes[-tenth:]) / statistics.median(megabytes[fifth : fifth + tenth]) - 1


def main():
    """Train, and check the growth of memory."""
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0])
    parser.add_argument("--epochs", type=int, default=200)
    epochs = parser.parse_args().epochs
    data = kvae.load_data("digits", binarization="dynamic")
    model = kvae.CVAE(*kvae.networks.mlp(data.image_shape, latent_dim=2, num_classes=10), num_classes=10, seed=0)
    model.compile()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        memory = Memory(data, folder, every=max(1, epochs // 10))
        hooks = [
            callbacks.StopOnNaN(),
            callbacks.KLWarmup(epochs // 2),
            callbacks.SampleGrid(folder, every=5),
            callbacks.HistoryFile(folder / "history.csv"),
            callbacks.Checkpoint(folder / "checkpoint.npz"),
            memory,
        ]
        test = data.x_test, data.y_test
        model.fit(data.batches(), epochs=epochs, validation_data=test, callbacks=hooks, verbose=0)
    grown = growth(memory.megabytes)
    print(f"{epochs} epochs: memory grew by {grown:.2%} (limit: {LIMIT:.0%})")
    return int(grown >= LIMIT)


if __name__ == "__main__":
    sys.exit(main())
