"""The contract between the networks of a model, and how models call them."""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import ops

from kvae import outputs
from kvae.distributions import Bernoulli, Distribution
from kvae.layers import JoinedDense
from kvae.types import Network, Shape, Tensor

LOG_SIZE = "log_size"  # name of the input that is the logarithm of an example's size


def apply(network: Network, h: Tensor, condition: Sequence[Tensor] = (), training: bool | None = None) -> Tensor:
    """A network's outputs in float32, whatever it computes in: densities and their sums need more than half precision.

    Args:
        network: Functional model from `h`, or from `[h, *condition]`.
        h: tensor `(batch, ...)`.
        condition: tensors `(batch, ...)` that the network takes in addition to `h`; none without a condition.
        training: bool; `None` takes the value from the calling layer.

    Returns:
        Tensor `(batch, ...)`, float32.
    """
    return ops.cast(network([h, *condition] if condition else h, training=training), "float32")


def joins(network: Network) -> bool:
    """Whether a network takes fewer rows of its first input than of the others: it sees it through a `JoinedDense`."""
    return any(isinstance(layer, JoinedDense) for layer in network.layers)


def tile(condition: Sequence[Tensor], times: int) -> tuple[Tensor, ...]:
    """Repeat a condition's whole batch `times` times: tensors `(times · batch, ...)`."""
    return tuple(ops.tile(part, (times, *[1] * (len(part.shape) - 1))) for part in condition)


def condition_shapes(network: Network) -> tuple[Shape, ...]:
    """Shapes of one example of what a network takes in addition to its first input."""
    return tuple(tuple(each.shape[1:]) for each in network.inputs[1:])


def takes_log_size(network: Network) -> bool:
    """Whether the last input of a network is the logarithm of an example's size, as of `mlp(..., size_factor=True)`."""
    return bool(network.inputs[-1].name == LOG_SIZE)


def check_pair(
    encoder: Network,
    decoder: Network,
    posterior: Distribution | None,
    likelihood: Distribution,
    conditional: bool = False,
    decoder_sees: Sequence[Shape] | None = None,
) -> None:
    """Raise a `ValueError` unless a pair satisfies the contract at the top of this file.

    Args:
        encoder: from `x` or `[x, *y]` to `(batch, *latent_shape[:-1], parameters · latent_shape[-1])`.
        decoder: from `z` or `[z, *y]` to `(batch, height, width, parameters · channels)`.
        posterior: `Distribution` that the encoder parameterises; `None` for a plain code.
        likelihood: `Distribution` that the decoder parameterises.
        conditional: whether the model has a condition `y`.
        decoder_sees: shapes of what the decoder must take in addition to `z`; `None` for what the encoder takes in
            addition to `x`.
    """
    for network, role, family in ((encoder, "encoder", posterior), (decoder, "decoder", likelihood)):
        check_functional(network, role, family, conditional)
    seen = condition_shapes(encoder) if decoder_sees is None else tuple(decoder_sees)
    if seen != condition_shapes(decoder):
        raise ValueError(
            "`encoder` and `decoder` must take the same condition: build both networks with the same num_classes. "
            f"Received: conditions of shapes {seen} and {condition_shapes(decoder)}"
        )
    *places, size = decoder.inputs[0].shape[1:]
    needed = outputs_of(posterior, size)
    if tuple(encoder.output_shape[1:]) != (*places, needed):
        plain = ": build it with posterior=None" if posterior is None else ""
        raise ValueError(
            f"`encoder` and `decoder` must agree: the decoder takes codes of shape {(*places, size)}, so the encoder "
            f"must give {(*places, needed)} per example, {needed / size:.3g} parameter(s) per latent dimension{plain}. "
            f"Received: encoder output {encoder.output_shape}"
        )
    check_output(decoder, tuple(encoder.inputs[0].shape[1:]), likelihood)
    if posterior is not None:
        outputs.check(encoder, "encoder", posterior)
    outputs.check(decoder, "decoder", likelihood)


def check_decoder(decoder: Network, likelihood: Distribution, image_shape: Shape) -> None:
    """Raise a `ValueError` unless a decoder without an encoder gives the parameters of images of a shape.

    Args:
        decoder: from `z` to `(batch, height, width, parameters · channels)`.
        likelihood: `Distribution` that it parameterises.
        image_shape: shape of one example.
    """
    check_functional(decoder, "decoder", likelihood, False)
    check_output(decoder, image_shape, likelihood)
    outputs.check(decoder, "decoder", likelihood)


