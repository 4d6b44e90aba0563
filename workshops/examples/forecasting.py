"""Forecasting from a still: one picture has several futures (Walker, Doersch, Gupta, Hebert 2016, arXiv:1606.07873).

What to see: a network that predicts one future from a still image predicts the average of all futures, in which nothing
moves. A conditional VAE draws one future after another from the same still, and gives a higher density to what happens.

Data: a real digit on a textured background of 24 × 24 pixels is about to slide to the left or to the right, with equal
probability; nothing in the still shows which. It does show how fast: digits with more ink are slower. The trajectories
are the displacements in pixels of each cell of 4 × 4 pixels over the next five frames, averaged over the cell's pixels,
of which some belong to the background and stay: a table of 6 × 6 cells by 5 frames by 2 coordinates (down and right),
observed with noise of 0.1 pixels.

Model: `kvae.CVAE` with the trajectories as x and the still as the condition y. As in the paper it has three towers:

    image tower      y → a feature map of 6 × 6 cells, which the other two use
    encoder tower    x and features → q(z|x, y), in training only
    decoder tower    z and features → p(x|z, y), a Gaussian around the flow with one learned σ

A forecast draws z from N(0, I) and decodes it. The paper forecasts real video, in the frequency domain. Baselines are
the constant flow, the mean over all training scenes, and a regressor, image and decoder towers without z. Both have a σ
for every number, which favours them: they can be sure of the background. "True density": no model is better on average.

Table: −log p(x|y) of the test trajectories in nats per scene (lower is better), for the CVAE estimated by importance
sampling; and the share of test scenes of which both futures are covered: among 20 forecasts there is one for each whose
root mean square error is less than a third of that of standing still. Means ± standard errors over the seeds, each with
scenes of its own. The paper reports 11,563 for the regressor, 11,734 for optical flow and 11,082 for the CVAE. The
picture shows stills with true, sampled and regressed flows, as arrows from the first frame to the last.

    python workshops/examples/forecasting.py [--short] [--out DIR] [--epochs N] [--seed N] [--data DIR]
"""

import argparse

import kvae

import keras
import numpy as np
from keras import layers

SIDE, CELL, FRAMES = 24, 4, 5  # pixels, pixels, frames
CELLS, SIZE, LATENT_DIM = SIDE // CELL, 2 * FRAMES, 4  # cells per side, numbers per cell
NOISE, FORECASTS, TOLERANCE = 0.1, 20, 1 / 3
GAUSSIAN = kvae.distributions.Normal()  # with parameters [mean, log σ²] for each number


