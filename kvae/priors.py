"""Priors p(z): standard, learned from labels, mixtures, VampPrior, and a second stochastic layer.

A prior is a Keras layer that its model binds to itself. It scores codes (`log_prob`), draws them (`sample`) and, where
it can, gives the KL from a posterior in closed form (`kl`).
"""

import math

import keras
from keras import ops

from kvae import checks, networks
from kvae.distributions import Normal


class Prior(keras.layers.Layer):
    """Base of the priors.

    Attributes:
        family: `Distribution` of p(z) or its components, the posterior's `standard_prior`; set by `bind`.
        latent_dim: int, set by `bind`.
    """

    stochastic = False  # whether `log_prob` is itself an estimate, from samples of its own

    def __init__(self, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})  # whatever the policy: see networks.apply

    def bind(self, posterior_family, latent_dim, image_shape, encode):
        """Tie the prior to a model and make its weights.

        Args:
            posterior_family: `Distribution` of q(z|x).
            latent_dim: int.
            image_shape: shape of one example.
            encode: function from images `(n, *image_shape)` to the parameters of q(z|x).

        Raises:
            ValueError: if the prior belongs to a model already, or does not fit this one.
        """
        if hasattr(self, "family"):
            raise ValueError("`prior` must be a new one for each model. Received: the prior of another model")
        self.family = self.family_for(posterior_family)
        self.latent_dim = latent_dim
        self.make_weights(image_shape, encode)
        self.built = True

    def family_for(self, posterior_family):
        """The `Distribution` of p(z), or of its components, that suits a posterior."""
        return posterior_family.standard_prior()

    def make_weights(self, image_shape, encode):
        """Create the prior's weights; here none."""

    def log_prob(self, z, condition, seed):
        """log p(z), or log p(z|y): `(..., batch)` of codes `(..., batch, latent)`, summed over dimensions."""
        raise NotImplementedError

    def sample(self, n, condition, seed):
        """`n` codes `(n, latent)`; `condition` `(n, condition_dim)` or `None`."""
        raise NotImplementedError

    def kl(self, posterior_family, params, condition):
        """KL(q(z|x) ‖ p(z)) `(batch, latent)` in closed form; `None` where there is none."""
        return None

    def params(self, condition):
        """Parameters `(1 or batch, parameters · latent)` of a prior that is one member of its family; else `None`."""
        return None


class Single(Prior):
    """Base of the priors that are one member of a family: subclasses give its `params`."""

    def log_prob(self, z, condition, seed):
        return ops.sum(self.family.log_prob(z, self.params(condition)), axis=-1)

    def sample(self, n, condition, seed):
        params = self.params(condition)
        return self.family.sample(ops.broadcast_to(params, (n, params.shape[-1])), 1, seed)[0]

    def kl(self, posterior_family, params, condition):
        return posterior_family.kl_divergence(params, self.family, self.params(condition))


@keras.saving.register_keras_serializable(package="kvae")
class Standard(Single):
    """N(0, I), or for a posterior of positive numbers its family's standard member."""

    def params(self, condition):
        return ops.zeros((1, self.family.num_parameters * self.latent_dim))


@keras.saving.register_keras_serializable(package="kvae")
class Conditional(Single):
    """p(z|y), its parameters from a network (Sohn, Lee, Yan 2015, eq. 4).

    Args:
        network: Functional model from the condition `(batch, condition_dim)` to the parameters.
    """

    def __init__(self, network, **kwargs):
        super().__init__(**kwargs)
        self.network = network

    def make_weights(self, image_shape, encode):
        width = self.family.num_parameters * self.latent_dim
        if self.network.output_shape[-1] != width:
            raise ValueError(
                f"`prior` must give {width} parameters an example. "
                f"Received: {self.network.input_shape} to {self.network.output_shape}"
            )

    def params(self, condition):
        return networks.apply(self.network, condition)

    def get_config(self):
        return {**super().get_config(), "network": keras.saving.serialize_keras_object(self.network)}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "network": keras.saving.deserialize_keras_object(config["network"])})


class Components(Prior):
    """Base of the mixtures p(z) = Σ_k π_k p_k(z): subclasses give `log_mixing` and the components' parameters.

    Args:
        num_components: int.
    """

    def __init__(self, num_components=50, **kwargs):
        super().__init__(**kwargs)
        self.num_components = checks.positive_integer(num_components, "num_components")

    def log_mixing(self):
        """log π, `(components,)`."""
        return ops.full((self.num_components,), -math.log(self.num_components))

    def component_params(self):
        """Parameters `(components, parameters · latent)`."""
        raise NotImplementedError

    def log_prob(self, z, condition, seed):
        log_prob = self.family.log_prob(ops.expand_dims(z, -2), self.component_params())  # (..., components, latent)
        return ops.logsumexp(self.log_mixing() + ops.sum(log_prob, axis=-1), axis=-1)

    def sample(self, n, condition, seed):
        k = keras.random.categorical(ops.expand_dims(self.log_mixing(), 0), n, seed=seed)[0]
        return self.family.sample(ops.take(self.component_params(), k, axis=0), 1, seed)[0]

    def get_config(self):
        return {**super().get_config(), "num_components": self.num_components}


