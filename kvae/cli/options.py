"""The options of `kvae train`: one table for the parser, its help, the defaults and the checks.

To add an option, add an entry to `TRAIN`, and use it where it takes effect, mostly in `kvae/cli/build.py`. The flag,
the default and the checks of values, from the command line or a `config.json`, follow from the entry. Nothing heavy is
imported: `kvae --help` does not wait for Keras.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kvae.cli.option import Needs, Option

DATA_HELP = (
    "digits, mnist_small, shapes (no network needed), mnist, fashion_mnist, or the path of your own data: a folder of "
    "images, or of one subfolder per class; a .tfrecord file, or a folder of them; an .npz or .npy file; a folder of "
    "IDX files"
)
SIZE_HELP = "resize image files and TFRecords to this height and width"
CHANNELS_HELP = "convert them to 1 (grey) or 3 (colour) channels"

FEW_LABELS = ("semisupervised", "auxiliary")
VARIATIONAL: Needs = {"model": ("vae", "cvae", *FEW_LABELS)}
WITH_BOUND: Needs = {"model": (*VARIATIONAL["model"], "hierarchical")}
WITH_POSTERIOR: Needs = {"model": (*VARIATIONAL["model"], "introvae", "vaegan")}
WITH_KL: Needs = {"model": (*WITH_POSTERIOR["model"], "hierarchical")}
ADVERSARIAL = ("gan", "vaegan", "introvae", "adversarial_autoencoder")
WITH_CONV = ("autoencoder", "vae", "cvae", "semisupervised", "vqvae", *ADVERSARIAL)
VQVAE: Needs = {"model": ("vqvae",)}
HIERARCHICAL: Needs = {"model": ("hierarchical",)}
LADDER: Needs = {"network": ("ladder",)}
TOP_DOWN: Needs = {"network": ("top_down",)}


TRAIN = (
    Option(
        "model",
        "cvae",
        "",
        choices=("autoencoder", *WITH_BOUND["model"], "vqvae", *ADVERSARIAL),
        choice_needs={"hierarchical": {"network": ("ladder", "top_down")}},
    ),
    Option("dataset", "digits", DATA_HELP, metavar="NAME"),
    Option("image_size", None, SIZE_HELP, list, "N", shown="their own, if all have the same"),
    Option("channels", None, CHANNELS_HELP, int, "C", least=1, shown="their own"),
    Option(
        "network",
        "mlp",
        "ladder and top_down are for a hierarchical model",
        choices=("mlp", "conv", "ladder", "top_down"),
        choice_needs={
            "conv": {"model": WITH_CONV},
            "ladder": HIERARCHICAL,
            "top_down": HIERARCHICAL,
        },
    ),
    Option(
        "latent_dim",
        2,
        "latent dimensions; of a vqvae, numbers in each vector; of top_down, numbers at each place",
        int,
        "K",
        least=1,
        needs={"network": ("mlp", "conv", "top_down")},
    ),
    Option(
        "latent_dims",
        None,
        "latent dimensions of each layer of a ladder, that next to the image first, as hidden",
        list,
        "K",
        needs=LADDER,
        shown="the network's own",
    ),
    Option(
        "num_blocks",
        None,
        "layers of codes at each resolution of top_down, or a number for each of hidden",
        list,
        "N",
        least=0,
        needs=TOP_DOWN,
        shown="2",
    ),
    Option("hidden", None, "units or filters of the hidden layers", list, "N", shown="the network's own"),
    Option("epochs", 30, "", int, "N", least=1),
    Option("batch_size", 128, "", int, "N", least=1),
    Option("learning_rate", 2e-3, "initial learning rate of Adam", float, "R", above=0),
    Option(
        "adversary_learning_rate",
        None,
        "initial learning rate of a discriminator, or of an introvae's encoder",
        float,
        "R",
        above=0,
        needs={"model": ADVERSARIAL},
        shown="learning_rate",
    ),
    Option("gamma", 0.1, "weight of a vaegan's feature loss", float, "G", least=0, needs={"model": ("vaegan",)}),
    Option(
        "margin",
        None,
        "KL up to which generated images are told from others, in nats: the hard margin of the first introvae",
        float,
        "M",
        above=0,
        needs={"model": ("introvae",)},
        shown="none, Soft-IntroVAE",
    ),
    Option("num_codes", 512, "codes in the codebook of a vqvae", int, "K", least=2, needs=VQVAE),
    Option("num_quantizers", 1, "codebooks, each for what those before it leave over", int, "Q", least=1, needs=VQVAE),
    Option(
        "num_vectors",
        8,
        "vectors in the code of a vqvae whose network is mlp; that of conv has a grid",
        int,
        "N",
        least=1,
        needs={**VQVAE, "network": ("mlp",)},
    ),
    Option(
        "codebook",
        "gradient",
        "how the codes of a vqvae are learned",
        choices=("gradient", "moving_average"),
        needs=VQVAE,
    ),
    Option("beta", 1.0, "weight of the KL", float, "B", least=0, needs=WITH_KL),
    Option("kl_warmup", 0, "epochs in which beta rises from 0", int, "N", needs=WITH_KL),
    Option(
        "likelihood",
        "bernoulli",
        "bernoulli; gaussian, laplace or student_t; continuous_bernoulli; discretized_logistic; categorical; "
        "poisson or negative_binomial",
        metavar="NAME",
    ),
    Option(
        "size_factor",
        None,
        "size of each example, which multiplies the rates of its counts, as the condition in place of labels: the mean "
        "of its counts; or attributes, the logarithms (n, 1) in the file",
        choices=("mean", "attributes"),
        needs={"model": ("cvae",), "network": ("mlp",), "likelihood": ("poisson", "negative_binomial")},
    ),
    Option(
        "noise",
        0.0,
        "standard deviation of the noise that a denoising autoencoder removes",
        float,
        "S",
        least=0,
        needs={"model": ("autoencoder", "adversarial_autoencoder")},
    ),
    Option(
        "sigma",
        None,
        "standard deviation of a Gaussian likelihood: learned, per_pixel, or a number",
        (float, str),
        "S",
        needs={"likelihood": ("gaussian",), "model": (*WITH_BOUND["model"], "introvae", "vqvae")},
        shown="learned",
    ),
    Option(
        "posterior",
        "normal",
        "family of q(z|x), such as laplace or von_mises_fisher; or a flow: planar, radial or iaf",
        metavar="NAME",
        needs=WITH_POSTERIOR,
    ),
    Option(
        "prior",
        "standard",
        "p(z); learned, p(z|y), is for a cvae, semisupervised or auxiliary, vamp for a vae",
        choices=("standard", "learned", "mixture", "vamp", "flow"),
        needs=VARIATIONAL,
        choice_needs={"learned": {"model": ("cvae", *FEW_LABELS)}, "vamp": {"model": ("vae",)}},
    ),
    Option(
        "fit_prior",
        None,
        "density fitted to the codes after training, from which the model then generates",
        choices=("gaussian_mixture", "flow", "two_stage", "autoregressive"),
        needs={"model": ("autoencoder", "vae", "cvae", "vqvae"), "prior": ("standard",)},
        choice_needs={"autoregressive": VQVAE},
    ),
    Option("bound", "elbo", "elbo, importance_weighted or renyi", metavar="NAME", needs=WITH_BOUND),
    Option("num_samples", 1, "posterior samples per example", int, "L", least=1, needs=WITH_BOUND),
    Option(
        "alpha",
        None,
        "order of the renyi bound; --alpha=-inf for VR-max",
        float,
        "A",
        needs={"bound": ("renyi",), **WITH_BOUND},
        shown="0.5",
    ),
    Option(
        "free_bits",
        0.0,
        "nats per latent dimension, or layer of a hierarchical model, that the elbo does not penalise",
        float,
        "B",
        least=0,
        needs={"bound": ("elbo",), **WITH_BOUND},
    ),
    Option(
        "gradient",
        "reparameterized",
        "how the gradient of the bound is estimated",
        choices=(
            "reparameterized",
            "doubly_reparameterized",
            "sticking_the_landing",
            "score_function",
            "wake_sleep",
            "reweighted_wake_sleep",
        ),
        needs=VARIATIONAL,
        # The importance-weighted bound of one sample is the ELBO.
        choice_needs={
            "doubly_reparameterized": {"bound": ("importance_weighted", "renyi")},
            "reweighted_wake_sleep": {"bound": ("importance_weighted", "renyi")},
        },
    ),
    Option(
        "labels_per_class",
        10,
        "labels of each class that a semisupervised or auxiliary model is told; the others are hidden from it",
        int,
        "N",
        least=1,
        needs={"model": FEW_LABELS},
    ),
    Option(
        "label_weight",
        0.1,
        "weight of the classification loss of a semisupervised or auxiliary model; 300 is better for mnist",
        float,
        "W",
        least=0,
        needs={"model": FEW_LABELS},
    ),
    Option("binarization", None, "", choices=("static", "dynamic"), shown="none, grey values as they are"),
    Option("seed", 0, "for a reproducible result", int, "N"),
    Option("pictures_every", None, "epochs between sample grids", int, "N", least=1, shown="a fifth of all epochs"),
)
DEFAULTS = {option.name: option.default for option in TRAIN}
DEMO = {**DEFAULTS, "batch_size": 32, "num_samples": 5}


def complete(options: Mapping[str, Any]) -> dict[str, Any]:
    """Check the options of a run, and fill in the defaults.

    Args:
        options: from names of `TRAIN` to values, from the command line or a `config.json`.

    Returns:
        A dict with all options of `TRAIN`.

    Raises:
        ValueError: for an unknown option, a value of the wrong type or out of range, and an option that needs another.
    """
    unknown = sorted(set(options) - set(DEFAULTS))
    if unknown:
        raise ValueError(f"Options must be among {sorted(DEFAULTS)}. Received: {unknown}")
    completed = {**DEFAULTS, **options}
    for option in TRAIN:
        option.check(completed[option.name])
    for option in TRAIN:
        for called, other, fitting in option.needed(completed[option.name]):
            if completed[other] not in fitting:
                raise ValueError(
                    f"{called} requires {other}={' or '.join(fitting)}. Received: {other}={completed[other]}"
                )
    return completed
