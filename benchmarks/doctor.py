"""Findings of the doctor for a healthy model and for deliberately broken ones.

Run `python benchmarks/doctor.py` from the repository's root; it trains the models on the bundled digits, in about
twenty seconds on one core. Prints every finding, and checks that the first one names what was broken.
"""

import kvae
from kvae import distributions, evaluation, networks

import keras

EPOCHS = 40


@keras.saving.register_keras_serializable(package="benchmarks")
class MeanBernoulli(distributions.Bernoulli):
    """A mistake in many tutorials: a mean over the pixels in place of the bound's sum."""

    def log_prob(self, value, params):
        """Elementwise, and 64 times too small."""
        return super().elementwise_log_prob(value, params) / 64


def trained(data, scale=1.0, epochs=EPOCHS, likelihood="bernoulli", **kwargs):
    """A VAE trained on pixels multiplied by `scale`, and the doctor's findings."""
    keras.utils.set_random_seed(0)
    pair = networks.mlp(data.image_shape, 2, hidden=(128,), likelihood=likelihood)
    model = kvae.VAE(*pair, likelihood=likelihood, seed=0, **kwargs)
    model.compile(optimizer=keras.optimizers.Adam(2e-3))
    model.fit(data.x_train * scale, batch_size=64, epochs=epochs, verbose=0)
    return evaluation.diagnose(model, data.x_test * scale, x_train=data.x_train * scale)


# What is broken: the expected first finding (`None` for a healthy model), and how to break it.
PATIENTS = {
    "nothing": ("healthy", {}),
    "the loss is a mean over the 64 pixels": ("mean_reduction", {"likelihood": MeanBernoulli()}),
    "β = 50": ("beta", {"beta": 50.0}),
    "pixels in 0..255, divided by 255 twice": ("pixels", {"scale": 1 / 255}),
}


def main():
    """Train, diagnose and print the findings."""
    data = kvae.load_data("digits")
    for broken, (name, kwargs) in PATIENTS.items():
        findings = trained(data, **kwargs)
        print(f"Deliberately broken: {broken}")
        for finding in findings:
            print(f"  {finding.name}: {finding}")
        first = findings[0].name
        verdict = "as expected" if first == name else f"SHOULD BE {name}"
        print(f"  named first: {first} ({verdict})\n", flush=True)


if __name__ == "__main__":
    main()
