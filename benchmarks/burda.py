"""Table 1 of Burda, Grosse, Salakhutdinov 2016 (https://arxiv.org/abs/1509.00519), and two additional rows.

Test NLL in nats by importance sampling, and active units, on MNIST with dynamic binarization: one and two stochastic
layers, VAE and IWAE, k = 1, 5, 50; then fixed binarization, and the model whose prior, encoder and decoder are
conditioned on the label.

    python benchmarks/burda.py --short                     # every row, too short for meaningful results
    python benchmarks/burda.py --rows 1-iwae-1 1-iwae-5    # on a laptop: half an hour to two hours per row
    python benchmarks/burda.py --protocol paper            # 3,280 epochs with batches of 20: days on a GPU

Finished rows are kept in `--out` and skipped; an interrupted row resumes after its last epoch.
"""

import argparse
import json
import time
from pathlib import Path

import kvae
from kvae import evaluation
from kvae.data import binarize

import keras
import numpy as np

PUBLISHED = {  # row: (NLL, active units) from the paper's table
    "1-vae-1": (86.76, "19"),
    "1-vae-5": (86.47, "20"),
    "1-vae-50": (86.35, "20"),
    "1-iwae-1": (86.76, "19"),
    "1-iwae-5": (85.54, "22"),
    "1-iwae-50": (84.78, "25"),
    "2-vae-1": (85.33, "16+5"),
    "2-vae-5": (85.01, "17+5"),
    "2-vae-50": (84.78, "17+5"),
    "2-iwae-1": (85.33, "16+5"),
    "2-iwae-5": (83.89, "21+5"),
    "2-iwae-50": (82.90, "26+7"),
    "fixed-iwae-1": (88.71, ""),
    "fixed-iwae-5": (87.63, ""),
    "fixed-iwae-50": (87.10, ""),
    "labels-iwae-1": (82.32, ""),  # from a public reproduction in TensorFlow 2, not the paper
    "labels-iwae-5": (81.41, ""),
    "labels-iwae-50": (80.78, ""),
}
# k = 50 starts from the finished model of k = 5, and its time includes that: far from the optimum, five samples are as
# good, at a sixth of the cost.
EPOCHS = {"laptop": {1: 800, 5: 700, 50: 40}, "short": {1: 12, 5: 8, 50: 2}, "paper": {1: 3280, 5: 3280, 50: 3280}}
START = {50: 5}
LATENT, TOP, SEED = 50, 50, 0


def main():
    """Run the requested rows and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", default=list(PUBLISHED), choices=PUBLISHED, metavar="ROW", help="of all")
    parser.add_argument("--protocol", default="laptop", choices=("laptop", "paper"))
    parser.add_argument("--short", action="store_true", help="few epochs; 1,000 test digits, 500 samples each")
    parser.add_argument("--gradient", default="reparameterized", choices=kvae.bounds.GRADIENTS, help="of IWAE")
    parser.add_argument("--fixed", default="../shared/data/binarized_mnist.npz", help="Larochelle's binarized digits")
    parser.add_argument("--out", default="runs/burda", type=Path)
    arguments = parser.parse_args()
    results = {}
    for row in arguments.rows:
        if row.startswith("fixed") and not Path(arguments.fixed).is_file():
            print(f"{row}: skipped, missing {arguments.fixed}")
            continue
        mode = "short" if arguments.short else arguments.protocol
        results[row] = run(row, mode, arguments)
        write_table(results, arguments.out, mode)
    print((arguments.out / "table.md").read_text())


def run(row, mode, arguments):
    """Train and evaluate one row, or read the result of an earlier run."""
    folder = arguments.out / mode / row
    if (folder / "result.json").is_file():
        return json.loads((folder / "result.json").read_text())
    start = row.split("-")[0]
    data = kvae.load_data(arguments.fixed) if start == "fixed" else kvae.load_data("mnist", binarization="dynamic")
    model, training_seconds = trained(row, mode, data, arguments)
    x, y = data.x_test, data.y_test if model.conditions else None
    if data.binarization:
        x = binarize(x, np.random.default_rng(SEED))
    if mode == "short":
        x, y = x[:1000], None if y is None else y[:1000]
    result = {**evaluated(model, x, y, 500 if mode == "short" else 5000), "training_seconds": training_seconds}
    (folder / "result.json").write_text(json.dumps(result, indent=2) + "\n")
    print(f"{row}: {result}")
    return result


def evaluated(model, x, y=None, num_samples=5000):
    """The numbers of a row, from binary test digits and their labels."""
    begin = time.perf_counter()
    likelihood = evaluation.log_likelihood(model, x, y, num_samples=num_samples, seed=SEED, verbose=True)
    units = evaluation.active_units(model, x, y)
    return {
        "nll": -likelihood.mean,
        "standard_error": likelihood.standard_error,
        "active_units": units.count if units.top is None else f"{units.count}+{units.top.count}",
        "negative_elbo": -float(model.elbo(x, y, num_samples=10, seed=SEED).mean()),
        "test_examples": len(x),
        "num_samples": num_samples,
        "evaluation_seconds": time.perf_counter() - begin,
        "backend": keras.backend.backend(),
    }


def trained(row, mode, data, arguments):
    """The trained model of a row, and its training time in seconds, including that of the model it starts from."""
    folder = arguments.out / mode / row
    start, bound, k = row.split("-")
    first, seconds = None, 0.0
    if mode != "paper" and int(k) in START:
        first, seconds = trained(f"{start}-{bound}-{START[int(k)]}", mode, data, arguments)
    if not (folder / "model.keras").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        model = build(start, bound, arguments.gradient, data)
        if first is not None:
            model.set_weights(first.get_weights())
        train(model, data, int(k), mode, folder, 2e-3 if first is None else 1e-3)
    seconds += json.loads((folder / "training.json").read_text())["seconds"]
    return keras.saving.load_model(folder / "model.keras"), seconds


def build(start, bound, gradient, data):
    """The untrained model of a row: 784-200-200 tanh, decoder mirrored, its bias at the mean image's logits."""
    keras.utils.set_random_seed(SEED)
    labels, two_layers = start == "labels", start == "2"
    width = 100 if two_layers else LATENT
    classes = {"num_classes": 10} if labels else {}
    encoder, decoder = networks(data, width, **classes)
    prior = "learned" if labels else "standard"
    if two_layers:
        normal = kvae.distributions.Normal()
        pair = kvae.networks.mlp((width,), TOP, hidden=(100, 100), activation="tanh", likelihood=normal)
        prior = kvae.priors.Hierarchical(*pair)
    objective = kvae.bounds.ImportanceWeighted(gradient) if bound == "iwae" else "elbo"
    model = kvae.CVAE if labels else kvae.VAE
    return model(encoder, decoder, bound=objective, prior=prior, seed=SEED, **classes)


