"""What an energy network minimises: contrastive objectives and score matching.

Making the energy low on the data is easy. These objectives differ in how they keep it higher elsewhere:
noise-contrastive estimation and contrastive divergence push it up at chosen locations; score matching makes its
gradient small and its curvature large at the data (strategies 3 and 4 of lecture 002).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Protocol

import keras
from keras import ops

from kvae import checks
from kvae.distributions import Normal
from kvae.distributions.base import noise_shape, sum_event
from kvae.settings import Settings
from kvae.training.gradients import gradient
from kvae.training.held import held
from kvae.types import Network, Seed, Tensor

KINKS = {keras.activations.relu, keras.activations.relu6, keras.activations.leaky_relu}  # without curvature elsewhere
KINKED = (keras.layers.ReLU, keras.layers.LeakyReLU, keras.layers.PReLU)


class EnergyModel(Protocol):
    """What an objective needs of a model: `energies`, from examples `(batch, *image_shape)` to `(batch,)`, in nats."""

    network: Network

    def energies(self, x: Tensor) -> Tensor: ...


class Objective(Settings):
    """Base class of the objectives."""

    def check(self, network: Network) -> None:
        """Raise a `ValueError` if the objective cannot train `network`."""

    def __call__(self, model: EnergyModel, x: Tensor, seed: Seed) -> Tensor:
        """The loss of each example.

        Args:
            model: the `EnergyNetwork`.
            x: tensor `(batch, *image_shape)`.
            seed: `keras.random.SeedGenerator`.

        Returns:
            Tensor `(batch,)`.
        """
        raise NotImplementedError


@keras.saving.register_keras_serializable(package="kvae")
@dataclasses.dataclass(frozen=True)
class NoiseContrastive(Objective):
    """Noise-contrastive estimation: tell the data from ν times as many draws of the noise pₙ = N(mean, σ²I).

    The classifier has the logit G(x) = −E(x) − log pₙ(x) − log ν and the loss −log σ(G(x)) − Σ log(1 − σ(G(y))), over
    one example x and its ν draws y (Gutmann & Hyvärinen 2012, section 2; https://jmlr.org/papers/v13/gutmann12a.html).
    At the optimum E(x) = −log p(x), its constant included: the network's bias learns log Z. The noise must reach all of
    the data, and it teaches nothing where it does not go.

    Args:
        mean: of the noise, the same in every dimension, in units of the data.
        sigma: its standard deviation σ, positive; a little more than that of the data.
        ratio: ν, draws of noise per example.

    Raises:
        ValueError: if `sigma` is not positive, `mean` is not a finite number or `ratio` not a positive integer.

    Example:

    >>> network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(64, "swish"), keras.layers.Dense(1)])
    >>> model = kvae.EnergyNetwork(network, kvae.objectives.NoiseContrastive(sigma=1.5, ratio=4))
    """

    mean: float = 0.0
    sigma: float = 1.0
    ratio: int = 1

    def __post_init__(self) -> None:
        checks.number(self.mean, "mean")
        checks.positive_number(self.sigma, "sigma")
        checks.positive_integer(self.ratio, "ratio")

    def __call__(self, model: EnergyModel, x: Tensor, seed: Seed) -> Tensor:
        noise = keras.random.normal(noise_shape(self.ratio, x), self.mean, self.sigma, "float32", seed)
        at_noise = ops.reshape(self._logit(model, ops.reshape(noise, (-1, *x.shape[1:]))), (self.ratio, -1))
        return ops.softplus(-self._logit(model, x)) + ops.sum(ops.softplus(at_noise), axis=0)

    def _logit(self, model, x):
        log_noise = Normal(self.sigma).log_prob(x, self.mean * ops.ones_like(x), len(x.shape) - 1)
        return -model.energies(x) - log_noise - math.log(self.ratio)


@keras.saving.register_keras_serializable(package="kvae")
@dataclasses.dataclass(frozen=True)
class ContrastiveDivergence(Objective):
    """Contrastive divergence: E(x) − E(x̃), where x̃ is the end of a short Markov chain that starts at the example x.

    With an infinite chain, its gradient would be that of −log p(x) (Hinton 2002, section 4;
    https://www.cs.toronto.edu/~hinton/absps/nccd.pdf). The chain is `langevin`, whose steps of size ε are not
    corrected: what is learned is slightly too sharp, for a Gaussian of variance s² by a factor of about 1 + ε²/4s² in
    the inverse variance. Energies that no chain reaches stay as they are; longer chains reach further.

    Args:
        num_steps: steps of the chain.
        step_size: ε, positive, in units of the data, and below the standard deviation of the data across their thinnest
            ridge: otherwise no energy keeps the chains on it, and slopes grow without limit.

    Raises:
        ValueError: if `num_steps` is not a positive integer or `step_size` not positive.

    Example:

    >>> network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(64, "swish"), keras.layers.Dense(1)])
    >>> model = kvae.EnergyNetwork(network, kvae.objectives.ContrastiveDivergence(num_steps=20))
    """

    num_steps: int = 10
    step_size: float = 0.1

    def __post_init__(self) -> None:
        checks.positive_integer(self.num_steps, "num_steps")
        checks.positive_number(self.step_size, "step_size")

    def __call__(self, model: EnergyModel, x: Tensor, seed: Seed) -> Tensor:
        with held(model.network):  # nothing is learned from the way to x̃
            end = langevin(model.energies, x, self.num_steps, self.step_size, seed)
        return model.energies(x) - model.energies(end)


@keras.saving.register_keras_serializable(package="kvae")
@dataclasses.dataclass(frozen=True)
class DenoisingScoreMatching(Objective):
    """Denoising score matching: ½ ‖σ ∇E(x + σε) − ε‖², ε ~ N(0, I).

    The downhill direction −∇E points from a noisy example back to the clean one (Vincent 2011, section 4.2, times σ²;
    https://www.iro.umontreal.ca/~vincentp/Publications/smdae_techreport.pdf). At the optimum, E(x) = −log p_σ(x) +
    const, where p_σ is the density of the noisy data: the data blurred by σ.

    Args:
        sigma: standard deviation σ of the noise, positive, in units of the data. Less is closer to the data, and
            noisier to learn.

    Raises:
        ValueError: if `sigma` is not positive.

    Example:

    >>> network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(64, "swish"), keras.layers.Dense(1)])
    >>> model = kvae.EnergyNetwork(network, kvae.objectives.DenoisingScoreMatching(sigma=0.2))
    """

    sigma: float = 0.1

    def __post_init__(self) -> None:
        checks.positive_number(self.sigma, "sigma")

    def __call__(self, model: EnergyModel, x: Tensor, seed: Seed) -> Tensor:
        noise = keras.random.normal(ops.shape(x), dtype="float32", seed=seed)
        slope = _slope(model, x + self.sigma * noise)
        return 0.5 * sum_event(ops.square(self.sigma * slope - noise), len(x.shape) - 1)


@keras.saving.register_keras_serializable(package="kvae")
@dataclasses.dataclass(frozen=True)
class SlicedScoreMatching(Objective):
    """Sliced score matching: ½ ‖∇E(x)‖² − vᵀ ∇²E(x) v, averaged over vectors v of random signs.

    It minimises the gradient and maximises the curvature around the data (Hyvärinen 2005; the form with slices v is
    Song, Garg, Shi, Ermon 2019, SSM-VR in section 3, https://arxiv.org/abs/1905.07088). At the optimum, E(x) =
    −log p(x) + const. The network must be smooth. With few examples, the curvature at each of them grows without limit:
    stop early.

    Args:
        num_slices: vectors v per example.

    Raises:
        ValueError: if `num_slices` is not a positive integer; in a model, if the network has ReLU activations, which
            have no curvature.

    Example:

    >>> network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(64, "swish"), keras.layers.Dense(1)])
    >>> model = kvae.EnergyNetwork(network, "sliced_score_matching")
    """

    num_slices: int = 1

    def __post_init__(self) -> None:
        checks.positive_integer(self.num_slices, "num_slices")

    def check(self, network: Network) -> None:
        for layer in network.layers:
            if isinstance(layer, KINKED) or getattr(layer, "activation", None) in KINKS:
                raise ValueError(
                    "`objective` SlicedScoreMatching needs a network with curvature: use a smooth activation such as "
                    f'"swish". Received: layer {layer.name!r} with a ReLU'
                )

    def __call__(self, model: EnergyModel, x: Tensor, seed: Seed) -> Tensor:
        axes = len(x.shape) - 1
        curvature = 0.0
        for _ in range(self.num_slices):
            v = ops.sign(keras.random.uniform(ops.shape(x), -1.0, 1.0, "float32", seed))
            _, along = gradient(lambda x, v=v: ops.sum(v * _slope(model, x)), x, differentiable=True)
            curvature = curvature + sum_event(v * along, axes) / self.num_slices
        return 0.5 * sum_event(ops.square(_slope(model, x)), axes) - curvature


OBJECTIVES = {
    "noise_contrastive": NoiseContrastive,
    "contrastive_divergence": ContrastiveDivergence,
    "denoising_score_matching": DenoisingScoreMatching,
    "sliced_score_matching": SlicedScoreMatching,
}


def langevin(energy: Callable[[Tensor], Tensor], x: Tensor, num_steps: int, step_size: float, seed: Seed) -> Tensor:
    """Langevin dynamics, x ← x − ½ε² ∇E(x) + ε n with n ~ N(0, I), without a Metropolis correction.

    For small ε and many steps, x is a draw of the density exp(−E(x)) / Z.

    Args:
        energy: function from `(batch, *image_shape)` to `(batch,)`, in nats.
        x: where the chains start, `(batch, *image_shape)`.
        num_steps: number of steps.
        step_size: ε, in units of x.
        seed: `keras.random.SeedGenerator`.

    Returns:
        Tensor like `x`, without a gradient.

    Example:

    >>> seed = keras.random.SeedGenerator(0)
    >>> x = kvae.objectives.langevin(lambda x: ops.sum(x**2, axis=-1) / 2, ops.zeros((500, 1)), 50, 0.5, seed)
    >>> 0.8 < float(ops.std(x)) < 1.2
    True
    """
    noise = step_size * keras.random.normal(noise_shape(num_steps, x), dtype="float32", seed=seed)

    def step(i, x):
        _, slope = gradient(lambda x: ops.sum(energy(x)), x)
        return x - 0.5 * step_size**2 * slope + noise[i]

    return ops.stop_gradient(ops.fori_loop(0, num_steps, step, x))


def _slope(model, x):
    """∇E(x), `(batch, *image_shape)`, in a form that trains the network."""
    return gradient(lambda x: ops.sum(model.energies(x)), x, differentiable=True)[1]
