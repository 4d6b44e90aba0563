"""Pictures: arrays (and a model, where codes must be decoded) in, a `matplotlib.figure.Figure` out; no global state."""

from kvae.plots.canvas import save
from kvae.plots.curves import beside_pca, history
from kvae.plots.decoded import interpolation, latent_manifold, quantile_codes, style_by_digit, style_transfer, traversal
from kvae.plots.images import image_grid, mosaic, reconstruction_grid, sample_grid
from kvae.plots.scatter import latent_scatter

__all__ = [
    "beside_pca",
    "history",
    "image_grid",
    "interpolation",
    "latent_manifold",
    "latent_scatter",
    "mosaic",
    "quantile_codes",
    "reconstruction_grid",
    "sample_grid",
    "save",
    "style_by_digit",
    "style_transfer",
    "traversal",
]
