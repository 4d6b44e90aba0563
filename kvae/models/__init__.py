"""Models, one family a file."""

from kvae.models.cvae import CVAE
from kvae.models.saving import load_model
from kvae.models.vae import VAE

__all__ = ["CVAE", "VAE", "load_model"]
