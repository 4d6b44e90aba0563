"""The five networks of an auxiliary deep generative model, and the contract between them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import keras
from keras import layers

from kvae import checks, outputs
from kvae.distributions import Distribution, Normal, likelihood_family, posterior_family
from kvae.networks.contract import check_judge, condition_shapes, outputs_of
from kvae.networks.pairs import LAST, dense
from kvae.types import Activation, Network, Shape


def auxiliary(
    image_shape: Sequence[int],
    latent_dim: int,
    num_classes: int,
    hidden: Sequence[int] = (512, 256),
    auxiliary_dim: int | None = None,
    skip: bool = False,
    posterior: str | Distribution = "normal",
    likelihood: str | Distribution = "bernoulli",
    activation: Activation = "relu",
) -> tuple[keras.Model, keras.Model, keras.Model, keras.Model, keras.Model]:
    """Multilayer perceptrons for an `AuxiliaryVAE`, in the order in which it takes them.

    Args:
        image_shape: shape of one example, `(height, width, channels)`; `(features,)` for tables and codes.
        latent_dim: latent dimensions.
        num_classes: number of classes.
        hidden: units of each network's hidden layers, in reverse in both decoders.
        auxiliary_dim: dimensions of the auxiliary variable a; `None` for as many as latent ones.
        skip: whether images are generated from a as well, p(x|a, y, z) and p(a|y, z): the skip deep generative model.
        posterior, likelihood, activation: as in `mlp`.

    Returns:
        `(encoder, decoder, classifier, auxiliary_encoder, auxiliary_decoder)`, Functional models: from `[x, y, a]` to
        the parameters of q(z|a, x, y); from `[z, y]`, or with `skip` `[z, y, a]`, to those of p(x|·); from `[x, a]` to
        the logits of q(y|a, x); from `x` to the mean and log-variance of q(a|x); from `[x, y, z]`, or with `skip`
        `[z, y]`, to those of p(a|·).

    Raises:
        ValueError: for sizes that are not positive integers, or unknown names.

    Example:

    >>> encoder, decoder, classifier, *others = kvae.networks.auxiliary((8, 8, 1), latent_dim=2, num_classes=10)
    >>> encoder.input_shape, classifier.output_shape
    ([(None, 8, 8, 1), (None, 10), (None, 2)], (None, 10))
    """
    image_shape = tuple(checks.positive_integer(side, "image_shape") for side in image_shape)
    latent_dim = checks.positive_integer(latent_dim, "latent_dim")
    num_classes = checks.positive_integer(num_classes, "num_classes")
    auxiliary_dim = latent_dim if auxiliary_dim is None else checks.positive_integer(auxiliary_dim, "auxiliary_dim")
    hidden = tuple(checks.positive_integer(size, "hidden") for size in hidden)
    family = likelihood_family(likelihood)
    shapes: dict[str, Shape] = {"x": image_shape, "y": (num_classes,), "z": (latent_dim,), "a": (auxiliary_dim,)}

    def network(names: str, sizes: Sequence[int], output: Shape, name: str) -> keras.Model:
        inputs = [keras.Input(shapes[each], name=each) for each in names]
        seen = [family.as_input(each) if name == "x" else each for name, each in zip(names, inputs, strict=True)]
        h = [layers.Flatten(**LAST)(each) if len(each.shape) > 2 else each for each in seen]
        for size in sizes:
            h = dense(h, size, activation=activation)
        h = dense(h, math.prod(output))
        h = h if len(output) == 1 else layers.Reshape(output)(h)
        return keras.Model(inputs if len(inputs) > 1 else inputs[0], h, name=name)

    outputs = family.num_outputs(image_shape[-1])
    encoded = outputs_of(posterior_family(posterior), latent_dim)
    mirrored = hidden[::-1]
    return (
        network("xya", hidden, (encoded,), "encoder"),
        network("zya" if skip else "zy", mirrored, (*image_shape[:-1], outputs), "decoder"),
        network("xa", hidden, (num_classes,), "classifier"),
        network("x", hidden, (2 * auxiliary_dim,), "auxiliary_encoder"),
        network("zy" if skip else "xyz", mirrored, (2 * auxiliary_dim,), "auxiliary_decoder"),
    )


def check_auxiliary(
    encoder: Network, decoder: Network, classifier: Network, auxiliary_encoder: Network, auxiliary_decoder: Network
) -> None:
    """Raise a `ValueError` unless the networks of a fit the pair, as those that `auxiliary` returns do.

    Args:
        encoder, decoder: a checked pair.
        classifier, auxiliary_encoder, auxiliary_decoder: the networks to check.
    """
    conditions = condition_shapes(encoder)
    if len(conditions) != 2 or len(conditions[1]) != 1:
        raise ValueError(
            "`encoder` must take [x, y, a], such as the first network of kvae.networks.auxiliary. "
            f"Received: {_described(encoder)}"
        )
    image, (y, a), code = tuple(encoder.inputs[0].shape[1:]), conditions, tuple(decoder.inputs[0].shape[1:])
    skip = len(decoder.inputs) > 2
    check_judge(classifier, "classifier", image, y[0], also=(a,))
    given = "[z, y]" if skip else "[x, y, z]"
    for network, role, inputs, shapes in (
        (auxiliary_encoder, "auxiliary_encoder", "x", [image]),
        (auxiliary_decoder, "auxiliary_decoder", given, [code, y] if skip else [image, y, code]),
    ):
        if not isinstance(network, keras.Model) or _shapes(network) != [*shapes, (2 * a[0],)]:
            raise ValueError(
                f"`{role}` must map {inputs}, of shape {', '.join(map(str, shapes))}, to the mean and log-variance of "
                f"a, {(2 * a[0],)} per example. Received: {_described(network)}"
            )
        outputs.check(network, role, Normal())


def _shapes(network):
    inputs = getattr(network, "inputs", None) or []
    return [tuple(each.shape[1:]) for each in (*inputs, *(network.outputs if inputs else ()))]


def _described(network):
    *given, last = _shapes(network) if isinstance(network, keras.Model) and _shapes(network) else [repr(network)]
    return f"{', '.join(map(str, given))} to {last}" if given else last
