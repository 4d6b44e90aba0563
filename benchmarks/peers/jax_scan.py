"""A practical upper bound on a CPU: an epoch is one compiled `lax.scan` in JAX, with the data on the device."""

import itertools
import math

import jax
import jax.numpy as jnp
from jax import lax

from peers import common

MOMENTUM = 0.9  # momentum of the moving statistics in batch normalisation
SMALL = 1e-3  # Keras's ε in batch normalisation


def glorot(key, shape):
    """Keras's uniform initialisation; the last axes of `shape` are inputs and outputs."""
    window = math.prod(shape[:-2])
    limit = (6 / (window * (shape[-2] + shape[-1]))) ** 0.5
    return jax.random.uniform(key, shape, minval=-limit, maxval=limit)


def mlp(task, keys):
    """`(params, moments, apply)` of each network; `apply(params, moments, h, training)` gives `(outputs, moments)`."""
    activation = {"relu": jax.nn.relu, "tanh": jnp.tanh}[task.activation]

    def network(sizes):
        pairs = list(itertools.pairwise(sizes))
        params = [(glorot(next(keys), pair), jnp.zeros(pair[1])) for pair in pairs]

        def apply(params, moments, h, training):
            for kernel, bias in params[:-1]:
                h = activation(h @ kernel + bias)
            return h @ params[-1][0] + params[-1][1], moments

        return params, (), apply

    pixels = task.side**2
    return (
        network((pixels + task.classes, *task.hidden, 2 * task.latent)),
        network((task.latent + task.classes, *task.hidden[::-1], pixels)),
    )


def conv(task, keys):
    """Like `mlp`, with convolutions and batch normalisation."""
    first, second = task.hidden
    quarter = task.side // 4
    layout = ("NHWC", "HWIO", "NHWC")

    def down(h, kernel):
        return lax.conv_general_dilated(h, kernel, (2, 2), "SAME", dimension_numbers=layout)

    def up(h, kernel):
        h = lax.conv_transpose(h, kernel, (2, 2), "SAME", dimension_numbers=layout)
        h = jnp.pad(h, ((0, 0), (0, 1), (0, 1), (0, 0)), "edge")  # an average over 2×2 neighbours
        h = h[:, 1:] + h[:, :-1]
        return 0.25 * (h[:, :, 1:] + h[:, :, :-1])

    def normalised(h, scale, moments, training):
        gamma, beta = scale
        if training:
            axes = tuple(range(h.ndim - 1))
            mean, var = jnp.mean(h, axes), jnp.var(h, axes)
            moments = jax.tree.map(lambda old, new: MOMENTUM * old + (1 - MOMENTUM) * new, moments, (mean, var))
        else:
            mean, var = moments
        return jax.nn.relu((h - mean) * lax.rsqrt(var + SMALL) * gamma + beta), moments

    def scales(*filters):
        return [(jnp.ones(n), jnp.zeros(n)) for n in filters], [(jnp.zeros(n), jnp.ones(n)) for n in filters]

    def encode(params, moments, h, training):
        kernels, scale, (kernel, bias) = params
        h, one = normalised(down(h.reshape(-1, task.side, task.side, 1), kernels[0]), scale[0], moments[0], training)
        h, two = normalised(down(h, kernels[1]), scale[1], moments[1], training)
        return h.reshape(len(h), -1) @ kernel + bias, [one, two]

    def decode(params, moments, z, training):
        kernels, scale, (first_bias, bias) = params
        h = (z @ kernels[0] + first_bias).reshape(-1, quarter, quarter, second)
        h, one = normalised(h, scale[0], moments[0], training)
        h, two = normalised(up(h, kernels[1]), scale[1], moments[1], training)
        return up(h, kernels[2]).reshape(len(z), -1) + bias, [one, two]

    shapes = (4, 4, 1, first), (4, 4, first, second)
    scale, moments = scales(first, second)
    head = glorot(next(keys), (quarter**2 * second, 2 * task.latent)), jnp.zeros(2 * task.latent)
    encoder = ([glorot(next(keys), shape) for shape in shapes], scale, head), moments, encode
    shapes = (task.latent, quarter**2 * second), (4, 4, second, first), (4, 4, first, 1)
    scale, moments = scales(second, first)
    biases = jnp.zeros(quarter**2 * second), jnp.zeros(1)
    decoder = ([glorot(next(keys), shape) for shape in shapes], scale, biases), moments, decode
    return encoder, decoder


