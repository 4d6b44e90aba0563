"""VAEs of tables as scikit-learn estimators: codes, densities, and classification with few labels.

The estimators build, compile and train a model of kvae in `fit`. They are cloned, pickled, searched and put into
pipelines like those of scikit-learn; the Keras model is their attribute `model_`.
"""

from kvae.sklearn.classifier import SemiSupervisedClassifier
from kvae.sklearn.unlabelled import VAEDensity, VAETransformer

__all__ = ["SemiSupervisedClassifier", "VAEDensity", "VAETransformer"]
