"""An encoder at work for labels: as the lower part of a classifier, and under a linear probe."""

import keras
import numpy as np
from keras import layers

from kvae import checks


def from_encoder(encoder, num_classes, frozen=False, hidden=(), features="hidden"):
    """A classifier that starts from a trained encoder: copies of its layers, and a softmax on their features.

    The encoder itself stays as it is. Where labels are few, what it has learned from images without labels is worth
    more than what they can teach a network from scratch (lecture 000; Erhan et al. 2010,
    https://jmlr.org/papers/v11/erhan10a.html).

    Args:
        encoder: Functional Keras model from images to a code or to a posterior's parameters: `model.encoder`.
        num_classes: int.
        frozen: whether only what is new trains; otherwise the encoder's copy is fine-tuned.
        hidden: units of dense ReLU layers between the features and the softmax.
        features: "hidden", what enters the encoder's last layer: wide, and no bottleneck has thinned it out; or
            "code", what leaves it.

    Returns:
        Functional Keras model from images to class probabilities `(batch, num_classes)`, to be compiled with
        `loss="sparse_categorical_crossentropy"`.

    Raises:
        ValueError: if `encoder` takes labels beside images, or has no hidden layer where one is asked for.

    Example:

    >>> model = kvae.classifier.from_encoder(autoencoder.encoder, num_classes=10, frozen=True)
    >>> model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    """
    checks.positive_integer(num_classes, "num_classes")
    if not isinstance(encoder, keras.Model) or len(getattr(encoder, "inputs", None) or ()) != 1:
        raise ValueError(f"`encoder` must be a Functional keras.Model of images alone. Received: {encoder!r}")
    copy = keras.models.clone_model(encoder)
    copy.set_weights(encoder.get_weights())
    outputs = {"hidden": copy.layers[-1].input, "code": copy.output}
    if features not in outputs:
        raise ValueError(f"`features` must be one of {sorted(outputs)}. Received: {features!r}")
    if features == "hidden" and not any(layer.weights for layer in copy.layers[:-1]):
        raise ValueError(
            '`features` must be "code" for an encoder of one layer: it has no hidden one. Received: "hidden"'
        )
    body = keras.Model(copy.inputs, outputs[features], name="features")
    body.trainable = not frozen
    x = keras.Input(encoder.inputs[0].shape[1:], name="x")
    h = body(x)
    for size in hidden:
        h = layers.Dense(checks.positive_integer(size, "hidden"), activation="relu")(h)
    classes = layers.Dense(num_classes, activation="softmax", dtype="float32", name="classes")  # under any policy
    return keras.Model(x, classes(h), name="classifier")


def linear_probe(z_train, y_train, z_test, y_test):
    """Accuracy of a logistic regression on codes: how much of the labels can be read off them by a plane.

    scikit-learn's `LogisticRegression` with its defaults, on codes scaled to mean 0 and variance 1 a dimension.

    Args:
        z_train: codes `(n, latent_dim)` to train on.
        y_train: their labels `(n,)`.
        z_test: codes `(m, latent_dim)` to test on.
        y_test: their labels `(m,)`.

    Returns:
        Float in [0, 1].

    Raises:
        ValueError: if codes and labels do not fit together.

    Example:

    >>> pca = kvae.baselines.PCA(8).fit(data.x_train)
    >>> kvae.classifier.linear_probe(pca.encode(data.x_train), data.y_train, pca.encode(data.x_test), data.y_test)
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    z_train = np.asarray(z_train)
    z_train = checks.array(z_train, z_train.shape[1:2], "z_train")
    z_test = checks.array(z_test, z_train.shape[1:], "z_test")
    checks.same_length(y_train, len(z_train), "y_train")
    checks.same_length(y_test, len(z_test), "y_test")
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return float(probe.fit(z_train, y_train).score(z_test, y_test))