def build(task):
    """See `peers.common`."""
    keys = iter(jax.random.split(jax.random.key(0), 20))
    (p_encoder, m_encoder, encode), (p_decoder, m_decoder, decode) = {"mlp": mlp, "conv": conv}[task.network](
        task, keys
    )
    images, labels = common.data(task)
    x = jnp.asarray(images.reshape(len(images), -1))
    y = jnp.asarray(common.one_hot(task, labels)) if task.classes else None
    steps = len(x) // task.batch  # the steps of a scan have a fixed size: a smaller last batch is skipped

    def join(h, y):
        return h if y is None else jnp.concatenate([h, y], -1)

    def loss(params, moments, x, y, key, training):
        parameters, m_encoder = encode(params[0], moments[0], join(x, y), training)
        mean, log_var = jnp.split(parameters, 2, -1)
        epsilon = jax.random.normal(key, (task.samples, *mean.shape))
        z = mean + jnp.exp(0.5 * log_var) * epsilon  # (samples, batch, latent)
        tiled = None if y is None else jnp.tile(y, (task.samples, 1))
        logits, m_decoder = decode(params[1], moments[1], join(z.reshape(-1, task.latent), tiled), training)
        logits = logits.reshape(task.samples, *x.shape)
        log_px = jnp.sum(x * logits - jax.nn.softplus(logits), -1)
        if task.importance_weighted:
            log_ratio = 0.5 * jnp.sum(log_var + epsilon**2 - z**2, -1)  # log p(z) − log q(z|x)
            value = -jnp.mean(jax.nn.logsumexp(log_px + log_ratio, 0) - math.log(task.samples))
        else:
            kl = -0.5 * jnp.sum(1 + log_var - mean**2 - jnp.exp(log_var), -1)
            value = jnp.mean(kl - log_px)
        return value, (m_encoder, m_decoder)

    def orders(key):
        return jax.random.permutation(key, len(x))[: steps * task.batch].reshape(steps, task.batch)

    def step(state, rows, x, y):
        params, moments, first, second, t, key = state
        key, noise = jax.random.split(key)
        t += 1
        gradient = jax.value_and_grad(loss, has_aux=True)
        (value, moments), grads = gradient(params, moments, x[rows], None if y is None else y[rows], noise, True)
        first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, grads)
        second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, grads)
        rate = common.RATE * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        params = jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) + common.EPSILON), params, first, second)
        return (params, moments, first, second, t, key), value

    @jax.jit
    def scanned(state, x, y):
        *state, key = state
        key, shuffle = jax.random.split(key)
        state, values = lax.scan(lambda state, rows: step(state, rows, x, y), (*state, key), orders(shuffle))
        return state, jnp.mean(values)

    one_step = jax.jit(step, donate_argnums=0)

    def stepped(state, x, y):
        *state, key = state
        key, shuffle = jax.random.split(key)
        state, values = (*state, key), []
        for rows in orders(shuffle):
            state, value = one_step(state, rows, x, y)
            values.append(value)
        return state, jnp.mean(jnp.stack(values))

    # On a CPU, XLA runs convolutions inside a loop on one core without its fast kernels: a single step is faster.
    train_epoch = stepped if task.network == "conv" and jax.default_backend() == "cpu" else scanned
    params = (p_encoder, p_decoder)
    first, second = (jax.tree.map(jnp.zeros_like, params) for _ in range(2))
    state = (params, (m_encoder, m_decoder), first, second, jnp.float32(0), next(keys))

    def train():
        nonlocal state
        for _ in range(task.epochs):
            state, mean = train_epoch(state, x, y)  # without the mean, XLA would leave out the loss
            jax.block_until_ready(mean)
        return task.epochs * steps * task.batch

    def bound_reached():
        some = x[: common.CHECKED], None if y is None else y[: common.CHECKED]
        return loss(*state[:2], *some, jax.random.key(1), False)[0]

    @jax.jit
    def decoded(params, moments, z):
        return jax.nn.sigmoid(decode(params[1], moments[1], z, False)[0])

    def draw():
        z = jax.random.normal(jax.random.key(2), (task.count, task.latent))
        return jax.device_get(decoded(*state[:2], z))

    return common.job(task, train, bound_reached, draw)


if __name__ == "__main__":
    common.serve(build)
