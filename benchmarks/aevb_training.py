"""The models of `aevb.py` and their training with each method: one curve per run."""

import math

import kvae
from kvae import evaluation

import keras

import papers
from wake_sleep import LEAPFROG_STEPS, WEIGHT_UPDATES, MonteCarloEM, WakeSleep

BATCH = 100
RATES = (0.01, 0.02, 0.1)
TRIAL = 20_000  # training samples per learning rate
AEVB, WAKE_SLEEP, EM = "AEVB", "wake-sleep", "Monte Carlo EM"
HIDDEN3, LATENT3 = 100, 3  # of figure 3
FINAL = 20


def run_bound(data, method, dataset, hidden, latent_dim, samples, rate, seed):
    """One curve of figure 2: `{"rate": …, "points": [{"samples", "train", "test"}, …]}`."""
    shape = (dataset, (hidden,), latent_dim, len(data.x_train), seed)

    def measured(model):
        x_train, x_test = data.x_train[:1000], data.x_test[:1000]
        return lambda: {
            name: float(model.elbo(x, num_samples=1, seed=0).mean())
            for name, x in (("train", x_train), ("test", x_test))
        }

    def trained(rate, samples, count):
        model = build(data.image_shape, method, rate, *shape)
        curve = papers.Curve(measured(model), papers.checkpoints(min(3000, samples / 10), samples, count))
        train(model, data.x_train, samples, curve, seed)
        return curve.points

    rate = rate or max(RATES, key=lambda rate: trained(rate, TRIAL, 2)[-1]["train"])
    return {"rate": rate, "points": trained(rate, samples, 14 if samples < 1e6 else 40)}


def run_likelihood(data, method, dataset, size, samples, rate, num_samples, images, seed):
    """One curve of figure 3: `{"rate": …, "points": [{"samples", "train", "test", "ess"}, …], "last": {…}}`.

    `last` is the last point with `FINAL` times as many samples: if q is narrow, few samples underestimate log p(x).
    """
    x = data.x_train[:size]

    def measure(model, num_samples):
        train, test = (
            evaluation.log_likelihood(model, part[:images], num_samples=num_samples, seed=0)
            for part in (x, data.x_test)
        )
        return {"train": train.mean, "test": test.mean, "ess": float(test.effective_sample_size.mean())}

    def trained(rate, samples, count):
        model = build(data.image_shape, method, rate, dataset, (HIDDEN3,), LATENT3, size, seed)
        at = papers.checkpoints(min(1e4, samples / 10), samples, count)
        curve = papers.Curve(lambda: measure(model, num_samples), at)
        if method == EM:
            visits = math.ceil(samples / BATCH / (LEAPFROG_STEPS + WEIGHT_UPDATES))
            MonteCarloEM(model, x, seed).fit(visits, BATCH, curve)
        else:
            train(model, x, samples, curve, seed)
        return model, curve.points

    rate = rate or max(RATES, key=lambda rate: trained(rate, TRIAL, 2)[1][-1]["train"])
    model, points = trained(rate, samples, 10 if samples < 1e7 else 30)
    return {"rate": rate, "points": points, "last": measure(model, FINAL * num_samples)}


def build(image_shape, method, rate, dataset, hidden, latent_dim, num_examples, seed):
    """A compiled model, to be trained with `method`."""
    likelihood = "gaussian" if dataset == "frey" else "bernoulli"
    encoder, decoder, likelihood = papers.networks(image_shape, latent_dim, hidden, likelihood, "tanh")
    papers.normal_prior_on_weights(decoder, num_examples)
    model = (WakeSleep if method == WAKE_SLEEP else kvae.VAE)(encoder, decoder, likelihood=likelihood, seed=seed)
    # Keras's default accumulator suits sums over a batch: it would damp gradients that are means over it.
    optimizer = keras.optimizers.Adagrad(rate, initial_accumulator_value=0.0, epsilon=1e-12)
    model.compile(optimizer, steps_per_execution=10)
    return model


def train(model, x, samples, curve, seed):
    """Train on `samples` images, over consecutive epochs, while `curve` records measurements."""
    steps_in_epoch = math.ceil(len(x) / BATCH)
    curve.samples_per_step = len(x) / steps_in_epoch
    steps = 10 * math.ceil(samples / curve.samples_per_step / 10)
    batches = kvae.data.pipeline(x, batch_size=BATCH, seed=seed).repeat()
    model.fit(batches, steps_per_epoch=steps, callbacks=[curve], verbose=0)
