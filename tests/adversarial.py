"""A user-defined adversarial model: two networks, each with its own optimizer."""

import keras
import numpy as np
from keras import ops

import kvae
from kvae.training.held import held


@keras.saving.register_keras_serializable(package="tests")
class Adversarial(kvae.Autoencoder):
    """An autoencoder trained so that a discriminator cannot distinguish its reconstructions from images."""

    term_names = (*kvae.Autoencoder.term_names, "fooling_loss", "judging_loss")
    optimizer_groups = {"discriminator": ("discriminator",)}

    def __init__(self, encoder, decoder, discriminator, **kwargs):
        super().__init__(encoder, decoder, **kwargs)
        self.discriminator = discriminator

    def run_batch(self, batch, training):
        result = super().run_batch(batch, training)
        with held(self.discriminator):  # trains encoder and decoder
            fooling = ops.softplus(-self.judge(result.reconstruction, training))
        drawn = ops.stop_gradient(result.reconstruction)  # trains the discriminator
        judging = ops.softplus(-self.judge(batch.x, training)) + ops.softplus(self.judge(drawn, training))
        terms = {"fooling_loss": fooling, "judging_loss": judging}
        return result._replace(losses=(*result.losses, *terms.values()), terms=result.terms | terms)

    def judge(self, x, training):
        return ops.cast(self.discriminator(x, training=training)[:, 0], "float32")

    def get_config(self):
        return super().get_config() | {"discriminator": keras.saving.serialize_keras_object(self.discriminator)}


def adversarial(of=Adversarial):
    keras.utils.set_random_seed(0)
    encoder, decoder = kvae.networks.mlp((8, 8, 1), 2, hidden=(8,), posterior=None)
    layers = keras.layers.Flatten(), keras.layers.Dense(8, "tanh"), keras.layers.Dropout(0.2, seed=1)
    discriminator = keras.Sequential([keras.Input((8, 8, 1)), *layers, keras.layers.Dense(1)])
    return of(encoder, decoder, discriminator, loss="cross_entropy", seed=0)


def compiled(rate=1e-2, discriminator_rate=1e-1, of=Adversarial, **kwargs):
    model = adversarial(of)
    own = keras.optimizers.SGD(discriminator_rate, momentum=0.9)
    model.compile(optimizer=keras.optimizers.Adam(rate), discriminator_optimizer=own, **kwargs)
    return model


def images(n=24):
    return np.random.default_rng(0).random((n, 8, 8, 1), dtype="float32")
