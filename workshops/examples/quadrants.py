"""Filling in quadrants: one part of a digit has several completions (Sohn, Lee, Yan 2015, section 5.1 and table 1).

To be seen: where much is hidden, there is more than one way to complete a digit. A network that predicts each hidden
pixel by itself answers with all of them at once, a blur. The conditional VAE draws one completion at a time, each of
them sharp, and gives the true pixels a higher probability: the fewer are observed, the more is won.

Data: MNIST, or `--data` of `kvae.load_data`; 10,000 of its digits where it is missing, 8 × 8 with --short. Observed are
the bottom left quadrant, the left half, or all but the top right. Training images are binarized afresh each time they
are seen. A fifth of them, 10,000 at most, are held out, binarized once: training ends when their loss has not improved
for five epochs, and the best weights are kept. Twenty epochs of one row take ten minutes of two CPU cores, and each
further ten gain half a nat: the paper's table is `--quadrants 1 2 3 --epochs 100`.

Models of dense layers 500-500, of the hidden pixels x given y, an image in which they are 0:

    baseline   p(x|y) = Π_i Bernoulli(x_i | f_i(y)), trained first
    CVAE       p(x|y) = ∫ Π_i Bernoulli(x_i | f_i(z, y)) p(z|y) dz, with z of 50 dimensions, a prior p(z|y) and a
               recognition network q(z|x, y), all of which see the baseline's prediction in y's hidden pixels

Table: −log p(x|y) of the hidden pixels alone, in nats per test image, ± standard error over images. MC: 1,000 draws of
p(z|y), 10,000 in the paper, for the first 500 test images. IS: importance sampling with 100 draws of q(z|x, y), for all
of them. Both are upper bounds on average and meet as draws increase. "binary": test images binarized once. "grey": grey
test pixels t, observed and hidden, each scored with t log p + (1 − t) log(1 − p) by the same models. The paper does not
say which it uses. To look for: the CVAE below the baseline, by less the more is observed.

Pictures: quadrants_1.png and so on: observed pixels (the others grey), baseline, completions by the CVAE, truth.

    python workshops/examples/quadrants.py [--short] [--out DIR] [--epochs N] [--seed N] [--data NAME] [--quadrants N …]
"""

import argparse
import sys

import kvae
from kvae.data import binarize
from kvae.io import FileError

import keras
import numpy as np
from keras import layers, ops

PUBLISHED = {1: "99.75  68.39  63.91", 2: "62.18  45.34  44.73", 3: "25.99  20.96  20.95"}
BATCH, LATENT_DIM, COLUMNS, FILLINGS, BERNOULLI = 100, 50, 10, 6, kvae.distributions.Bernoulli()
OPTIONS = ("out", str, "runs/quadrants"), ("epochs", int, None), ("seed", int, 0), ("data", str, "mnist")


