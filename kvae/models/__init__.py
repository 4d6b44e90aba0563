"""Models, one family a file."""

import kvae.flows  # noqa: F401  # no model needs it, but files may: its classes are to be registered with Keras
from kvae.models.adversarial import GAN
from kvae.models.adversarial_autoencoder import AdversarialAutoencoder
from kvae.models.autoencoder import Autoencoder
from kvae.models.auxiliary import AuxiliaryVAE
from kvae.models.cvae import CVAE
from kvae.models.energy_network import EnergyNetwork
from kvae.models.factor_vae import FactorVAE
from kvae.models.hierarchical import HierarchicalVAE
from kvae.models.introvae import IntroVAE
from kvae.models.loading import load_model
from kvae.models.predictive_sparse import PredictiveSparseDecomposition
from kvae.models.sampled_autoencoder import SampledAutoencoder
from kvae.models.semisupervised import SemiSupervisedVAE
from kvae.models.vae import VAE
from kvae.models.vaegan import VAEGAN
from kvae.models.vqvae import VQVAE

__all__ = [
    "CVAE",
    "GAN",
    "VAE",
    "VAEGAN",
    "VQVAE",
    "AdversarialAutoencoder",
    "Autoencoder",
    "AuxiliaryVAE",
    "EnergyNetwork",
    "FactorVAE",
    "HierarchicalVAE",
    "IntroVAE",
    "PredictiveSparseDecomposition",
    "SampledAutoencoder",
    "SemiSupervisedVAE",
    "load_model",
]
