"""Deep generative models of images of which few are labelled (Kingma, Rezende, Mohamed, Welling 2014)."""

from __future__ import annotations

import math
import warnings
from typing import Any

import keras
import numpy as np
from keras import ops

from kvae import checks, networks
from kvae.models.batches import Batch, BatchResult, in_batches
from kvae.models.conditions import Condition, Conditions
from kvae.models.cvae import CVAE
from kvae.models.encoder_decoder import EVALUATION_BATCH
from kvae.training import orders
from kvae.training.kept import kept
from kvae.types import Array, ArrayLike, Network, Number, Seed, Tensor


@keras.saving.register_keras_serializable(package="kvae")
class SemiSupervisedVAE(CVAE):
    """A CVAE that learns from few labels, trained with `fit(x, y)` in which −1 is an unknown label: the model M2.

    p(x, y, z) = p(x|z, y) p(y) p(z) with a uniform p(y), and q(z, y|x) = q(z|x, y) q(y|x), with a classifier q(y|x).
    With L(x, y) for the negative bound of a CVAE, −log p(y) included, an image with a known label contributes L(x, y),
    a bound on −log p(x, y), and one without contributes the bound on −log p(x)

        U(x) = Σ_y q(y|x) L(x, y) − H[q(y|x)],

    in which the sum over the classes is exact: one pass of the networks over all pairs of an image and a class. Since
    neither trains the classifier on the known labels, the loss is the mean of these over a batch plus `alpha` times the
    mean of −log q(y|x) over its labelled images (https://arxiv.org/abs/1406.5298, eq. 6 to 9).

    `loss` is what is minimised. `reconstruction_loss` and `kl_loss` are expectations over the label where it is
    unknown, the latter including its KL(q(y|x) ‖ p(y)), or −log p(y) where it is known; `elbo` is their negative sum.
    `labelled_elbo`, the bound on log p(x, y), `classification_loss` and `accuracy` are means over the labelled images;
    `unlabelled_elbo`, the bound on log p(x), is that of all images as if they had no label.

    A step holds `batch · num_classes` rows: with many classes choose smaller batches. What the encoder computes of an
    image before it meets the class in a `kvae.layers.JoinedDense`, as in `networks.mlp`, is computed once for all of
    them; the image must not reach the encoder's outputs by another way as well.

    The methods inherited from `CVAE` take the most probable class of an image whose label is unknown or not given;
    `elbo` takes the sum over all of them.

    Args:
        encoder, decoder, num_classes, likelihood, posterior, bound, beta, num_samples, seed, prior: as in `CVAE`, with
            integer labels as the only condition.
        classifier: Functional Keras model from images `(batch, *image_shape)` to the logits of q(y|x),
            `(batch, num_classes)`, such as `kvae.networks.classifier`.
        alpha: weight of the classification loss, at least 0, relative to the bound of one image. The paper's α = 0.1 N,
            whose bounds are summed over N images, is 0.1 here. On MNIST with 100 labels 300 made far fewer errors, on
            the 8×8 digits as many.
        labelled_share: of each batch, when `fit` is given arrays: labelled images are repeated until they are this
            share, of which a random batch would have hardly any; an epoch is one pass over the others. 0 leaves them as
            they are.
        penalty, name, dtype, trainable: as in `VAE`.

    Raises:
        ValueError: as for `CVAE`, and if the classifier does not fit.

    Example:

    ```python
    data = kvae.load_data("digits")
    y = kvae.data.few_labels(data.y_train, per_class=5, seed=0)  # the others become -1
    encoder, decoder = kvae.networks.mlp(data.image_shape, latent_dim=8, num_classes=10)
    classifier = kvae.networks.classifier(data.image_shape, num_classes=10)
    model = kvae.SemiSupervisedVAE(encoder, decoder, classifier, num_classes=10)
    model.compile(optimizer=keras.optimizers.Adam(1e-3))
    model.fit(data.x_train, y, epochs=40, validation_data=(data.x_test, data.y_test))
    model.classify(data.x_test)  # probabilities, (360, 10)
    ```
    """

    num_classes: int  # type: ignore[assignment]
    term_names = (*CVAE.term_names, "labelled_elbo", "unlabelled_elbo", "classification_loss", "accuracy")

    def __init__(
        self,
        encoder: Network,
        decoder: Network,
        classifier: Network,
        num_classes: int | None = None,
        alpha: Number = 0.1,
        labelled_share: Number = 0.5,
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
        **kwargs: Any,
    ) -> None:
        num_classes = checks.positive_integer(num_classes, "num_classes")
        super().__init__(encoder, decoder, num_classes, name=name, dtype=dtype, trainable=trainable, **kwargs)
        self.classifier = classifier
        self._check_classifier()
        self.alpha = checks.number(alpha, "alpha", at_least=0)
        self.labelled_share = checks.number(labelled_share, "labelled_share", at_least=0, below=1)
        (part,) = self.conditions.parts  # type: ignore[union-attr]
        self.conditions = Conditions((Condition(part.shape, num_classes, may_be_unknown=True),))

    @property
    def capabilities(self) -> frozenset[str]:
        return super().capabilities | {"classifier"}

    # Methods on tensors.

    def auxiliary(self, x: Tensor, training: bool = False, seed: Seed = None) -> tuple[Tensor, ...]:
        """What is drawn for each image before its label: nothing here; see `AuxiliaryVAE`."""
        return ()

    def log_label_probabilities(self, x: Tensor, auxiliary: tuple[Tensor, ...], training: bool = False) -> Tensor:
        """log q(y|x), or log q(y|a, x), of every class: `(batch, num_classes)`.

        Args:
            x: tensor `(batch, *image_shape)`.
            auxiliary: as `auxiliary` gives it.
            training: bool.
        """
        return ops.log_softmax(networks.apply(self.classifier, x, auxiliary[:1], training), axis=-1)

    def best_label(self, x: Tensor) -> Tensor:
        """The most probable class of each image, which stands for an unknown one: int32 `(batch,)`."""
        return ops.cast(ops.argmax(self.log_label_probabilities(x, ()), axis=-1), "int32")

    def run_batch(self, batch: Batch, training: bool) -> BatchResult:
        y, classes = ops.cast(batch.y, "int32"), self.num_classes
        auxiliary = self.auxiliary(batch.x, training, self.seed_generator)
        log_q = self.log_label_probabilities(batch.x, auxiliary, training)
        pairs = self._pairs(batch.x, auxiliary)
        condition = self.condition(pairs.y)
        params = self.inference(self._once(batch.x, pairs.x), condition, training)
        result = self.run_inferred(pairs, condition, params, training)

        known = ops.cast(y >= 0, "float32")
        given = ops.one_hot(y, classes, dtype="float32")  # zero where y is −1
        weights, label_kl = self._over_labels(y, log_q)
        q = ops.exp(log_q)

        def mixed(values):
            return self._expectation(values, weights)

        terms = {name: mixed(term) for name, term in result.terms.items()}
        terms["kl_loss"] = terms["kl_loss"] + label_kl
        terms["elbo"] = terms["elbo"] - label_kl
        classification_loss = -ops.sum(given * log_q, axis=-1)
        is_right = ops.cast(ops.equal(ops.argmax(log_q, axis=-1), y), "float32")
        elbo = result.terms["elbo"]
        terms["labelled_elbo"] = self._expectation(elbo, given) - math.log(classes), known
        terms["unlabelled_elbo"] = self._expectation(elbo, q) - math.log(classes) - ops.sum(q * log_q, axis=-1)
        terms["classification_loss"] = classification_loss, known
        terms["accuracy"] = is_right, known
        # The batch is averaged over all of its examples, and this loss over the labelled ones.
        share = ops.maximum(ops.mean(known), 1.0 / ops.cast(ops.shape(known)[0], "float32"))
        losses = (mixed(sum(result.losses)) + label_kl, self.alpha / share * classification_loss)

        rows = ops.arange(ops.shape(y)[0]) * classes + ops.where(y >= 0, y, ops.cast(ops.argmax(log_q, -1), "int32"))
        return BatchResult(ops.take(result.reconstruction, rows, axis=0), losses, terms)

    def _pairs(self, x, auxiliary=()):
        """Every image with every class: a `Batch` of `batch · num_classes` rows, the classes of an image in a row."""
        y = ops.tile(ops.arange(self.num_classes), (ops.shape(x)[0],))
        drawn = tuple(ops.repeat(each, self.num_classes, axis=0) for each in auxiliary)
        return Batch(ops.repeat(x, self.num_classes, axis=0), (y, *drawn) if drawn else y)

    def _once(self, x, repeated):
        """The images of all pairs as `inference` takes them: each once, unless the encoder or an override needs all."""
        own = type(self).inference.__module__.startswith("kvae.models.")
        return x if own and networks.joins(self.encoder) else repeated

    def _over_labels(self, y, log_q):
        """q(y|x), or all weight on a known label, `(batch, num_classes)`; and its KL to p(y), −log p(y) if known."""
        known = ops.cast(y >= 0, "float32")[:, None]
        q = ops.exp(log_q)
        weights = ops.one_hot(y, self.num_classes, dtype="float32") + (1.0 - known) * q
        return weights, math.log(self.num_classes) + ops.sum((1.0 - known) * q * log_q, axis=-1)

    def _expectation(self, values, weights):
        """The weighted sum over the classes, `(batch,)`, of the values `(batch · num_classes,)` of pairs."""
        return ops.sum(weights * ops.reshape(values, (-1, self.num_classes)), axis=-1)

    # Methods on arrays.

    def classify(self, x: ArrayLike) -> Array:
        """The probabilities q(y|x) of the classes: array `(n, num_classes)`.

        Example:

        >>> semisupervised.classify(data.x_test[:3]).shape
        (3, 10)
        """
        return in_batches(kept(self, _label_probabilities), self.check_images(x), batch_size=EVALUATION_BATCH)

    def reconstruct(self, x: ArrayLike, y: Any = None) -> Array:
        return super().reconstruct(*self._check_pair(x, y))

    def _decoded(self, z, y, noise=None):
        if y is None or np.any(np.asarray(y) < 0):
            raise ValueError("`y` must hold the class of each code, which nothing else tells. Received: unknown labels")
        return super()._decoded(z, y, noise)

    def elbo_terms(
        self, x: ArrayLike, y: Any = None, num_samples: int | None = None, seed: int | None = None
    ) -> tuple[Array, Array]:
        """The two terms of the bound on log p(x, y), or on log p(x) where the label is unknown or not given.

        Args:
            x: images `(n, *image_shape)`.
            y: labels `(n,)`, −1 where unknown; `None` if all are.
            num_samples: posterior samples per example and class; `None` for the model's own number.
            seed: int for reproducible noise; `None` for the next of the model's own stream.

        Returns:
            Tuple of arrays `(n,)`, nats: the expectation of log p(x|z, y) over q(z, y|x), and the KL of z and y.
        """
        num_samples = checks.positive_integer(self.num_samples if num_samples is None else num_samples, "num_samples")
        x = self.check_images(x)
        return in_batches(
            kept(self, _elbo_terms, num_samples),
            x,
            self.check_condition(y, len(x)),
            batch_size=max(1, EVALUATION_BATCH // (num_samples * self.num_classes)),
            noise=self._noise(seed),
        )

    # How the model plugs into Keras.

    def fit(self, x: Any = None, y: Any = None, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        """Train on images and labels, −1 where they are unknown; as in `VAE.fit` otherwise.

        Raises:
            ValueError: as in `VAE.fit`, and if arrays hold no label at all or none of some class.
        """
        if y is not None or hasattr(x, "__array__"):
            self._check_labels(x, y)
        return super().fit(x, y, *args, **kwargs)

    def epoch_order(self, n: int, y: Any, batch_size: int) -> orders.Order:
        if self.labelled_share == 0:
            return super().epoch_order(n, y, batch_size)
        return orders.mixed(np.asarray(y) >= 0, batch_size, self.labelled_share)

    def _check_classifier(self):
        networks.check_judge(self.classifier, "classifier", self.image_shape, self.num_classes)

    def _check_labels(self, x, y):
        y = self.check_condition(ops.convert_to_numpy(y) if ops.is_tensor(y) else y, len(x))
        known = y[y >= 0]
        missing = sorted(set(range(self.num_classes)) - set(known.tolist()))
        if missing:
            have = f"none of {missing}" if len(known) else "no known label"
            raise ValueError(
                f"`y` must hold at least one known label of each of the {self.num_classes} classes, and -1 where it is "
                f"unknown. Received: {have}"
            )
        if len(known) == len(y):
            warnings.warn(
                "Every label is known, so that this training is supervised: q(y|x) learns from the labels alone.",
                stacklevel=3,
            )

    def _check_pair(self, x, y):
        """Checked images and labels, the most probable one where it is unknown."""
        x, y = super()._check_pair(x, y)
        y = np.asarray(y)
        unknown = np.flatnonzero(y < 0)
        if len(unknown):
            y = y.copy()
            y[unknown] = in_batches(kept(self, _best_label), x[unknown], batch_size=EVALUATION_BATCH)
        return x, y

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "classifier": keras.saving.serialize_keras_object(self.classifier),
            "alpha": self.alpha,
            "labelled_share": self.labelled_share,
        }


# For `kvae.training.kept`.


def _label_probabilities(model, noise, x):
    return ops.exp(model.log_label_probabilities(x, ()))


def _best_label(model, noise, x):
    return model.best_label(x)


def _elbo_terms(model, num_samples, noise, x, y):
    x, y = ops.repeat(x, num_samples, axis=0), ops.cast(ops.repeat(y, num_samples, axis=0), "int32")
    auxiliary = model.auxiliary(x, seed=noise)
    weights, label_kl = model._over_labels(y, model.log_label_probabilities(x, auxiliary))
    pairs = model._pairs(x, auxiliary)
    condition = model.condition(pairs.y)
    params = model.inference(model._once(x, pairs.x), condition)
    _, sample, _ = model.sample_and_score(pairs.x, params, condition, 1, noise)
    kl = model._expectation(sample.total_kl(), weights) + label_kl
    terms = model._expectation(sample.log_likelihood[0], weights), kl
    return tuple(ops.mean(ops.reshape(each, (-1, num_samples)), axis=1) for each in terms)
