"""What a model can do.

A model lists its abilities in an attribute `capabilities`; anything without it, such as a PCA baseline, has none.
"""

from typing import Any

CAPABILITIES = {
    "density": "densities p(x|z), p(z) and q(z|x), as VAE and CVAE have: for others use the reconstruction error",
    "elbo": "an evidence lower bound, as VAE and CVAE have",
    "prior": "a prior to draw codes from, as VAE and CVAE have: kvae.priors.fit gives an autoencoder one",
    "adversary": "an adversary, as GAN, VAEGAN, AdversarialAutoencoder and IntroVAE have",
    "codebook": "a codebook of discrete codes, as VQVAE has",
    "energy": "an energy network, as EnergyNetwork has",
    "networks": "an encoder and a decoder network",
    "condition": "a condition y in addition to x: use CVAE",
    "classifier": "a classifier q(y|x): use SemiSupervisedVAE or AuxiliaryVAE",
    "classes": "class labels: use CVAE(..., num_classes=)",
}


def needs_continuous_codes(model: Any) -> None:
    """Raise a `ValueError` unless `model` has networks whose codes are numbers, and not indices of a codebook."""
    needs(model, "networks")
    if has(model, "codebook"):
        raise ValueError(
            "`model` must have continuous codes, as a VAE or an Autoencoder has: those of a codebook are indices, and "
            f"model.encode(x) gives them. Received: {type(model).__name__}"
        )


def has(model: Any, capability: str) -> bool:
    """Whether `model` has `capability`, a key of `CAPABILITIES`."""
    if capability not in CAPABILITIES:
        raise ValueError(f"`capability` must be one of {sorted(CAPABILITIES)}. Received: {capability!r}")
    return capability in getattr(model, "capabilities", ())


def needs(model: Any, capability: str) -> None:
    """Raise a `ValueError` unless `model` has `capability`, a key of `CAPABILITIES`."""
    if not has(model, capability):
        raise ValueError(f"`model` must have {CAPABILITIES[capability]}. Received: {type(model).__name__}")
