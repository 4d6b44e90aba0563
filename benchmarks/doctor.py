"""The doctor's rounds: a healthy model, and others broken on purpose; what it says of each.

Run it from the repository's root as `python benchmarks/doctor.py`; it trains each on the embedded digits, some twenty
seconds of one core in all. Printed is every finding; the first must name what was broken, which is checked.
"""

import keras

import kvae
from kvae import distributions, evaluation, networks

EPOCHS = 40


@keras.saving.register_keras_serializable(package="benchmarks")
class MeanBernoulli(distributions.Bernoulli):
    """The mistake of many a tutorial: a mean over the pixels, where the bound has a sum."""

    def log_prob(self, value, params):
        """Elementwise, and 64 times too small."""
        return super().elementwise_log_prob(value, params) / 64


def trained(data, scale=1.0, epochs=EPOCHS, likelihood="bernoulli", **kwargs):
    """A VAE after training on pixels times `scale`, and what the doctor finds."""
    keras.utils.set_random_seed(0)
    pair = networks.mlp(data.image_shape, 2, hidden=(128,), likelihood=likelihood)
    model = kvae.VAE(*pair, likelihood=likelihood, seed=0, **kwargs)
    model.compile(optimizer=keras.optimizers.Adam(2e-3))
    model.fit(data.x_train * scale, batch_size=64, epochs=epochs, verbose=0)
    return evaluation.diagnose(model, data.x_test * scale, x_train=data.x_train * scale)


# What is broken: the finding that must name it (of a healthy model none), and how.
PATIENTS = {
    "nothing": ("healthy", {}),
    "the loss is a mean over the 64 pixels": ("mean_reduction", {"likelihood": MeanBernoulli()}),
    "β = 50": ("beta", {"beta": 50.0}),
    "pixels in 0..255, divided by 255 twice": ("pixels", {"scale": 1 / 255}),
}


def main():
    """Train, diagnose, print."""
    data = kvae.load_data("digits")
    for broken, (name, kwargs) in PATIENTS.items():
        findings = trained(data, **kwargs)
        print(f"Broken on purpose: {broken}")
        for finding in findings:
            print(f"  {finding.name}: {finding}")
        first = findings[0].name
        verdict = "as it should be" if first == name else f"SHOULD BE {name}"
        print(f"  named first: {first} ({verdict})\n", flush=True)


if __name__ == "__main__":
    main()
