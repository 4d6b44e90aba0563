"""Callbacks decide when to draw, warm up or warn; `kvae.plots` draws."""

from kvae.callbacks.pictures import (
    LatentManifold,
    LatentScatter,
    PCABaseline,
    Picture,
    ReconstructionGrid,
    SampleGrid,
)
from kvae.callbacks.warmup import KLWarmup

__all__ = [
    "KLWarmup",
    "LatentManifold",
    "LatentScatter",
    "PCABaseline",
    "Picture",
    "ReconstructionGrid",
    "SampleGrid",
]
