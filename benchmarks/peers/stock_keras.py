"""A plain `keras.Model` with `add_loss`, and the stock `fit` on NumPy arrays."""

import math

import numpy as np

from peers import common


def compiled(task):
    """The compiled model, for images `(n, pixels)`, or these and one-hot labels."""
    import keras
    from keras import layers, ops

    def dense(sizes, last):
        return keras.Sequential(
            [*(layers.Dense(size, activation=task.activation) for size in sizes), layers.Dense(last)]
        )

    def normalised(layer):
        return [layer, layers.BatchNormalization(momentum=0.9), layers.Activation(task.activation)]

    def convolutions():
        first, second = task.hidden
        quarter = task.side // 4
        kernel = {"kernel_size": 4, "strides": 2, "padding": "same"}
        encoder = [
            *normalised(layers.Conv2D(first, use_bias=False, **kernel)),
            *normalised(layers.Conv2D(second, use_bias=False, **kernel)),
            layers.Flatten(),
            layers.Dense(2 * task.latent),
        ]
        decoder = [
            layers.Dense(quarter**2 * second),
            *normalised(layers.Reshape((quarter, quarter, second))),
            layers.Conv2DTranspose(first, use_bias=False, **kernel),
            *normalised(layers.AveragePooling2D(2, strides=1, padding="same")),
            layers.Conv2DTranspose(1, **kernel),
            layers.AveragePooling2D(2, strides=1, padding="same"),
        ]
        return keras.Sequential(encoder), keras.Sequential(decoder)

    class StockVAE(keras.Model):
        def __init__(self):
            super().__init__()
            if task.network == "conv":
                self.encoder, self.decoder = convolutions()
            else:
                self.encoder = dense(task.hidden, 2 * task.latent)
                self.decoder = dense(task.hidden[::-1], task.side**2)
            self.noise = keras.random.SeedGenerator(0)

        def call(self, inputs, training=False):
            x, y = inputs if task.classes else (inputs, None)
            x = ops.reshape(x, (-1, task.side**2))
            seen = ops.reshape(x, (-1, task.side, task.side, 1)) if task.network == "conv" else x
            seen = seen if y is None else ops.concatenate([seen, y], axis=-1)
            mean, log_var = ops.split(self.encoder(seen, training=training), 2, axis=-1)
            epsilon = keras.random.normal((task.samples, *ops.shape(mean)), seed=self.noise)
            z = mean + ops.exp(0.5 * log_var) * epsilon  # (samples, batch, latent)
            flat = ops.reshape(z, (-1, task.latent))
            flat = flat if y is None else ops.concatenate([flat, ops.tile(y, (task.samples, 1))], axis=-1)
            logits = ops.reshape(self.decoder(flat, training=training), (task.samples, -1, task.side**2))
            log_px = ops.sum(x * logits - ops.softplus(logits), axis=-1)  # (samples, batch)
            if task.importance_weighted:
                log_ratio = 0.5 * ops.sum(log_var + epsilon**2 - z**2, axis=-1)  # log p(z) − log q(z|x)
                log_mean = ops.logsumexp(log_px + log_ratio, axis=0) - math.log(task.samples)
                self.add_loss(-ops.mean(log_mean))
            else:
                kl = -0.5 * ops.sum(1 + log_var - mean**2 - ops.exp(log_var), axis=-1)
                self.add_loss(-ops.mean(log_px))
                self.add_loss(ops.mean(kl))
            return logits[0]

    model = StockVAE()
    model.compile(keras.optimizers.Adam(common.RATE))
    return model


def build(task):
    """See `peers.common`."""
    import keras

    keras.utils.clear_session()  # of the task before
    keras.utils.set_random_seed(0)
    images, labels = common.data(task)
    x = images.reshape(len(images), -1)
    y = common.one_hot(task, labels)
    model = compiled(task)

    def train():
        model.fit(x if y is None else (x, y), batch_size=task.batch, epochs=task.epochs, verbose=0)
        return task.epochs * len(x)

    def bound_reached():
        some = x[: common.CHECKED] if y is None else (x[: common.CHECKED], y[: common.CHECKED])
        return model.evaluate(some, batch_size=task.batch, verbose=0)

    def draw():
        z = np.random.default_rng(0).normal(size=(task.count, task.latent)).astype("float32")
        logits = model.decoder.predict(z, batch_size=1000, verbose=0)
        return keras.ops.convert_to_numpy(keras.ops.sigmoid(logits))

    return common.job(task, train, bound_reached, draw)


if __name__ == "__main__":
    common.serve(build)
