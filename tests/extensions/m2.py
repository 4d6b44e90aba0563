"""Model M2 of Kingma, Rezende, Mohamed, Welling 2014 (https://arxiv.org/abs/1406.5298): few labels, the others −1."""

import keras
import numpy as np
from keras import ops

import kvae
from kvae.models.batches import Batch, BatchResult


@keras.saving.register_keras_serializable(package="extensions")
class M2(kvae.CVAE):
    """A CVAE whose missing labels are summed out under a classifier q(y|x), with a uniform p(y)."""

    term_names = (*kvae.CVAE.term_names, "classification_loss")

    def __init__(self, encoder, decoder, classifier, alpha=0.1, **kwargs):
        super().__init__(encoder, decoder, **kwargs)
        self.classifier = classifier
        self.alpha = alpha

    def check_condition(self, y, num_examples):
        super().check_condition(np.maximum(y, 0), num_examples)  # −1: unknown
        return np.asarray(y)

    def run_batch(self, batch, training):
        classes, log_q = self.num_classes, ops.log_softmax(self.classifier(batch.x, training=training))
        every = Batch(ops.repeat(batch.x, classes, axis=0), ops.tile(ops.arange(classes), ops.shape(batch.x)[:1]))
        result = super().run_batch(every, training)

        # One-hot where the label is known, q(y|x) where it is not.
        known = ops.cast(batch.y >= 0, "float32")
        weights = ops.one_hot(batch.y, classes) + (1 - known)[:, None] * ops.exp(log_q)

        def over_classes(values):
            return ops.sum(weights * ops.reshape(values, (-1, classes)), axis=-1)

        entropy = -(1 - known) * ops.sum(ops.exp(log_q) * log_q, axis=-1)
        bound = over_classes(sum(result.losses)) + np.log(classes) - entropy
        classification_loss = -ops.sum(ops.one_hot(batch.y, classes) * log_q, axis=-1)
        terms = {name: over_classes(term) for name, term in result.terms.items()}
        terms |= {"elbo": -bound, "classification_loss": classification_loss}
        return BatchResult(result.reconstruction[::classes], (bound, self.alpha * classification_loss), terms)

    def classify(self, x):
        """q(y|x), array `(n, num_classes)`."""
        return ops.convert_to_numpy(ops.softmax(self.classifier(ops.convert_to_tensor(x), training=False)))

    def get_config(self):
        classifier = keras.saving.serialize_keras_object(self.classifier)
        return {**super().get_config(), "classifier": classifier, "alpha": self.alpha}
