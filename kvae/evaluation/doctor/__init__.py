"""A doctor for trained models: what is wrong, with the figure behind it and what to try."""

from kvae.evaluation.doctor.diagnose import diagnose
from kvae.evaluation.doctor.finding import Finding

__all__ = ["Finding", "diagnose"]
