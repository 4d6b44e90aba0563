"""Numbers about a trained model."""

from kvae.evaluation.density import has_density, needs_density
from kvae.evaluation.images import Features, LabelJudge, frechet_distance, label_agreement, reconstruction_mse
from kvae.evaluation.likelihood import importance_log_likelihood

__all__ = [
    "Features",
    "LabelJudge",
    "frechet_distance",
    "has_density",
    "importance_log_likelihood",
    "label_agreement",
    "needs_density",
    "reconstruction_mse",
]
