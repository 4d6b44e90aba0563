"""Data sets as arrays, binarization, and pipelines. The one part that may import a backend."""

from kvae.data.datasets import BINARIZATIONS, DATASETS, Dataset, binarize, load_data
from kvae.data.feed import epoch_rng, pipeline, smallest

__all__ = ["BINARIZATIONS", "DATASETS", "Dataset", "binarize", "epoch_rng", "load_data", "pipeline", "smallest"]
