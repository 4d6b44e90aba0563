"""From a run's options, a plain dict, to the model that they describe."""

from kvae import bounds, networks
from kvae.corruption import Gaussian
from kvae.distributions import Normal
from kvae.models import CVAE, VAE, Autoencoder

MODELS = {"autoencoder": Autoencoder, "vae": VAE, "cvae": CVAE}
PRIORS = {"vae": ("standard", "mixture", "vamp"), "cvae": ("standard", "learned", "mixture")}


def bound(options):
    """The `Bound` that `options` describe."""
    name, gradient = options["bound"], options["gradient"]
    for argument, owner, unset in (("alpha", "renyi", None), ("free_bits", "elbo", 0)):
        if options[argument] != unset and name != owner:
            raise ValueError(f"`{argument}` must go with bound={owner}. Received: bound={name}")
    if name == "elbo":
        if gradient == "doubly_reparameterized":
            raise ValueError(
                f"`gradient` {gradient} must go with another bound: importance_weighted, which for num_samples=1 is "
                f"the ELBO, or renyi. Received: bound={name}"
            )
        return bounds.ELBO(free_bits=options["free_bits"], gradient=gradient)
    given = {} if options["alpha"] is None else {"alpha": options["alpha"]}
    return type(bounds.get(name))(gradient=gradient, **given)


def build(options, data):
    """The untrained model that `options` describe, for a `Dataset`."""
    likelihood = options["likelihood"]
    if options["sigma"] is not None:
        likelihood = Normal(sigma=None if options["sigma"] == "per_pixel" else options["sigma"])
    width, conditional = None, {}
    autoencoder = options["model"] == "autoencoder"
    if options["model"] == "cvae":
        if data.y_train is None:
            raise ValueError(f"A cvae needs labels: use --model vae, or add them to the file. Received: {data.name}")
        width = data.num_classes or data.y_train.shape[1]
        conditional = {"num_classes": data.num_classes}
    encoder, decoder = networks.NETWORKS[options["network"]](
        data.image_shape,
        options["latent_dim"],
        num_classes=width,
        posterior=None if autoencoder else options["posterior"],
        likelihood=likelihood,
        **({"hidden": tuple(options["hidden"])} if options["hidden"] else {}),
    )
    if autoencoder:
        loss = "mse" if likelihood == "gaussian" else "cross_entropy"
        noise = Gaussian(options["noise"]) if options["noise"] else None
        return Autoencoder(encoder, decoder, loss=loss, noise=noise, seed=options["seed"])
    return MODELS[options["model"]](
        encoder,
        decoder,
        likelihood=likelihood,
        posterior=options["posterior"],
        prior=options["prior"],
        bound=bound(options),
        beta=options["beta"],
        num_samples=options["num_samples"],
        seed=options["seed"],
        **conditional,
    )
