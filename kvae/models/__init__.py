"""Models, one family a file."""

from kvae.models.autoencoder import Autoencoder
from kvae.models.cvae import CVAE
from kvae.models.factor_vae import FactorVAE
from kvae.models.loading import load_model
from kvae.models.semisupervised import SemiSupervisedVAE
from kvae.models.vae import VAE

__all__ = ["CVAE", "VAE", "Autoencoder", "FactorVAE", "SemiSupervisedVAE", "load_model"]