def check_output(decoder: Network, image_shape: Shape, likelihood: Distribution) -> None:
    """Raise a `ValueError` unless a network gives the parameters of images of a shape."""
    *sides, channels = image_shape
    expected = (*sides, likelihood.num_outputs(channels))
    if tuple(decoder.output_shape[1:]) != expected:
        raise ValueError(
            f"`decoder` must give {expected} per example, {expected[-1] / channels:.3g} parameter(s) per channel of "
            f"the {type(likelihood).__name__} likelihood: give networks and model the same likelihood. "
            f"Received: decoder output {decoder.output_shape}"
        )


def check_functional(network: Network, role: str, family: Distribution | None, conditional: bool) -> None:
    """Raise a `ValueError` unless a network is Functional, with the inputs of its role and one output."""
    inputs = getattr(network, "inputs", None)
    if not isinstance(network, keras.Model) or not inputs:
        raise ValueError(
            f"`{role}` must be a built Functional keras.Model{_wrapping(role, conditional)}. Received: {network!r}"
        )
    if (len(inputs) > 1) != conditional:
        wanted = "2 inputs or more" if conditional else "1 input"
        fix = "build it with num_classes=, or use VAE" if conditional else "use CVAE for a condition"
        raise ValueError(f"`{role}` must have {wanted} in this model: {fix}. Received: {len(inputs)}")
    if len(network.outputs) > 1:
        count = outputs_per_dimension(family)  # as in [z_mean, z_log_var, z], whose z the model draws itself
        several = f"keras.layers.Concatenate()({role}.outputs[:{count}])"
        fix = several if count > 1 else f"{role}.outputs[0]"
        raise ValueError(
            f"`{role}` must have one output, with all parameters on its last axis: {role} = "
            f"keras.Model({role}.input, {fix}). Received: {len(network.outputs)} outputs"
        )


def _wrapping(role, conditional):
    """How to turn a subclassed model, or a Sequential without an Input, into a Functional one."""
    shape = "(latent_dim,)" if role == "decoder" else "image_shape"
    if not conditional:
        return f": {role} = keras.Sequential([keras.Input({shape}), {role}])"
    return f": x, y = keras.Input({shape}), keras.Input((num_classes,)); {role} = keras.Model([x, y], {role}([x, y]))"


def check_judge(
    network: Network, role: str, shape: Shape, num_outputs: int, of: str = "images", also: Sequence[Shape] = ()
) -> None:
    """Raise a `ValueError` unless a network maps images, or codes, to logits.

    Args:
        network: the classifier or discriminator.
        role: the argument's name, for the message.
        shape: shape of one example.
        num_outputs: logits per example.
        of: what the examples are, for the message.
        also: shapes of what it takes in addition.
    """
    if not isinstance(network, keras.Model) or not getattr(network, "inputs", None):
        raise ValueError(
            f"`{role}` must be a built Functional keras.Model{_wrapping(role, False)}. Received: {network!r}"
        )
    given = [tuple(each.shape[1:]) for each in (*network.inputs, *network.outputs)]
    if given != [tuple(shape), *also, (num_outputs,)]:
        more = "".join(f" and vectors of shape {each}" for each in also)
        raise ValueError(
            f"`{role}` must map {of} of shape {tuple(shape)}{more} to {num_outputs} logit(s) per example. "
            f"Received: {', '.join(map(str, given[:-1]))} to {given[-1]}"
        )
    for found in outputs.ranges(network, Bernoulli()):
        if outputs.cure(found):
            raise ValueError(
                f"`{role}` must give logits: drop its last activation, which the model applies itself. "
                f"Received: {found.operations} at its end, {found}"
            )


def outputs_of(family: Distribution | None, size: int) -> int:
    """How many numbers on its last axis an encoder gives for a code with `size` dimensions on its last axis."""
    return size if family is None else family.num_outputs(size)


def outputs_per_dimension(family: Distribution | None) -> int:
    """How many parameters a network gives per dimension: one for a plain code, for which there is no distribution."""
    return 1 if family is None else family.num_parameters
