"""Data sets as arrays, binarization, pipelines, and a faster Adam. The one part that may import a backend."""

from kvae.data.adam import fuse_adam
from kvae.data.datasets import BINARIZATIONS, DATASETS, Dataset, binarize, load_data
from kvae.data.feed import GREYS, Rows, pipeline, rows, smallest
from kvae.data.records import write_records
from kvae.data.streaming import Stream, plain_errors, stream

__all__ = [
    "BINARIZATIONS",
    "DATASETS",
    "GREYS",
    "Dataset",
    "Rows",
    "Stream",
    "binarize",
    "fuse_adam",
    "load_data",
    "pipeline",
    "plain_errors",
    "rows",
    "smallest",
    "stream",
    "write_records",
]
