"""In-memory data sets, binarization, and streaming of data sets that stay on disk."""

from kvae.data.datasets import BINARIZATIONS, DATASETS, Dataset, binarize, load_data
from kvae.data.frames import to_array, to_frame
from kvae.data.labels import few_labels
from kvae.data.streaming import Stream, stream
from kvae.data.tfrecord import write_records
from kvae.training.pipelines import pipeline

__all__ = [
    "BINARIZATIONS",
    "DATASETS",
    "Dataset",
    "Stream",
    "binarize",
    "few_labels",
    "load_data",
    "pipeline",
    "stream",
    "to_array",
    "to_frame",
    "write_records",
]
