"""Bits per dimension of 8-bit images: a VQ-VAE with an autoregressive prior beside a VAE with continuous codes.

Run `python benchmarks/codes.py mnist`, or the path of an .npz file of images. Each method trains for `--minutes`, the
VAE for half as long again, since `--prior-epochs` of a prior with `--prior-hidden` filters follow in the others: with
64 filters, an epoch of MNIST takes five minutes of a core. Finished methods are skipped. The table holds bits per
dimension of test images (of a VQ-VAE −log₂ p(c) − log₂ p(x|c), which is a bound; of the VAE minus the ELBO, and an
estimate of −log₂ p(x) by importance sampling), the part of the codes, and the codebook's perplexity.

The likelihood is a mass over 256 levels (17 of digits), the discretized logistic distribution or, with `--components`,
a mixture of them.
"""

import math

import kvae
from kvae import evaluation
from kvae.distributions import DiscretizedLogistic
from kvae.evaluation.doctor import codebooks

import keras
import numpy as np

from few_labels import Until
from papers import arguments_of, comparison, data_and_folder, kept, markdown, write_table

METHODS = ("VAE", "VQ-VAE", "VQ-VAE, moving averages", "RQ-VAE, 2 quantizers")
SETTINGS = {"hidden": (64, 64), "latent_dim": 32, "vector": 16, "num_codes": 256, "batch": 128, "rate": 1e-3}
LARGE = (32, 64, 64)  # for images of more than 32 rows: most of 16×16 codes would be those of an empty background
SHORT = {"hidden": (8, 8), "latent_dim": 4, "vector": 4, "num_codes": 16}
SAMPLES = 100  # of the importance-weighted estimate


def bits(nats, shape):
    """Mean bits per dimension of log p(x) in nats."""
    return float(evaluation.bits_per_dimension(float(np.mean(nats)), shape))


def trained(model, x, minutes, setting):
    """The model after `minutes` of training, and its epochs."""
    model.compile(optimizer=keras.optimizers.Adam(setting["rate"]))
    model.fit(x, batch_size=setting["batch"], epochs=100_000, verbose=0, callbacks=[Until(minutes)])
    return model, len(model.history.epoch)


def run(data, method, minutes, short, **setting):
    """Train a method: its numbers."""
    shape, seed, hidden = data.image_shape, setting["seed"], tuple(setting["hidden"])
    x, x_test = data.x_train, data.x_test

    def likelihood():
        return DiscretizedLogistic(setting["components"], setting["levels"])

    if method == "VAE":
        pair = kvae.networks.conv(shape, setting["latent_dim"], hidden=hidden, likelihood=likelihood())
        model, epochs = trained(kvae.VAE(*pair, likelihood=likelihood(), seed=seed), x, 1.5 * minutes, setting)
        log_likelihood, kl = model.elbo_terms(x_test, num_samples=10, seed=seed)
        estimate = evaluation.log_likelihood(model, x_test[:1000], num_samples=SAMPLES, seed=seed)
        return {
            "bits": bits(log_likelihood - kl, shape),
            "code_bits": float(kl.mean()) / math.log(2.0) / math.prod(shape),
            "estimate": bits(estimate.values, shape),
            "epochs": epochs,
        }
    pair = kvae.networks.grid(shape, setting["vector"], hidden=hidden, likelihood=likelihood())
    given = {"codebook": "moving_average"} if "moving" in method else {}
    given |= {"num_quantizers": 2} if "RQ" in method else {}
    model = kvae.VQVAE(*pair, num_codes=setting["num_codes"], likelihood=likelihood(), seed=seed, **given)
    model, epochs = trained(model, x, minutes, setting)
    perplexity = codebooks.perplexities(model.code_usage(x_test))
    model = kvae.priors.fit(model, x, "autoregressive", **setting["prior"])
    log_likelihood, kl = model.elbo_terms(x_test)
    return {
        "bits": bits(log_likelihood - kl, shape),
        "code_bits": float(kl.mean()) / math.log(2.0) / math.prod(shape),
        "perplexity": [round(float(each), 1) for each in perplexity],
        "epochs": epochs,
    }


def main():
    """Train what is missing, and print the table."""
    parser = comparison(__doc__, METHODS, 20.0)
    parser.add_argument("--components", type=int, default=1, help="of the mixture of logistics")
    parser.add_argument("--prior-epochs", type=int, default=30)
    parser.add_argument("--prior-hidden", type=int, default=64)
    given = arguments_of(parser)
    data, folder = data_and_folder(given, "codes")
    setting = {**SETTINGS, **({"hidden": LARGE} if data.image_shape[0] > 32 else {}), **(SHORT if given.short else {})}
    setting |= {"components": given.components, "seed": given.seed}
    setting["levels"] = 17 if given.dataset == "digits" else 256
    epochs, hidden = (2, 8) if given.short else (given.prior_epochs, given.prior_hidden)
    setting["prior"] = {"epochs": epochs, "hidden": hidden}
    rows = []
    for method in given.methods:
        minutes = 0.05 if given.short else given.minutes
        one = {"method": method, "minutes": minutes, "short": given.short, **setting}
        one["hidden"] = list(one["hidden"])
        path = folder / f"{method.replace(' ', '_')}.json"
        rows.append({"method": method, **kept(path, one, lambda **each: run(data, **each))})
    table = [
        [
            row["method"],
            f"{row['bits']:.4f}",
            f"{row['code_bits']:.4f}",
            f"{row['estimate']:.4f}" if "estimate" in row else "–",
            f"{row['perplexity']} of {setting['num_codes']}" if "perplexity" in row else "–",
            row["epochs"],
        ]
        for row in rows
    ]
    header = ["method", "bits/dim (bound)", "of these, codes", f"bits/dim, {SAMPLES} samples", "perplexity", "epochs"]
    write_table(folder, markdown(header, table), rows)


if __name__ == "__main__":
    main()
