"""The decoder of a hierarchy of stochastic layers, which its posterior and its prior share."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
from keras import ops

from kvae import outputs
from kvae.distributions import Distribution, Normal
from kvae.networks.contract import check_functional, check_output
from kvae.types import Network, Shape, Tensor


class Descent(NamedTuple):
    """What a pass from the top to the bottom of a hierarchy gives, layer 1, that next to the image, first.

    Attributes:
        z: codes of each layer, `(rows, *shape)`.
        priors: parameters of p(z_l|z_>l), `(rows, ..., 2 · size)`; one row in the top layer.
        posteriors: parameters of q(z_l|z_>l, x), of the same shape; `None` in each layer without features.
        x_params: parameters of p(x|z), `(rows, ...)`.
    """

    z: list[Tensor]
    priors: list[Tensor]
    posteriors: list[Tensor]
    x_params: Tensor


@keras.saving.register_keras_serializable(package="kvae")
class TopDown(keras.layers.Layer):
    """The decoder of a `HierarchicalVAE`: two networks for each of its L stochastic layers.

    p(x, z) = p(x|z) p(z_L) Π_l p(z_l|z_>l) with p(z_L) = N(0, I), and q(z|x) = q(z_L|x) Π_l q(z_l|z_>l, x): both go
    from the top layer L down to layer 1, that next to the image, and all factors are normal. Called on codes
    `(batch, latent_dim)`, those of layer 1 first, each flattened, it gives the parameters of p(x|z).

    Args:
        generators: Functional models, layer 1 first. The first one's output are the parameters of p(x|z); layer l's
            outputs are `[mean, log_var]` of p(z_{l−1}|z_≥l), and perhaps more tensors, a state that the networks below
            see. Inputs: `z_l`, and the state from above.
        posteriors: Functional models that give `[mean, log_var]` of q(z_l|z_>l, x). Inputs: the encoder's features of
            this layer and, but for the top layer, all that the generator above gives.

    Raises:
        ValueError: if the networks do not fit together.

    Example:

    >>> encoder, decoder = kvae.networks.ladder((8, 8, 1), latent_dims=(4, 2), hidden=(16, 8))
    >>> decoder.shapes, decoder.latent_dim
    ([(4,), (2,)], 6)
    """

    def __init__(self, generators: Sequence[Network], posteriors: Sequence[Network], **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.generators, self.posteriors = list(generators), list(posteriors)
        self.family = Normal()
        self._check()
        self.built = True

    @property
    def num_layers(self) -> int:
        """L, the number of stochastic layers."""
        return len(self.generators)

    @property
    def shapes(self) -> list[Shape]:
        """Shapes of one code of each layer."""
        return [tuple(network.inputs[0].shape[1:]) for network in self.generators]

    @property
    def feature_shapes(self) -> list[Shape]:
        """Shapes of the features of one example that the posterior of each layer sees."""
        return [tuple(network.inputs[0].shape[1:]) for network in self.posteriors]

    @property
    def latent_dim(self) -> int:
        """Number of latent dimensions of all layers."""
        return sum(map(math.prod, self.shapes))

    def split(self, z: Tensor) -> list[Tensor]:
        """The codes `(rows, *shape)` of each layer in codes `(rows, latent_dim)`."""
        return _split(z, self.shapes)

    def join(self, z: Sequence[Tensor]) -> Tensor:
        """Codes `(rows, latent_dim)` of the codes of each layer: the inverse of `split`."""
        return ops.concatenate([ops.reshape(each, (-1, math.prod(each.shape[1:]))) for each in z], axis=-1)

    def descend(
        self,
        choose: Callable[[int, Tensor, Tensor | None], Tensor],
        features: Tensor | None = None,
        training: bool | None = None,
    ) -> Descent:
        """Go through the layers from the top to the image.

        Args:
            choose: function `(layer, prior, posterior)` to the codes `(rows, *shape)` of this layer, the first being 0.
            features: the encoder's outputs `(rows, ...)`; `None` without an image, where `posterior` is `None`.
            training: bool.
        """
        layers = range(self.num_layers)
        seen = [None for _ in layers] if features is None else _split(features, self.feature_shapes)
        z, priors, posteriors = ([None for _ in layers] for _ in range(3))
        *places, size = self.shapes[-1]
        above: list[Tensor] = []  # what the generator above gave
        for i in reversed(layers):
            priors[i] = above[0] if above else ops.zeros((1, *places, 2 * size), "float32")
            if features is not None:
                posteriors[i] = _run(self.posteriors[i], [seen[i], *above], training)[0]
            z[i] = choose(i, priors[i], posteriors[i])
            above = _run(self.generators[i], [z[i], *above[1:]], training)
        return Descent(z, priors, posteriors, above[0])

    def log_prob(self, z: Sequence[Tensor], params: Sequence[Tensor]) -> Tensor:
        """Σ_l log N(z_l) `(rows,)` of a `Descent`'s codes and the parameters of their priors or posteriors."""
        return sum(self.family.log_prob(each, own, len(each.shape) - 1) for each, own in zip(z, params, strict=True))

    def kl(self, posteriors: Sequence[Tensor], priors: Sequence[Tensor]) -> Tensor:
        """KL(q(z_l|z_>l, x) ‖ p(z_l|z_>l)) of each layer, in closed form given the codes above it: `(rows, layers)`."""
        each = zip(posteriors, priors, strict=True)
        return ops.stack([self.family.kl_divergence(q, self.family, p, len(q.shape) - 1) for q, p in each], axis=-1)

    def call(self, z: Tensor, training: bool | None = None) -> Tensor:
        codes = self.split(z)
        return self.descend(lambda i, *_: codes[i], None, training).x_params

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], *self.generators[0].output_shape[1:])

    def get_config(self) -> dict[str, Any]:
        parts = {"generators": self.generators, "posteriors": self.posteriors}
        return {
            **super().get_config(),
            **{name: [keras.saving.serialize_keras_object(each) for each in part] for name, part in parts.items()},
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> TopDown:
        parts = {
            name: [keras.saving.deserialize_keras_object(each) for each in config[name]]
            for name in ("generators", "posteriors")
        }
        return cls(**{**config, **parts})

    def _check(self):
        if not self.generators or len(self.generators) != len(self.posteriors):
            raise ValueError(
                "`generators` and `posteriors` must hold one network each for every stochastic layer. "
                f"Received: {len(self.generators)} and {len(self.posteriors)}"
            )
        for role in ("generators", "posteriors"):
            for i, network in enumerate(getattr(self, role)):
                if not isinstance(network, keras.Model) or not getattr(network, "inputs", None):
                    raise ValueError(f"`{role}[{i}]` must be a built Functional keras.Model. Received: {network!r}")
        above: list[Shape] = []  # shapes of what the generator above gives
        for i in reversed(range(self.num_layers)):
            *places, size = self.shapes[i]
            params = (*places, 2 * size)
            generator, posterior = self.generators[i], self.posteriors[i]
            if above:
                _must(f"generators[{i + 1}]", "give mean and log-variance of the layer below first", above[0], params)
            _must(f"generators[{i}]", "take z and the state from above", _shapes(generator.inputs)[1:], above[1:])
            _must(f"posteriors[{i}]", "take features and all from above", _shapes(posterior.inputs)[1:], above)
            _must(f"posteriors[{i}]", "give a mean and a log-variance", _shapes(posterior.outputs), [params])
            above = _shapes(generator.outputs)
        _must("generators[0]", "have one output, the parameters of p(x|z)", above, above[:1])


def check_top_down(encoder: Network, decoder: TopDown, likelihood: Distribution) -> None:
    """Raise a `ValueError` unless an encoder and a `TopDown` fit together.

    Args:
        encoder: from `x` to the features of all layers, layer 1 first, each flattened: `(batch, features)`.
        decoder: the `TopDown`.
        likelihood: `Distribution` that it parameterises.
    """
    check_functional(encoder, "encoder", None, False)
    needed = sum(map(math.prod, decoder.feature_shapes))
    if tuple(encoder.output_shape[1:]) != (needed,):
        raise ValueError(
            f"`encoder` must give ({needed},) per example, the features that the layers' posteriors see, of shapes "
            f"{decoder.feature_shapes}, flattened. Received: encoder output {encoder.output_shape}"
        )
    check_output(decoder.generators[0], tuple(encoder.inputs[0].shape[1:]), likelihood)
    outputs.check(decoder.generators[0], "decoder", likelihood)


def _run(network, inputs, training):
    """All outputs of a network in float32, as a list."""
    given = network(inputs if len(inputs) > 1 else inputs[0], training=training)
    return [ops.cast(each, "float32") for each in (given if isinstance(given, (list, tuple)) else [given])]


def _split(tensor, shapes):
    """The parts `(rows, *shape)` of a tensor `(rows, size)`."""
    *ends, _ = itertools.accumulate(map(math.prod, shapes))
    parts = ops.split(tensor, ends, axis=-1) if ends else [tensor]
    return [ops.reshape(part, (-1, *shape)) for part, shape in zip(parts, shapes, strict=True)]


def _shapes(tensors):
    return [tuple(each.shape[1:]) for each in tensors]


def _must(role, what, given, wanted):
    if given != wanted:
        raise ValueError(f"`{role}` must {what}, {wanted} per example. Received: {given}")
