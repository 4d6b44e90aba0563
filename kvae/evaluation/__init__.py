"""Evaluation of trained models."""

from kvae.evaluation import reference_cards
from kvae.evaluation.annealed import annealed_log_likelihood
from kvae.evaluation.counts import count_statistics, draw
from kvae.evaluation.disentanglement import disentanglement
from kvae.evaluation.doctor.diagnose import diagnose
from kvae.evaluation.doctor.finding import Finding
from kvae.evaluation.grid import Grid, grid_log_likelihood
from kvae.evaluation.imputation import impute
from kvae.evaluation.inference_gap import InferenceGap, inference_gap
from kvae.evaluation.latent_usage import (
    ActiveUnits,
    active_units,
    aggregate_mismatch,
    kl_per_dimension,
    kl_per_layer,
    mutual_information,
)
from kvae.evaluation.likelihood import LogLikelihood, bits_per_dimension, log_likelihood, prior_log_likelihood
from kvae.evaluation.samples import (
    Features,
    LabelJudge,
    frechet_distance,
    label_agreement,
    mode_coverage,
    precision_recall,
    reconstruction_mse,
)

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
    "count_statistics",
    "diagnose",
    "disentanglement",
    "draw",
    "frechet_distance",
    "grid_log_likelihood",
    "impute",
    "inference_gap",
    "kl_per_dimension",
    "kl_per_layer",
    "label_agreement",
    "log_likelihood",
    "mode_coverage",
    "mutual_information",
    "precision_recall",
    "prior_log_likelihood",
    "reconstruction_mse",
    "reference_cards",
]
