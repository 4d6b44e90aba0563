"""Callbacks for `fit`: figures, KL warm-up, checkpoints and diagnostics."""

from kvae.callbacks.capacity_warmup import CapacityWarmup
from kvae.callbacks.checkpoint import Checkpoint
from kvae.callbacks.diagnosis import Diagnosis
from kvae.callbacks.film import Film
from kvae.callbacks.kl_warmup import KLWarmup
from kvae.callbacks.logs import HistoryFile, Progress
from kvae.callbacks.pca_baseline import PCABaseline
from kvae.callbacks.pictures import LatentManifold, LatentScatter, Picture, ReconstructionGrid, SampleGrid
from kvae.callbacks.stop_on_nan import StopOnNaN
from kvae.callbacks.temperature_annealing import TemperatureAnnealing
from kvae.callbacks.traversal import LatentTraversal

__all__ = [
    "CapacityWarmup",
    "Checkpoint",
    "Diagnosis",
    "Film",
    "HistoryFile",
    "KLWarmup",
    "LatentManifold",
    "LatentScatter",
    "LatentTraversal",
    "PCABaseline",
    "Picture",
    "Progress",
    "ReconstructionGrid",
    "SampleGrid",
    "StopOnNaN",
    "TemperatureAnnealing",
]
