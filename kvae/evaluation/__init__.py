"""Numbers about a trained model."""

from kvae.evaluation import cards
from kvae.evaluation.annealed import annealed_log_likelihood
from kvae.evaluation.density import has_density, needs_density
from kvae.evaluation.doctor import diagnose
from kvae.evaluation.exact import Grid, grid_log_likelihood
from kvae.evaluation.findings import Finding
from kvae.evaluation.gap import InferenceGap, inference_gap
from kvae.evaluation.images import (
    Features,
    LabelJudge,
    frechet_distance,
    label_agreement,
    precision_recall,
    reconstruction_mse,
)
from kvae.evaluation.latent import ActiveUnits, active_units, aggregate_mismatch, kl_per_dimension, mutual_information
from kvae.evaluation.likelihood import LogLikelihood, bits_per_dimension, log_likelihood, prior_log_likelihood

__all__ = [
    "ActiveUnits",
    "Features",
    "Finding",
    "Grid",
    "InferenceGap",
    "LabelJudge",
    "LogLikelihood",
    "active_units",
    "aggregate_mismatch",
    "annealed_log_likelihood",
    "bits_per_dimension",
    "cards",
    "diagnose",
    "frechet_distance",
    "grid_log_likelihood",
    "has_density",
    "inference_gap",
    "kl_per_dimension",
    "label_agreement",
    "log_likelihood",
    "mutual_information",
    "needs_density",
    "precision_recall",
    "prior_log_likelihood",
    "reconstruction_mse",
]
