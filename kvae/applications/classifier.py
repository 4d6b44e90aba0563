"""Classification with a trained encoder: as the backbone of a classifier, and with a linear probe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import keras
import numpy as np
from keras import layers

from kvae import checks
from kvae.models import capabilities
from kvae.types import ArrayLike


def from_encoder(
    encoder: keras.Model,
    num_classes: int,
    frozen: bool = False,
    hidden: Sequence[int] = (),
    features: Literal["hidden", "code"] = "hidden",
) -> keras.Model:
    """Build a classifier from a trained encoder: a copy of its layers, followed by a softmax layer.

    The encoder itself is not modified. If labels are scarce, features learned from unlabelled images are better than
    those that a network can learn from the labels alone (lecture 000; Erhan et al. 2010,
    https://jmlr.org/papers/v11/erhan10a.html).

    Args:
        encoder: Functional Keras model from images to a code or to the parameters of a posterior, such as
            `model.encoder`.
        num_classes: int.
        frozen: whether to train only the new layers; otherwise the copy of the encoder is fine-tuned.
        hidden: units of dense ReLU layers between the features and the softmax.
        features: "hidden" for the input of the encoder's last layer, which is wide and not limited by the bottleneck,
            or "code" for its output.

    Returns:
        Functional Keras model from images to class probabilities `(batch, num_classes)`, to be compiled with
        `loss="sparse_categorical_crossentropy"`.

    Raises:
        ValueError: if `encoder` takes inputs other than images, or `features="hidden"` and it has no hidden layer.

    Example:

    >>> autoencoder = kvae.Autoencoder(*kvae.networks.mlp((8, 8, 1), latent_dim=2, posterior=None))
    >>> model = kvae.classifier.from_encoder(autoencoder.encoder, num_classes=10, frozen=True)
    >>> model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    """
    checks.positive_integer(num_classes, "num_classes")
    if not isinstance(encoder, keras.Model) or len(getattr(encoder, "inputs", None) or ()) != 1:
        raise ValueError(
            f"`encoder` must be a Functional keras.Model with images as its only input. Received: {encoder!r}"
        )
    copy = keras.models.clone_model(encoder)
    copy.set_weights(encoder.get_weights())
    outputs = {"hidden": copy.layers[-1].input, "code": copy.output}
    if features not in outputs:
        raise ValueError(f"`features` must be one of {sorted(outputs)}. Received: {features!r}")
    if features == "hidden" and not any(layer.weights for layer in copy.layers[:-1]):
        raise ValueError('`features` must be "code" for an encoder without a hidden layer. Received: "hidden"')
    body = keras.Model(copy.inputs, outputs[features], name="features")
    body.trainable = not frozen
    x = keras.Input(encoder.inputs[0].shape[1:], name="x")
    h = body(x)
    for size in hidden:
        h = layers.Dense(checks.positive_integer(size, "hidden"), activation="relu")(h)
    classes = layers.Dense(num_classes, activation="softmax", dtype="float32", name="classes")  # under any dtype policy
    return keras.Model(x, classes(h), name="classifier")


def on_codes(model: Any, x: ArrayLike, y: ArrayLike, classifier: Any = None) -> Any:
    """Fit a classifier to the codes of few labelled images: M1 (Kingma et al. 2014, https://arxiv.org/abs/1406.5298).

    The model has learned its codes from all images and from no label, so that few labels suffice to tell them apart.

    Args:
        model: a trained model with `encode`, such as a `VAE`, that takes no condition.
        x: images `(n, *image_shape)`.
        y: integer labels `(n,)`, −1 where they are unknown, as `kvae.data.few_labels` gives them.
        classifier: a scikit-learn classifier; `None` for a logistic regression. Those of `sklearn.semi_supervised`,
            which also learn from the codes of images without a label, are given them.

    Returns:
        A fitted scikit-learn pipeline from images: `predict(x)`, `predict_proba(x)`, `score(x, y)`. It encodes images,
        subtracts the mean code and divides by one number, the root of the mean variance of the labelled codes: a
        number for each dimension would enlarge those that the model does not use, whose variance is near zero.

    Raises:
        ValueError: if labels and images differ in number, or fewer than two classes have a label.

    Example:

    >>> y = kvae.data.few_labels(data.y_train, per_class=5, seed=0)
    >>> kvae.classifier.on_codes(model, data.x_train, y).predict(data.x_test[:3]).shape
    (3,)
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    if capabilities.has(model, "condition"):
        raise ValueError(
            f"`model` must encode images without their labels: use a VAE or an Autoencoder. Received: "
            f"{type(model).__name__}"
        )
    x, y = np.asarray(x), np.asarray(y)
    checks.same_length(y, len(x), "y")
    known = y >= 0
    if len(np.unique(y[known])) < 2:
        raise ValueError(
            f"`y` must hold labels of at least two classes, and -1 where they are unknown. Received: {known.sum()} "
            f"labels of {len(np.unique(y[known]))}"
        )
    classifier = LogisticRegression(max_iter=1000) if classifier is None else classifier
    if not type(classifier).__module__.startswith("sklearn.semi_supervised"):
        x, y, known = x[known], y[known], known[known]
    z = model.encode(x).reshape(len(x), -1)
    mean = z[known].mean(axis=0)
    scale = np.sqrt(z[known].var(axis=0).mean()) or 1.0
    codes = FunctionTransformer(lambda x: (model.encode(x).reshape(len(x), -1) - mean) / scale, check_inverse=False)
    return make_pipeline(codes, classifier.fit((z - mean) / scale, y))


def linear_probe(z_train: ArrayLike, y_train: ArrayLike, z_test: ArrayLike, y_test: ArrayLike) -> float:
    """Compute the test accuracy of a logistic regression on codes: how linearly separable the classes are.

    Uses scikit-learn's `LogisticRegression`, on codes standardised to mean 0 and variance 1 in each dimension.

    Args:
        z_train: training codes `(n, latent_dim)`.
        y_train: their labels `(n,)`.
        z_test: test codes `(m, latent_dim)`.
        y_test: their labels `(m,)`.

    Returns:
        Float in [0, 1].

    Raises:
        ValueError: if codes and labels do not have matching shapes.

    Example:

    >>> data = kvae.load_data("digits")
    >>> pca = kvae.baselines.PCA(8).fit(data.x_train)
    >>> z_train, z_test = pca.encode(data.x_train), pca.encode(data.x_test)
    >>> accuracy = kvae.classifier.linear_probe(z_train, data.y_train, z_test, data.y_test)
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
