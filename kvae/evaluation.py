"""Numbers about a trained model."""

import numpy as np

from kvae import checks


def reconstruction_mse(x, reconstruction):
    """Mean squared error a pixel between images and their reconstructions, both `(n, *image_shape)`."""
    return float(np.mean(np.square(np.asarray(x, "float64") - reconstruction)))


class LabelJudge:
    """A classifier trained on real images that says whether generated ones show what was asked for.

    A support vector machine with scikit-learn's defaults (RBF kernel), trained on at most `max_examples` images.

    Args:
        x: real images `(n, *image_shape)`.
        y: their labels `(n,)`.
        max_examples: how many of them to train on, chosen by `seed`; the time of an SVC grows with the square.
        seed: int.

    Example:

    >>> judge = kvae.evaluation.LabelJudge(data.x_train, data.y_train)
    >>> judge.agreement(data.x_test, data.y_test)  # its accuracy on real digits
    0.9861111111111112
    """

    def __init__(self, x, y, max_examples=10_000, seed=0):
        from sklearn.svm import SVC

        x = np.asarray(x)
        checks.same_length(y, len(x), "y")
        if len(x) > max_examples:
            rows = np.random.default_rng(seed).choice(len(x), max_examples, replace=False)
            x, y = x[rows], np.asarray(y)[rows]
        self._classifier = SVC().fit(x.reshape(len(x), -1), y)

    def agreement(self, images, labels):
        """The fraction of `images` `(n, *image_shape)` that the judge takes for their `labels` `(n,)`."""
        images = np.asarray(images)
        return float(np.mean(self._classifier.predict(images.reshape(len(images), -1)) == np.asarray(labels)))


def label_agreement(model, judge, per_class=100, seed=0):
    """How often a conditional model's generated images show the label that was asked for.

    Args:
        model: a `CVAE` on class labels.
        judge: a `LabelJudge`.
        per_class: int, images of each class.
        seed: int, for the latent codes.

    Returns:
        Float in [0, 1].
    """
    labels = np.repeat(np.arange(model.num_classes), per_class)
    return judge.agreement(model.generate(labels=labels, seed=seed), labels)
