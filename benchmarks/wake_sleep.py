"""The algorithms with which AEVB is compared (Kingma & Welling 2014, section 5): wake-sleep and Monte Carlo EM.

Both train the encoder and decoder of a `kvae.VAE`, so its methods and evaluation functions apply.
"""

import kvae
from kvae.models.batches import BatchResult

import keras
import numpy as np
import tensorflow as tf
from keras import ops

LEAPFROG_STEPS = 10  # these three are from the paper
WEIGHT_UPDATES = 5
ACCEPTANCE = 0.9
ADAPTATION = 1.02  # factor by which the step size changes after each batch


class WakeSleep(kvae.VAE):
    """A VAE trained by wake-sleep (Hinton, Dayan, Frey, Neal 1995, https://doi.org/10.1126/science.7761831).

    In the wake phase, the decoder maximises log p(x, z) with z ~ q(z|x), as if z were observed. In the sleep phase, the
    encoder maximises log q(z|x) on dreams z ~ p(z), x ~ p(x|z), as if these were data. Together they do not optimise a
    common objective: the logged `loss` is their negative sum, `elbo` the bound as in `VAE`.
    """

    def run_batch(self, batch, training):
        """One pass of both phases in training; otherwise that of the VAE."""
        if not training:
            return super().run_batch(batch, training)
        x = batch.x
        params = self.inference(x, training=training)
        z = ops.stop_gradient(self.posterior_family.sample(params, 1, self.seed_generator))
        wake, x_params = self.score(x, z, params, (), self.seed_generator, training)

        z_dream = self.prior.sample(ops.shape(x)[0], (), self.seed_generator)
        dream_params = self.generation(z_dream[None], training=training)[0]
        x_dream = ops.stop_gradient(self.likelihood.sample(dream_params, 1, self.seed_generator)[0])
        log_q = self.posterior_family.log_prob(z_dream, self.inference(x_dream, training=training))

        losses = (-(wake.log_likelihood + wake.log_prior)[0], -log_q)
        reconstruction_loss, kl = -wake.log_likelihood[0], wake.total_kl()
        terms = {"reconstruction_loss": reconstruction_loss, "kl_loss": kl, "elbo": -(reconstruction_loss + kl)}
        return BatchResult(self.likelihood.mean(x_params[0]), losses, terms)


class MonteCarloEM:
    """Monte Carlo EM: sample z of each training example with its own Markov chain; the decoder maximises log p(x, z).

    The chains are Hamiltonian Monte Carlo on p(z|x), and persist between visits of their example. The encoder is not
    used; in order to estimate the likelihood, it is trained alongside to maximise log q(z|x) on the z of the chains,
    which replace the dreams of wake-sleep.

    Args:
        model: a compiled `kvae.VAE`.
        x: training images `(n, *image_shape)`.
        seed: int.
    """

    def __init__(self, model, x, seed=0):
        self.model = model
        self.x = tf.constant(x)
        self.noise = keras.random.SeedGenerator(seed)
        self.z = tf.Variable(model.sample_prior(len(x), seed=seed))
        self.step_size = tf.Variable(0.05)
        self._rng = np.random.default_rng(seed)
        model.optimizer.build(model.trainable_variables)

    def fit(self, visits, batch_size, curve):
        """Visit `visits` batches; `curve` counts each gradient of log p(x, z) of an example as a sample.

        Args:
            visits: int.
            batch_size: int.
            curve: a `papers.Curve`.
        """
        rows, samples = np.empty(0, "int32"), 0
        for _ in range(visits):
            if len(rows) < batch_size:
                rows = np.concatenate([rows, self._rng.permutation(len(self.x)).astype("int32")])
            self.visit(rows[:batch_size])
            rows = rows[batch_size:]
            samples += (LEAPFROG_STEPS + WEIGHT_UPDATES) * batch_size
            curve.see(samples)

    @tf.function(reduce_retracing=True)
    def visit(self, rows):
        """E-step: one trajectory of each chain of the batch. M-step: a few updates of the weights at its end."""
        x, z = tf.gather(self.x, rows), tf.gather(self.z, rows)
        z, acceptance = hmc(lambda z: self.log_joint(x, z), z, self.step_size, LEAPFROG_STEPS, self.noise)
        self.z.scatter_nd_update(rows[:, None], z)
        self.step_size.assign(self.step_size * tf.where(acceptance > ACCEPTANCE, ADAPTATION, 1.0 / ADAPTATION))
        for _ in range(WEIGHT_UPDATES):
            weights = self.model.trainable_variables
            with tf.GradientTape() as tape:
                loss = self.loss(x, z)
            self.model.optimizer.apply(tape.gradient(loss, [weight.value for weight in weights]), weights)

    def log_joint(self, x, z):
        """log p(x, z), `(batch,)`, of images and codes `(batch, latent_dim)`."""
        model = self.model
        log_px = model.likelihood.log_prob(x, model.decoder(z, training=True), len(model.image_shape))
        return log_px + model.prior.log_prob(z, (), self.noise)

    def loss(self, x, z):
        """The loss of the M-step: −log p(x, z) − log q(z|x), averaged over the batch, plus the prior on the weights."""
        log_q = self.model.posterior_family.log_prob(z, self.model.encoder(x, training=True))
        weights = self.model.trainable_variables
        penalty = sum(weight.regularizer(weight) for weight in weights if weight.regularizer is not None)
        return penalty - ops.mean(self.log_joint(x, z) + log_q)


def hmc(log_prob, z, step_size, num_steps, seed):
    """One trajectory of Hamiltonian Monte Carlo for each row of `z` (Neal 2011, https://arxiv.org/abs/1206.1901).

    Args:
        log_prob: function from `(rows, dim)` to `(rows,)`, the log-density of each row up to a constant.
        z: tensor `(rows, dim)`, the state of the chains.
        step_size: scalar, size of the leapfrog steps.
        num_steps: int, number of leapfrog steps.
        seed: `keras.random.SeedGenerator`.

    Returns:
        `(z, acceptance)`: the new state, and the mean acceptance probability.
    """

    def value_and_gradient(z):
        with tf.GradientTape() as tape:
            tape.watch(z)
            value = log_prob(z)
        return value, tape.gradient(value, z)

    start = z
    start_momentum = keras.random.normal(ops.shape(z), seed=seed)
    start_value, gradient = value_and_gradient(z)
    momentum = start_momentum + 0.5 * step_size * gradient
    for step in range(num_steps):
        z = z + step_size * momentum
        value, gradient = value_and_gradient(z)
        momentum = momentum + (0.5 if step == num_steps - 1 else 1.0) * step_size * gradient
    kinetic, start_kinetic = (0.5 * ops.sum(ops.square(p), axis=-1) for p in (momentum, start_momentum))
    probability = ops.exp(ops.minimum(value - kinetic - start_value + start_kinetic, 0.0))
    probability = ops.where(ops.isfinite(probability), probability, 0.0)  # a diverged trajectory
    accept = keras.random.uniform(ops.shape(probability), seed=seed) < probability
    return ops.where(accept[:, None], z, start), ops.mean(probability)
