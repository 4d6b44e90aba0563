"""Applications of trained models, from arrays to arrays; `kvae.plots` draws the results, `kvae apply` does both."""

from kvae.applications.anomaly import anomaly_score, auroc, column_scores, realism
from kvae.applications.compression import bits_back_rate, compress, decompress, png_rate, prior_rate, rate_distortion
from kvae.applications.interpolation import interpolate
from kvae.applications.restoration import METHODS, denoise, downsample, inpaint, psnr, super_resolve

__all__ = [
    "METHODS",
    "anomaly_score",
    "auroc",
    "bits_back_rate",
    "column_scores",
    "compress",
    "decompress",
    "denoise",
    "downsample",
    "inpaint",
    "interpolate",
    "png_rate",
    "prior_rate",
    "psnr",
    "rate_distortion",
    "realism",
    "super_resolve",
]
