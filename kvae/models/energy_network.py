"""A network that is an energy function, and a density up to its normalising constant."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from kvae import checks, networks
from kvae.models.base import BaseModel
from kvae.models.batches import Batch, BatchResult, in_batches
from kvae.models.encoder_decoder import EVALUATION_BATCH
from kvae.objectives import OBJECTIVES, Objective, langevin
from kvae.training import strategy
from kvae.training.kept import kept
from kvae.types import Array, ArrayLike, Network, PathLike, Shape, Tensor


@keras.saving.register_keras_serializable(package="kvae")
class EnergyNetwork(BaseModel):
    """An energy E(x) computed by a network, trained with `fit(x)`: the density is exp(−E(x)) / Z.

    The integral Z is out of reach, so the likelihood cannot be maximised. What is minimised instead, `loss`, is an
    argument, and each learns −log p(x) in nats up to a constant: noise-contrastive estimation (the constant too),
    contrastive divergence, denoising score matching (of the data blurred by its noise) and sliced score matching.
    `data_energy`, the mean energy of the data, is logged with it.

    The network runs in inference mode in training too, because the objectives compare energies of different examples:
    dropout and batch normalisation have no effect.

    Args:
        network: Functional Keras model from examples `(batch, *image_shape)` to energies `(batch, 1)`, in nats.
        objective: "noise_contrastive", "contrastive_divergence", "denoising_score_matching", "sliced_score_matching" or
            a `kvae.objectives.Objective`, for one with other settings.
        seed: int for reproducible noise; `None` for a random one.
        name, dtype, trainable: as in `keras.Model`.

    Raises:
        ValueError: if the network does not give one number per example, the objective is unknown or cannot train this
            network.

    Example:

    >>> x = kvae.toy.spiral(100, seed=0)
    >>> network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(64, "swish"), keras.layers.Dense(1)])
    >>> model = kvae.EnergyNetwork(network, "noise_contrastive", seed=0)
    >>> model.compile(optimizer=keras.optimizers.Adam(1e-2))
    >>> history = model.fit(x, epochs=20, verbose=0)
    >>> model.energy(x).shape, model.generate(5, seed=0).shape
    ((100,), (5, 2))
    """

    term_names = ("data_energy",)

    def __init__(
        self,
        network: Network,
        objective: str | Objective = "noise_contrastive",
        seed: int | None = None,
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(name=name, dtype=dtype, trainable=trainable)
        inputs = getattr(network, "inputs", None)
        networks.check_judge(network, "network", tuple(inputs[0].shape[1:]) if inputs else (), 1)
        self.network: Any = network
        self.objective = checks.lookup(objective, OBJECTIVES, Objective, "objective")
        self.objective.check(network)
        self.seed = checks.seed(seed)
        self.seed_generator = strategy.SeedGenerator(self.seed)
        self.built = True

    @property
    def capabilities(self) -> frozenset[str]:
        return super().capabilities | {"energy"}

    @property
    def image_shape(self) -> Shape:
        return tuple(self.network.inputs[0].shape[1:])

    def run_batch(self, batch: Batch, training: bool) -> BatchResult:
        loss = self.objective(self, batch.x, self.seed_generator)
        energies = self.energies(batch.x)
        no_loss = 0.0 * energies  # slopes do not depend on the last bias: Keras would warn that it has no gradient
        return BatchResult(energies[:, None], (loss, no_loss), {"data_energy": energies})

    def energies(self, x: Tensor) -> Tensor:
        """The energies `(batch,)` of a tensor of examples `(batch, *image_shape)`, nats."""
        return networks.apply(self.network, x, training=False)[:, 0]

    def compile(self, optimizer: Any = "adam", loss: Any = None, metrics: Any = None, **kwargs: Any) -> None:
        """Configure training as in Keras, without `loss` and `metrics`.

        Raises:
            ValueError: if a loss or metrics are given: they would compare examples with reconstructions.
        """
        if metrics is not None:
            raise ValueError(
                f"{type(self).__name__} has no reconstructions for `metrics` to compare with the data: drop `metrics` "
                f"from `compile`. Received: metrics={metrics!r}"
            )
        super().compile(optimizer, loss, **kwargs)

    def energy(self, x: ArrayLike) -> Array:
        """The energy of each example, low on the data: array `(n,)`, nats.

        It is −log p(x) after noise-contrastive estimation, up to an unknown constant after the other objectives.

        Args:
            x: examples `(n, *image_shape)`.

        Raises:
            ValueError: if `x` does not have the shape of the examples.
        """
        return in_batches(kept(self, _energy), self.check_images(x), batch_size=EVALUATION_BATCH)

    def generate(
        self,
        n: int = 1,
        seed: int | None = None,
        temperature: float = 1.0,
        start: ArrayLike | None = None,
        num_steps: int = 100,
        step_size: float = 0.1,
    ) -> Array:
        """Draw examples by Langevin dynamics; see `kvae.objectives.langevin`.

        Args:
            n: number of examples.
            seed: int for a reproducible draw; `None` for the next of the model's own stream.
            temperature: T, positive: draws are those of exp(−E(x) / T), below 1 nearer to the lowest energies.
            start: where the chains start, `(n, *image_shape)`, such as examples of the data; `None` for draws of
                N(0, I). Chains that start far from the data may not find all of its modes.
            num_steps: steps of each chain.
            step_size: ε, positive, in units of the data.

        Returns:
            Array `(n, *image_shape)`.

        Raises:
            ValueError: if an argument is out of range, `start` does not have `n` examples, or a chain diverges.
        """
        n = checks.positive_integer(n, "n")
        temperature = checks.positive_number(temperature, "temperature")
        noise = self.seed_generator if seed is None else keras.random.SeedGenerator(checks.seed(seed))
        if start is None:
            x = keras.random.normal((n, *self.image_shape), dtype="float32", seed=noise)
        else:
            start = self.check_images(start, "start")
            checks.same_length(start, n, "start")
            x = ops.convert_to_tensor(np.asarray(start, "float32"))
        num_steps = checks.positive_integer(num_steps, "num_steps")
        step_size = checks.positive_number(step_size, "step_size")
        x = ops.convert_to_numpy(langevin(lambda x: self.energies(x) / temperature, x, num_steps, step_size, noise))
        if not np.isfinite(x).all():
            raise ValueError(
                f"`step_size` is too large for the slope of this energy: chains diverge. Received: {step_size}"
            )
        return x

    def export(self, filepath: PathLike, **kwargs: Any) -> None:
        """Export the network, from examples to energies `(batch, 1)`, as `keras.Model.export` does."""
        self.network.export(filepath, **kwargs)

    def get_config(self) -> dict[str, Any]:
        parts = {"network": self.network, "objective": self.objective}
        serialized = {name: keras.saving.serialize_keras_object(part) for name, part in parts.items()}
        return {**super().get_config(), **serialized, "seed": self.seed}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> EnergyNetwork:
        parts = ("network", "objective")
        return cls(**config | {p: keras.saving.deserialize_keras_object(config[p], custom_objects) for p in parts})


def _energy(model, noise, x):
    return model.energies(x)
