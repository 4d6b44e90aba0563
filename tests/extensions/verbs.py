"""Models that override one method of a pass each: inference, or generation."""

import keras
from keras import ops

import kvae


@keras.saving.register_keras_serializable(package="extensions")
class LogInputs(kvae.VAE):
    """Its encoder sees log(1 + x); the likelihood still scores x."""

    def inference(self, x, condition=(), training=False):
        return super().inference(ops.log1p(x), condition, training)


@keras.saving.register_keras_serializable(package="extensions")
class Brighter(kvae.VAE):
    """Its decoder's logits are scaled by a learned temperature."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.log_scale = self.add_weight(shape=(), initializer="zeros", name="log_scale")

    def generation(self, z, condition=(), training=False):
        return super().generation(z, condition, training) * ops.exp(self.log_scale)