def scenes(digits, n, rng):
    """Draw stills `(n, 24, 24, 1)`, both futures `(2, n, 6, 6, 10)` and noisy trajectories `(n, 6, 6, 10)`."""
    digits = digits[rng.integers(len(digits), size=n), ..., 0]
    coarse = rng.uniform(0, 0.3, (n, SIDE // 3, SIDE // 3)).repeat(3, axis=1).repeat(3, axis=2)
    pasted = np.zeros((n, SIDE, SIDE))
    for canvas, digit, top, left in zip(pasted, digits, rng.integers(4, 13, n), rng.integers(6, 11, n), strict=True):
        canvas[top : top + 8, left : left + 8] = digit
    stills = np.maximum(pasted, coarse + rng.uniform(0, 0.15, pasted.shape))
    share = (pasted > 0.2).reshape(n, CELLS, CELL, CELLS, CELL).mean(axis=(2, 4))  # of each cell's pixels, moving
    speed = np.clip(25 / digits.sum(axis=(1, 2)), 0.9, 1.6)  # pixels per frame
    right = np.zeros((n, CELLS, CELLS, FRAMES, 2))
    right[..., 1] = share[..., None] * (speed[:, None] * np.arange(1, FRAMES + 1))[:, None, None]
    futures = np.stack([-right, right]).reshape(2, n, CELLS, CELLS, SIZE).astype("float32")
    x = futures[rng.integers(2, size=n), np.arange(n)]
    return stills[..., None].astype("float32"), futures, x + NOISE * rng.standard_normal(x.shape, "float32")


def conv(h, filters, size=1, strides=1, activation="relu"):
    """One convolution, by default on each cell alone."""
    return layers.Conv2D(filters, size, strides, padding="same", activation=activation)(h)


def image_tower():
    """From the still to features of the cells."""
    y = keras.Input((SIDE, SIDE, 1))
    return keras.Model(y, conv(conv(conv(y, 16, 3, 2), 32, 3, 2), 32, 3))


def cvae(seed):
    """The three towers as a `CVAE`."""
    tower = image_tower()  # shared by encoder and decoder
    x, y = keras.Input((CELLS, CELLS, SIZE)), keras.Input((SIDE, SIDE, 1))
    h = conv(conv(layers.Concatenate()([x, tower(y)]), 32), 16)
    h = layers.Dense(64, activation="relu")(layers.Flatten()(h))
    encoder = keras.Model([x, y], layers.Dense(2 * LATENT_DIM)(h))
    z, y = keras.Input((LATENT_DIM,)), keras.Input((SIDE, SIDE, 1))
    everywhere = layers.Reshape((CELLS, CELLS, LATENT_DIM))(layers.RepeatVector(CELLS**2)(z))
    h = conv(conv(layers.Concatenate()([everywhere, tower(y)]), 64), 64)
    decoder = keras.Model([z, y], conv(h, SIZE, activation=None))
    return kvae.CVAE(encoder, decoder, likelihood=kvae.distributions.Normal("learned"), seed=seed)


def trained(model, x, y, epochs, **compiled):
    """`model`, fitted with a learning rate that falls to zero."""
    rate = keras.optimizers.schedules.CosineDecay(2e-3, epochs * -(-len(x) // 64))
    model.compile(keras.optimizers.Adam(rate), **compiled)
    model.fit(x, y, batch_size=64, epochs=epochs, verbose=0 if epochs == 1 else 2)
    return model


def run(seed, sizes, epochs, num_samples):
    """The table of one seed, and what the picture shows."""
    keras.utils.set_random_seed(seed)
    rng, data = np.random.default_rng(seed), kvae.load_data("digits")
    y, _, x = scenes(data.x_train, sizes[0], rng)
    y_test, futures, x_test = scenes(data.x_test, sizes[1], rng)
    constant = np.tile(np.concatenate([x.mean(axis=0), np.log(x.var(axis=0))], axis=-1), (len(x_test), 1, 1, 1))
    tower = image_tower()
    regressor = keras.Model(tower.input, conv(conv(conv(tower.output, 64), 64), 2 * SIZE, activation=None))
    trained(regressor, y, x, epochs, loss=lambda x, params: -GAUSSIAN.log_prob(x, params, 3))
    regressed = regressor.predict(y_test, verbose=0)
    model = trained(cvae(seed), x, y, epochs)
    flows = model.generate(np.tile(y_test, (FORECASTS, 1, 1, 1)), seed=seed).reshape(FORECASTS, *x_test.shape)
    estimate = kvae.evaluation.log_likelihood(model, x_test, y_test, num_samples, seed=seed)

    def covered(flows):
        return 100 * kvae.evaluation.mode_coverage(flows, futures, TOLERANCE)

    rows = {
        name: (np.mean(-GAUSSIAN.log_prob(x_test, params, 3)), covered(params[None, ..., :SIZE]))
        for name, params in (("constant flow", constant), ("regressor", regressed))
    }
    rows["CVAE"] = -estimate.mean, covered(flows)
    each = [kvae.distributions.Normal(sigma=NOISE).log_prob(x_test, future, 3) for future in futures]
    rows["true density"] = -np.mean(np.logaddexp(*each) - np.log(2)), covered(futures)
    return rows, (y_test, x_test, flows, regressed[..., :SIZE])


def main():
    """Train, print the table and save the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="one seed, few scenes, one epoch: shows only that it runs")
    parser.add_argument("--out", default="runs/forecasting", help="folder for the picture")
    parser.add_argument("--epochs", type=int, help="passes over the training scenes")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--data", help="folder of data, as in the other examples; not needed here")
    args = parser.parse_args()
    sizes, epochs, num_samples, seeds = ((256, 64), 1, 10, 1) if args.short else ((4000, 1000), 25, 200, 3)
    runs = [run(args.seed + i, sizes, args.epochs or epochs, num_samples) for i in range(seeds)]
    print(f"{'':14}{'−log p, nats':>18}{'both covered, %':>20}")
    for name in runs[0][0]:
        values = np.array([table[name] for table, _ in runs])
        errors = values.std(axis=0, ddof=1) / np.sqrt(seeds) if seeds > 1 else [np.nan] * 2
        pairs = zip(values.mean(axis=0), errors, strict=True)
        print(f"{name:14}" + "".join(f"{mean:12.1f} ± {error:<5.1f}" for mean, error in pairs))
    y, x, flows, regressed = (each[..., :4, :, :, :] for each in runs[0][1])
    columns = {"still": 0 * x, "truth": x, **{f"sample {i + 1}": flows[i] for i in range(4)}, "regressor": regressed}
    flows = np.stack(list(columns.values()), axis=1)[..., -2:]  # in the last frame
    figure = kvae.plots.flow_grid(y, flows, None, list(columns), "One still, several futures", shortest=1)
    print(kvae.plots.save(figure, f"{args.out}/forecasting.png"))


if __name__ == "__main__":
    main()
