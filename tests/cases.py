"""One small instance of every model, for the contract test: a new model adds a line here."""

import contextlib
import dataclasses
import math
from collections.abc import Callable

import keras
import numpy as np
import pytest

import kvae
from kvae import objectives
from kvae.bounds import ELBO, ImportanceWeighted, Renyi
from kvae.corruption import Gaussian, Masking
from kvae.distributions import Categorical, Joint, Mixed, Normal, Observed
from kvae.flows import Coupling, InverseAutoregressive, MaskedAutoregressive, Planar, Posterior, Prior, Radial, Spline
from kvae.penalties import DIP, L1, MMD, Capacity, Contractive, KLSparsity, TotalCorrelation
from kvae.priors import Autoregressive, Hierarchical, Mixture, Rescaled, Vamp

# Compilation for a few training steps: full on JAX, which would otherwise compile every operation; none elsewhere.
QUICKLY = {"jit_compile": True} if keras.backend.backend() == "jax" else {"run_eagerly": True}


@contextlib.contextmanager
def eagerly():
    """Run what TensorFlow would trace, eagerly."""
    if keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(False)


def parameters(names, everywhere):
    """Names as parameters of a test that can fail differently on another backend only for those in `everywhere`."""
    alike = pytest.mark.backend_independent
    return [pytest.param(name, marks=() if name in everywhere else alike) for name in names]


def of_cases(names, everywhere=None):
    """As `parameters`, of names of `CASES`: all but the first case of each model are among the long tests."""
    params = parameters(names, everywhere or names)
    others = [[] if name in EACH_MODEL else [pytest.mark.long] for name in names]
    return [pytest.param(*p.values, marks=[*p.marks, *more]) for p, more in zip(params, others, strict=True)]


@dataclasses.dataclass(frozen=True)
class Case:
    build: Callable  # () -> model
    image_shape: tuple
    y: Callable | None = None  # (rng, n) -> labels
    code_shape: tuple = (2,)
    x: Callable = lambda rng, shape: rng.random(shape, dtype="float32")

    def arrays(self, n, seed=0):
        rng = np.random.default_rng(seed)
        x = self.x(rng, (n, *self.image_shape))
        return x, None if self.y is None else self.y(rng, n)


def vae(
    image_shape=(8, 8, 1), network="mlp", hidden=(16,), likelihood="bernoulli", posterior="normal", latent=2, **kwargs
):
    factory = getattr(kvae.networks, network)
    pair = factory(image_shape, latent, hidden=hidden, posterior=posterior, likelihood=likelihood)
    return kvae.VAE(*pair, likelihood=likelihood, posterior=posterior, seed=0, **kwargs)


def cvae(image_shape=(8, 8, 1), network="mlp", hidden=(16,), width=3, num_classes=3, posterior="normal", **kwargs):
    pair = getattr(kvae.networks, network)(image_shape, 2, hidden=hidden, num_classes=width, posterior=posterior)
    return kvae.CVAE(*pair, num_classes=num_classes, posterior=posterior, seed=0, **kwargs)


def autoencoder(image_shape=(8, 8, 1), network="mlp", hidden=(16,), code_activation=None, **kwargs):
    factory = getattr(kvae.networks, network)
    pair = factory(image_shape, 2, hidden=hidden, posterior=None, code_activation=code_activation)
    return kvae.Autoencoder(*pair, seed=0, **kwargs)


def semisupervised(network="mlp", **kwargs):
    judge = kvae.networks.classifier((8, 8, 1), 3, hidden=(8,))
    pair = getattr(kvae.networks, network)((8, 8, 1), 2, hidden=(16,), num_classes=3)
    return kvae.SemiSupervisedVAE(*pair, judge, num_classes=3, seed=0, **kwargs)


def auxiliary(**kwargs):
    networks = kvae.networks.auxiliary((8, 8, 1), 2, 3, hidden=(16,), skip=kwargs.pop("skip", False))
    return kvae.AuxiliaryVAE(*networks, num_classes=3, seed=0, **kwargs)


def factor_vae():
    pair = kvae.networks.mlp((8, 8, 1), 2, hidden=(16,))
    penalties = [TotalCorrelation(1.0, num_examples=21), DIP(1.0), Capacity(2.0, 1.0), MMD(1.0)]
    return kvae.FactorVAE(*pair, penalty=penalties, seed=0)