def networks(data, latent_dim, **given):
    """The paper's encoder and decoder of one stochastic layer; arguments as of `kvae.networks.mlp`."""
    encoder, decoder = kvae.networks.mlp(data.image_shape, latent_dim, hidden=(200, 200), activation="tanh", **given)
    mean = np.clip(data.x_train.mean(axis=0), 1e-3, 1 - 1e-3).ravel()
    decoder.get_layer("likelihood").bias.assign(np.log(mean / (1 - mean)))
    return encoder, decoder


def train(model, data, k, mode, folder, rate):
    """Train with initial learning rate `rate` and save the model; an interrupted run resumes after its last epoch."""
    epochs = EPOCHS[mode][k]
    batch_size = 20 if mode == "paper" else 100
    steps = -(-len(data.x_train) // batch_size)
    model.num_samples = k
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate(mode, rate, epochs, steps), epsilon=1e-4),
        steps_per_execution=steps if k < 50 else 50,
    )
    batches = data.batches(batch_size=batch_size, labels=model.conditions is not None, seed=SEED)
    backup = keras.callbacks.BackupAndRestore(folder / "backup", delete_checkpoint=False)
    model.fit(batches, epochs=epochs, callbacks=[backup, Clock(folder / "training.json")], verbose=0)
    model.save(folder / "model.keras")


def learning_rate(mode, rate, epochs, steps):
    """The paper's 0.001 · 10^(−i/7) for 3^i of 3,280 epochs, i = 0..7, scaled; else a cosine from `rate` to 2e-5."""
    if mode != "paper":
        return keras.optimizers.schedules.CosineDecay(rate, epochs * steps, alpha=2e-5 / rate)
    ends = [round(end / EPOCHS["paper"][1] * epochs * steps) for end in np.cumsum([3**i for i in range(7)])]
    return keras.optimizers.schedules.PiecewiseConstantDecay(ends, [1e-3 * 10 ** (-i / 7) for i in range(8)])


class Clock(keras.callbacks.Callback):
    """Accumulates training time, across interruptions, and shows progress once a minute."""

    def __init__(self, path):
        super().__init__()
        self.path = path
        self.seconds = json.loads(path.read_text())["seconds"] if path.is_file() else 0.0
        self.shown = 0.0

    def on_epoch_begin(self, epoch, logs=None):  # noqa: D102
        self.begin = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):  # noqa: D102
        self.seconds += time.perf_counter() - self.begin
        self.path.write_text(json.dumps({"epochs": epoch + 1, "seconds": self.seconds}) + "\n")
        if self.seconds - self.shown > 60:
            self.shown = self.seconds
            terms = ", ".join(f"{name} {float(value):.2f}" for name, value in logs.items())
            print(f"{self.path.parent.name}: epoch {epoch + 1}, {self.seconds:.0f} s, {terms}", flush=True)


def write_table(results, out, mode):
    """Our results and the published ones, as Markdown and JSON."""
    lines = [
        f"Mode: {mode}. NLL in nats, ± one standard error over test digits.",
        "",
        "| row | NLL | published | active units | published | −ELBO | training, s | samples × digits |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row, result in results.items():
        nll, units = PUBLISHED[row]
        lines.append(
            f"| {row} | {result['nll']:.2f} ± {result['standard_error']:.2f} | {nll:.2f} | {result['active_units']} | "
            f"{units} | {result['negative_elbo']:.2f} | {result['training_seconds']:.0f} | "
            f"{result['num_samples']:,} × {result['test_examples']:,} |"
        )
    (out / "table.md").write_text("\n".join(lines) + "\n")
    (out / "table.json").write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
