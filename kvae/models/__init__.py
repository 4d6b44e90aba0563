"""Models, one family a file."""

from kvae.models.autoencoder import Autoencoder
from kvae.models.cvae import CVAE
from kvae.models.loading import load_model
from kvae.models.vae import VAE

__all__ = ["CVAE", "VAE", "Autoencoder", "load_model"]