def gan(**kwargs):
    _, decoder = kvae.networks.mlp((8, 8, 1), 2, hidden=(16,))
    return kvae.GAN(decoder, kvae.networks.discriminator((8, 8, 1), hidden=(8,)), seed=0, **kwargs)


def vaegan(**kwargs):
    judge = kvae.networks.discriminator((8, 8, 1), hidden=(8,))
    return kvae.VAEGAN(*kvae.networks.mlp((8, 8, 1), 2, hidden=(16,)), judge, seed=0, **kwargs)


def adversarial_autoencoder():
    pair = kvae.networks.mlp((8, 8, 1), 2, hidden=(16,), posterior=None)
    return kvae.AdversarialAutoencoder(*pair, kvae.networks.discriminator((2,), hidden=(8,)), seed=0)


def hierarchical(image_shape=(8, 8, 1), network="ladder", likelihood="bernoulli", sizes=None, **kwargs):
    sizes = sizes or {"latent_dims": (3, 2), "hidden": (8, 6)}
    pair = getattr(kvae.networks, network)(image_shape, **sizes, likelihood=likelihood)
    return kvae.HierarchicalVAE(*pair, likelihood=likelihood, seed=0, **kwargs)


def residual(**kwargs):
    """Two layers at two resolutions, with grids of 5×4 and 3×2 vectors of 2 as codes."""
    sizes = {"latent_dim": 2, "hidden": (4, 4), "num_blocks": 1}
    return hierarchical((9, 7, 3), "top_down", Normal(), sizes, **kwargs)


def sampled_autoencoder():
    pair = kvae.networks.mlp((8, 8, 1), 2, hidden=(16,), posterior=None)
    return kvae.models.SampledAutoencoder(*pair, prior=Rescaled(Mixture(3)), seed=0)


def predictive_sparse():
    encoder, _ = kvae.networks.mlp((8, 8, 1), 2, hidden=(16,), posterior=None)
    return kvae.PredictiveSparseDecomposition(encoder, num_steps=5, seed=0)


def introvae(**kwargs):
    return kvae.IntroVAE(*kvae.networks.mlp((8, 8, 1), 2, hidden=(16,)), seed=0, **kwargs)


def energy_network(objective):
    layers = [keras.layers.Flatten(), keras.layers.Dense(8, activation="swish"), keras.layers.Dense(1)]
    return kvae.EnergyNetwork(keras.Sequential([keras.Input((8, 8, 1)), *layers]), objective, seed=0)


def vqvae(pair=None, **kwargs):
    pair = pair or kvae.networks.grid((8, 8, 1), 4, hidden=(6, 6), num_blocks=1)
    return kvae.VQVAE(*pair, num_codes=8, seed=0, **kwargs)


def compiled(model, **kwargs):
    """The model, compiled with an optimizer for each network that needs one of its own."""
    model.compile(**kwargs, **{f"{name}_optimizer": "sgd" for name in model.optimizer_groups})
    return model


def cvae_of_image():
    """A condition that is an image, with a prior p(z|y)."""
    pair = kvae.networks.mlp((8, 8, 1), 2, hidden=(16,), condition_shape=(4, 6, 1))
    return kvae.CVAE(*pair, prior="learned", seed=0)


def cvae_of_counts():
    """Counts with a size for each example."""
    pair = kvae.networks.mlp((6,), 2, hidden=(16,), likelihood="negative_binomial", size_factor=True)
    return kvae.CVAE(*pair, likelihood="negative_binomial", seed=0)


def flows():
    posterior = Posterior([Planar(), Radial(), InverseAutoregressive((8,))], context=1)
    return vae(posterior=posterior, prior=Prior([Spline((8,)), Coupling((8,)), MaskedAutoregressive((8,))]))


def own_prior():
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(5, activation="tanh"), keras.layers.Dense(4)])


def two_layers():
    """A second stochastic layer of 3 dimensions above a layer of 2."""
    return Hierarchical(*kvae.networks.mlp((2,), 3, hidden=(5,), likelihood=Normal()))


