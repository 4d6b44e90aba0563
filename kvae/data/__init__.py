"""Data sets as arrays, binarization, and pipelines. The one part that may import a backend."""

from kvae.data.datasets import BINARIZATIONS, DATASETS, Dataset, binarize, load_data
from kvae.data.feed import pipeline, smallest

__all__ = ["BINARIZATIONS", "DATASETS", "Dataset", "binarize", "load_data", "pipeline", "smallest"]