@keras.saving.register_keras_serializable(package="kvae")
class Mixture(Components):
    """A learned mixture: weights, and one member of the family a component, start spread and train with the model.

    Args:
        num_components: int.

    Example:

    >>> model = kvae.VAE(encoder, decoder, prior=kvae.priors.Mixture(num_components=10))
    """

    def make_weights(self, image_shape, encode):
        width = self.family.num_parameters * self.latent_dim
        spread = keras.initializers.RandomNormal(stddev=0.5, seed=0)  # equal components would stay equal for ever
        self.component_weights = self.add_weight(shape=(self.num_components, width), initializer=spread, name="params")
        self.logits = self.add_weight(shape=(self.num_components,), initializer="zeros", name="logits")

    def log_mixing(self):
        return ops.log_softmax(ops.convert_to_tensor(self.logits))

    def component_params(self):
        return ops.convert_to_tensor(self.component_weights)


@keras.saving.register_keras_serializable(package="kvae")
class Vamp(Components):
    """VampPrior, p(z) = 1/K Σ_k q(z|u_k) with learned pseudo-inputs u_k in [0, 1].

    Tomczak & Welling 2018, eq. 9 (https://arxiv.org/abs/1705.07120).

    Args:
        num_components: int, K.

    Example:

    >>> model = kvae.VAE(encoder, decoder, prior="vamp")
    """

    def family_for(self, posterior_family):
        return posterior_family  # its components are q(z|u_k) themselves

    def make_weights(self, image_shape, encode):
        self._encode = encode
        # Logits of sparse grey images; the encoder sees their sigmoid, so that u stays an image.
        start = keras.initializers.RandomNormal(mean=-2.0, stddev=1.0, seed=0)
        self.pseudo_logits = self.add_weight(
            shape=(self.num_components, *image_shape), initializer=start, name="pseudo_logits"
        )

    def pseudo_inputs(self):
        """The images u, `(components, *image_shape)`."""
        return ops.sigmoid(ops.convert_to_tensor(self.pseudo_logits))

    def component_params(self):
        return self._encode(self.pseudo_inputs())


@keras.saving.register_keras_serializable(package="kvae")
class Hierarchical(Prior):
    """A second stochastic layer: p(z) = ∫ p(z|h) p(h) dh with h ~ N(0, I), inferred by q(h|z).

    `log_prob` draws h ~ q(h|z) and gives log p(z|h) + log p(h) − log q(h|z), so that exp of it is an unbiased estimate
    of p(z) and every importance-weighted quantity stays exact in expectation. A VAE with this prior is the two-layer
    model of Burda, Grosse, Salakhutdinov 2016, eq. 3 and 4, z the layer next to the image.

    Args:
        encoder: Functional model from z `(batch, latent_dim)` to the parameters of q(h|z), `[mean, log_var]`.
        decoder: Functional model from h to the parameters of p(z|h), `[mean, log_var]`. `kvae.networks.mlp` makes the
            pair: `mlp((latent_dim,), top_dim, hidden=(100, 100), likelihood=kvae.distributions.Normal())`.

    Example:

    >>> pair = kvae.networks.mlp((100,), 50, hidden=(100, 100), likelihood=kvae.distributions.Normal())
    >>> model = kvae.VAE(encoder, decoder, prior=kvae.priors.Hierarchical(*pair))
    """

    stochastic = True

    def __init__(self, encoder, decoder, **kwargs):
        super().__init__(**kwargs)
        self.encoder = encoder
        self.decoder = decoder
        self.top_family = Normal()

    @property
    def top_dim(self):
        """Number of dimensions of h."""
        return self.decoder.inputs[0].shape[-1]

    def make_weights(self, image_shape, encode):
        widths = (self.encoder.inputs[0].shape[-1], self.encoder.output_shape[-1], self.decoder.output_shape[-1])
        expected = (self.latent_dim, 2 * self.top_dim, self.family.num_parameters * self.latent_dim)
        if widths != expected:
            raise ValueError(
                f"`prior` must have an encoder from {expected[0]} to {expected[1]} and a decoder to {expected[2]}: use "
                f"networks.mlp(({self.latent_dim},), top_dim, likelihood=Normal()). Received: {widths}"
            )

    def top_params(self, z):
        """Parameters of q(h|z), `(rows, 2 · top_dim)`, of codes `(rows, latent)`."""
        return networks.apply(self.encoder, z)

    def log_prob(self, z, condition, seed):
        rows = ops.reshape(z, (-1, self.latent_dim))
        params = self.top_params(rows)
        h = self.top_family.sample(params, 1, seed)[0]
        log_prob = (
            ops.sum(self.family.log_prob(rows, networks.apply(self.decoder, h)), axis=-1)
            + ops.sum(self.top_family.log_prob(h, ops.zeros((1, 2 * self.top_dim))), axis=-1)
            - ops.sum(self.top_family.log_prob(h, params), axis=-1)
        )
        return ops.reshape(log_prob, ops.shape(z)[:-1])

    def sample(self, n, condition, seed):
        h = self.top_family.sample(ops.zeros((n, 2 * self.top_dim)), 1, seed)[0]
        return self.family.sample(networks.apply(self.decoder, h), 1, seed)[0]

    def get_config(self):
        parts = {"encoder": self.encoder, "decoder": self.decoder}
        return {
            **super().get_config(),
            **{name: keras.saving.serialize_keras_object(part) for name, part in parts.items()},
        }

    @classmethod
    def from_config(cls, config):
        parts = {name: keras.saving.deserialize_keras_object(config[name]) for name in ("encoder", "decoder")}
        return cls(**{**config, **parts})


PRIORS = {"standard": Standard, "mixture": Mixture, "vamp": Vamp}


def get(name):
    """The prior called `name` (a key of `PRIORS`), or `name` itself if it is a `Prior`.

    Raises:
        ValueError: for an unknown name, with the list of known ones.
    """
    return checks.lookup(name, PRIORS, Prior, "prior")