def mixed():
    """The likelihood of `rows`."""
    return Observed(Mixed({"a": "gaussian", "b": "gaussian", "yes": "bernoulli", "city": 3, "n": "negative_binomial"}))


def rows(rng, shape):
    """A table of several kinds of columns, with missing values."""
    n = shape[0]
    columns = [rng.normal(size=(n, 2)), rng.integers(2, size=n), np.eye(3)[rng.integers(3, size=n)], rng.poisson(2, n)]
    x = np.column_stack(columns).astype("float32")
    x[::3, 0], x[1::4, 3:6] = np.nan, np.nan
    return x


def classes(rng, n):
    return rng.integers(3, size=n)


def few_classes(rng, n):
    return rng.permutation([*range(3), *rng.integers(-1, 3, size=n - 3)])


def attributes(rng, n):
    return rng.random((n, 4), dtype="float32")


def counts(rng, shape):
    return rng.poisson(3.0, shape).astype("float32")


def log_sizes(rng, n):
    return rng.normal(size=(n, 1)).astype("float32")


def small_images(rng, n):
    return rng.random((n, 4, 6, 1), dtype="float32")


CASES = {
    "vae": Case(vae, (8, 8, 1)),
    "vae-beta": Case(lambda: vae(beta=4.0, num_samples=3, likelihood=Normal(sigma=0.3)), (8, 8, 1)),
    "vae-learned-sigma": Case(lambda: vae((28, 20, 1), likelihood="gaussian", bound=ELBO(free_bits=0.1)), (28, 20, 1)),
    "vae-table": Case(lambda: vae((6,), likelihood="gaussian"), (6,)),
    "vae-mixed": Case(lambda: vae((7,), likelihood=mixed()), (7,), x=rows),
    "vae-laplace-mixture": Case(lambda: vae(posterior="laplace", prior=Mixture(4)), (8, 8, 1)),
    "vae-log-normal": Case(
        lambda: vae(posterior="log_normal", bound=Renyi(-math.inf), num_samples=3, likelihood="gaussian"), (8, 8, 1)
    ),
    "vae-importance-weighted": Case(
        lambda: vae(bound=ImportanceWeighted("doubly_reparameterized"), num_samples=3, prior=Vamp(4)), (8, 8, 1)
    ),
    "vae-flows": Case(flows, (8, 8, 1)),
    "vae-fitted": Case(lambda: vae(prior=Rescaled(Mixture(3))), (8, 8, 1)),
    "vae-sphere": Case(lambda: vae(posterior="von_mises_fisher"), (8, 8, 1)),
    "vae-categorical": Case(lambda: vae(posterior="categorical"), (8, 8, 1)),
    "vae-joint": Case(lambda: vae(posterior=Joint([Normal(), Categorical()], [2, 3]), latent=5), (8, 8, 1), None, (5,)),
    "vae-two-layers": Case(
        lambda: vae(bound=Renyi(0.5, "score_function"), num_samples=3, prior=two_layers()), (8, 8, 1)
    ),
    "hierarchical": Case(hierarchical, (8, 8, 1), None, (5,)),
    "hierarchical-residual": Case(lambda: residual(bound=ELBO(free_bits=0.5), num_samples=2), (9, 7, 3), None, (52,)),
    "factor-vae": Case(factor_vae, (8, 8, 1)),
    "vae-conv": Case(lambda: vae((14, 10, 3), "conv", (4, 8), likelihood=Normal()), (14, 10, 3)),  # σ per pixel
    "vae-series": Case(lambda: vae((14, 2), "conv", (4, 8), likelihood="gaussian"), (14, 2)),
    "cvae": Case(cvae, (8, 8, 1), classes),
    "cvae-counts": Case(cvae_of_counts, (6,), log_sizes, x=counts),
    "cvae-attributes": Case(lambda: cvae(width=4, num_classes=None), (8, 8, 1), attributes),
    "cvae-image": Case(cvae_of_image, (8, 8, 1), small_images),
    "cvae-learned-prior": Case(lambda: cvae(prior="learned"), (8, 8, 1), classes),
    "cvae-own-prior": Case(
        lambda: cvae((9, 9, 3), "conv", (4, 8), prior=own_prior(), num_samples=2), (9, 9, 3), classes
    ),
    "cvae-mixture": Case(
        lambda: cvae(prior=Mixture(4), bound="importance_weighted", num_samples=3, posterior="student_t"),
        (8, 8, 1),
        classes,
    ),
    "semisupervised": Case(semisupervised, (8, 8, 1), few_classes),
    "auxiliary": Case(auxiliary, (8, 8, 1), few_classes),
    "auxiliary-skip": Case(lambda: auxiliary(skip=True, num_samples=2, prior="learned"), (8, 8, 1), few_classes),
    "vqvae": Case(vqvae, (8, 8, 1), None, (2, 2, 1)),
    "vqvae-residual": Case(
        lambda: vqvae(
            kvae.networks.mlp((6,), (3, 4), hidden=(16,), posterior=None, likelihood="gaussian"),
            likelihood="gaussian",
            num_quantizers=2,
            codebook="moving_average",
            prior=Autoregressive((3, 2), 8, hidden=4, num_blocks=1),
        ),
        (6,),
        None,
        (3, 2),
    ),
    "energy-noise": Case(lambda: energy_network(objectives.NoiseContrastive(0.5, 0.5, ratio=2)), (8, 8, 1)),
    "energy-divergence": Case(lambda: energy_network(objectives.ContrastiveDivergence(2)), (8, 8, 1)),
    "energy-denoising": Case(lambda: energy_network(objectives.DenoisingScoreMatching(1.0)), (8, 8, 1)),
    "energy-sliced": Case(lambda: energy_network("sliced_score_matching"), (8, 8, 1)),
    "gan": Case(gan, (8, 8, 1)),
    "vaegan": Case(vaegan, (8, 8, 1)),
    "introvae": Case(introvae, (8, 8, 1)),
    "adversarial-autoencoder": Case(adversarial_autoencoder, (8, 8, 1)),
    "autoencoder": Case(autoencoder, (8, 8, 1)),
    "autoencoder-sampled": Case(sampled_autoencoder, (8, 8, 1)),
    "autoencoder-predictive": Case(predictive_sparse, (8, 8, 1)),
    "autoencoder-tied": Case(lambda: autoencoder((6,), tied=True, noise=Gaussian(0.1), penalty=Contractive(0.1)), (6,)),
    "autoencoder-conv": Case(
        lambda: autoencoder(
            *((9, 9, 3), "conv", (4, 8), "sigmoid"),
            loss="cross_entropy",
            noise=Masking(0.2),
            penalty=[KLSparsity(0.5), L1(0.1)],
        ),
        (9, 9, 3),
    ),
}

