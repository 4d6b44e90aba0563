"""Callbacks for `fit`: figures, KL warm-up, checkpoints and diagnostics."""

from kvae.callbacks.capacity_warmup import CapacityWarmup
from kvae.callbacks.checkpoint import Checkpoint
from kvae.callbacks.diagnosis import Diagnosis
from kvae.callbacks.kl_warmup import KLWarmup
from kvae.callbacks.logs import HistoryFile, Progress
from kvae.callbacks.pca_baseline import PCABaseline
from kvae.callbacks.pictures import LatentManifold, LatentScatter, Picture, ReconstructionGrid, SampleGrid
from kvae.callbacks.stop_on_nan import StopOnNaN

__all__ = [
    "CapacityWarmup",
    "Checkpoint",
    "Diagnosis",
    "HistoryFile",
    "KLWarmup",
    "LatentManifold",
    "LatentScatter",
    "PCABaseline",
    "Picture",
    "Progress",
    "ReconstructionGrid",
    "SampleGrid",
    "StopOnNaN",
]