def hidden_pixels(height, width, observed):
    """Mask `(height, width)`, true where a pixel is hidden; quadrants are shown from the bottom left on, clockwise."""
    below, right = (np.arange(side) >= side // 2 for side in (height, width))
    quadrant = np.where(right, np.where(below[:, None], 2, 3), np.where(below[:, None], 0, 1))
    return quadrant >= observed


def split(images, hidden):
    """Hidden pixels `(n, d)`, and images `(n, height, width, 1)` in which they are 0."""
    if which := {1: "everything", 0: "nothing"}.get(hidden.mean()):
        sys.exit(
            f"The mask must hide some pixels and show others: observe 1 to 3 quadrants. Received: it hides {which}"
        )
    return images[:, hidden, 0], images * ~hidden[..., None]


def guessed(y, hidden, baseline):
    """The images y, with the baseline's prediction in their hidden pixels."""
    filled = y.copy()
    filled[:, hidden, 0] = ops.convert_to_numpy(ops.sigmoid(baseline(y)))
    return filled


def fresh(images, hidden, rng, baseline):
    """Endless batches of images, binarized anew each time: `(y, x)` to train a baseline, else `(x, guessed y)`."""
    while True:
        for rows in np.array_split(rng.permutation(len(images)), -(-len(images) // BATCH)):
            x, y = split(binarize(images[rows], rng), hidden)
            yield (x, guessed(y, hidden, baseline)) if baseline else (y, x)


def dense(shape, units, size):
    """A network of dense layers from inputs of a shape to `size` outputs."""
    hidden_layers = [layers.Dense(each, "relu") for each in units]
    return keras.Sequential([keras.Input(shape), layers.Flatten(), *hidden_layers, layers.Dense(size)])


def run(data, observed, args, units, counts):
    """Train both models; return the values −log p(x|y) `(2, n)` of each column, and the picture's rows by name."""
    rng, shape = np.random.default_rng(args.seed), data.x_train.shape[1:]
    hidden = hidden_pixels(*shape[:2], observed)
    kept = len(data.x_train) - min(10_000, len(data.x_train) // 5)
    x, y = split(binarize(data.x_train[kept:], rng), hidden)

    def fit(model, validation, baseline=None, **loss):
        model.compile(keras.optimizers.Adam(1e-3), run_eagerly=args.short, **loss)
        stop = keras.callbacks.EarlyStopping(patience=5, restore_best_weights=True)
        fed = {"steps_per_epoch": -(-kept // BATCH), "validation_data": validation, "callbacks": [stop]}
        batches = fresh(data.x_train[:kept], hidden, rng, baseline)
        model.fit(batches, epochs=args.epochs, shuffle=False, verbose=0 if args.short else 2, **fed)
        return model

    baseline = dense(shape, units, x.shape[1])
    fit(baseline, (y, x), loss=lambda x, logits: -BERNOULLI.log_prob(x, logits))
    pair = kvae.networks.mlp(x.shape[1:], LATENT_DIM, units, condition_shape=shape)
    model = kvae.CVAE(*pair, prior=dense(shape, units, 2 * LATENT_DIM), seed=args.seed)
    fit(model, (x, guessed(y, hidden, baseline)), baseline)

    x, y = split(np.concatenate([binarize(data.x_test, rng), data.x_test]), hidden)
    y_guessed, few = guessed(y, hidden, baseline), np.arange(len(x)).reshape(2, -1)[:, : counts[0]].ravel()
    by_sampling = kvae.evaluation.prior_log_likelihood(model, x[few], y_guessed[few], counts[1], seed=args.seed)
    by_importance = kvae.evaluation.log_likelihood(model, x, y_guessed, counts[2], seed=args.seed)
    values = ops.convert_to_numpy(BERNOULLI.log_prob(x, baseline(y))), by_sampling.values, by_importance.values

    x, y = split(data.x_test[:COLUMNS], hidden)
    filled = guessed(y, hidden, baseline)
    images = {"observed": 0.5, "baseline": filled[:, hidden, 0]}  # their hidden pixels
    images |= {f"CVAE {i + 1}": model.generate(labels=filled, seed=args.seed + i) for i in range(FILLINGS)}
    images["truth"] = x
    for name, pixels in images.items():
        images[name] = y.copy()
        images[name][:, hidden, 0] = pixels
    return [-each.reshape(2, -1) for each in values], images


def main():
    """Train the models for each number of quadrants, print the table and save the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="few and small: shows that it runs, no more")
    for name, kind, default in OPTIONS:
        parser.add_argument(f"--{name}", type=kind, default=default)
    parser.add_argument("--quadrants", type=int, nargs="+", help="how many are observed: 1, by default, 2 or 3")
    args = parser.parse_args()
    args.epochs = args.epochs or (2 if args.short else 20)
    sizes = ((64, 64), (50, 100, 10)) if args.short else ((500, 500), (500, 1000, 100))
    keras.utils.set_random_seed(args.seed)
    try:
        data = kvae.load_data("digits" if args.short else args.data)
    except FileError as error:
        data = print(f"Using mnist_small: {error}") or kvae.load_data("mnist_small")
    print(f"{'observed':<10}{'pixels':<8}{'baseline':>17}{'CVAE, MC':>17}{'CVAE, IS':>17}   published")
    for observed in args.quadrants or [1]:
        values, images = run(data, observed, args, *sizes)
        published = PUBLISHED[observed] if data.name == "mnist" else ""
        for pixels, *columns in zip(("binary", "grey"), *values, strict=True):
            cells = "".join(f"{c.mean():>10.2f} ± {c.std() / len(c) ** 0.5:<4.2f}" for c in columns)
            print(f"{observed:<10}{pixels:<8}{cells}   {published}".rstrip(), flush=True)
        rows, title = np.stack(list(images.values())), f"{observed} of 4 quadrants observed"
        figure = kvae.plots.image_grid(rows, list(images), None, title)
        print(kvae.plots.save(figure, f"{args.out}/quadrants_{observed}.png"))


if __name__ == "__main__":
    main()
