"""Which models have a density."""


def has_density(model):
    """Whether `model` has the densities p(x|z), p(z) and q(z|x): a `VAE` has, an `Autoencoder` and PCA have not."""
    return hasattr(model, "elbo")


def needs_density(model):
    """Raise a `ValueError` unless `model` has the densities that `has_density` names."""
    if not has_density(model):
        raise ValueError(
            "`model` must have a density, as VAE and CVAE have: of others take the reconstruction error. "
            f"Received: {type(model).__name__}"
        )
