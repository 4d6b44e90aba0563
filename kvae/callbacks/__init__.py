"""Callbacks decide when to draw, warm up or warn; `kvae.plots` draws."""

from kvae.callbacks.checkpoint import Checkpoint
from kvae.callbacks.diagnosis import Diagnosis
from kvae.callbacks.kl_warmup import KLWarmup
from kvae.callbacks.logs import HistoryFile, Progress
from kvae.callbacks.pictures import LatentManifold, LatentScatter, PCABaseline, Picture, ReconstructionGrid, SampleGrid
from kvae.callbacks.stop_on_nan import StopOnNaN

__all__ = [
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
