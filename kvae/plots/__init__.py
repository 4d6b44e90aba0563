"""Plotting. Every function returns a `matplotlib.figure.Figure`; there is no global state."""

from kvae.plots.applications import anomalies, denoising, inpainting, rate_distortion, super_resolution
from kvae.plots.canvas import save
from kvae.plots.curves import beside_pca, histories, history, lines_beside_pca
from kvae.plots.energy import energy_surfaces
from kvae.plots.flows import flow_grid
from kvae.plots.image_grids import image_grid, mosaic, reconstruction_grid, sample_grid
from kvae.plots.ladder import ladder
from kvae.plots.latent_space import (
    interpolation,
    latent_manifold,
    quantile_codes,
    style_by_digit,
    style_transfer,
    traversal,
)
from kvae.plots.lines import line_grid, line_reconstructions, line_samples
from kvae.plots.scatter import latent_scatter
from kvae.plots.tables import column_histograms, feature_histograms

__all__ = [
    "anomalies",
    "beside_pca",
    "column_histograms",
    "denoising",
    "energy_surfaces",
    "feature_histograms",
    "flow_grid",
    "histories",
    "history",
    "image_grid",
    "inpainting",
    "interpolation",
    "ladder",
    "latent_manifold",
    "latent_scatter",
    "line_grid",
    "line_reconstructions",
    "line_samples",
    "lines_beside_pca",
    "mosaic",
    "quantile_codes",
    "rate_distortion",
    "reconstruction_grid",
    "sample_grid",
    "save",
    "style_by_digit",
    "style_transfer",
    "super_resolution",
    "traversal",
]