ADVERSARIES = ("gan", "vaegan", "introvae", "adversarial-autoencoder")  # whose networks minimise losses of their own
DENSITIES = {  # models whose log-likelihood is estimated
    name: case
    for name, case in CASES.items()
    if not any(kind in name for kind in ("autoencoder", "energy", "gan", "auxiliary", "vqvae"))
}
# The first case of each model: for what depends on its class alone.
EACH_MODEL = [*{name.split("-")[0]: name for name in reversed(CASES)}.values(), "autoencoder-sampled"]
# Those of them that take different batches, and one without classes: for what only depends on how batches come. They
# reach a VAEGAN or EnergyNetwork, an IntroVAE, VQVAE or HierarchicalVAE, and an AuxiliaryVAE as they do a GAN, a VAE
# and a SemiSupervisedVAE.
FED = {*EACH_MODEL, "cvae-attributes"} - {"vaegan", "energy-noise", "introvae", "auxiliary", "vqvae", "hierarchical"}
FED = FED - {"autoencoder-sampled"}
KINDS = {name: case for name, case in CASES.items() if name in FED}
OTHER_BOUNDS = (
    "vae-learned-sigma",
    "vae-log-normal",
    "vae-importance-weighted",
    "vae-two-layers",
    "cvae-mixture",
    "hierarchical-residual",
    "factor-vae",
    "semisupervised",
    "auxiliary",
    "auxiliary-skip",
    "vqvae",
    "vqvae-residual",
    "autoencoder-predictive",
    "energy-noise",
    "energy-divergence",
    "energy-denoising",
    "energy-sliced",
    *ADVERSARIES,
)  # models that minimise something else than the terms of the ELBO
