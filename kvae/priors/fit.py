"""Densities of a trained model's codes, fitted after training: a mixture, a flow, or a second VAE."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kvae import checks, networks
from kvae.distributions import Normal
from kvae.priors.base import Prior, Standard
from kvae.priors.hierarchical import Hierarchical
from kvae.priors.learning import maximum_likelihood
from kvae.priors.mixtures import Mixture
from kvae.priors.rescaled import Rescaled
from kvae.types import Array, ArrayLike


def gaussian_mixture(latent_dim: int, num_components: int = 10) -> Prior:
    """A mixture of normal distributions with diagonal covariances, by expectation maximization (scikit-learn)."""
    return Mixture(num_components)


def flow(latent_dim: int, flows: Any = "maf", depth: int = 5) -> Prior:
    """A flow, by maximum likelihood; arguments as in `kvae.flows.Prior`."""
    from kvae.flows import Prior as FlowPrior

    return FlowPrior(flows, depth)


def two_stage(latent_dim: int, hidden: Sequence[int] = (256, 256), top_dim: int | None = None) -> Prior:
    """A second VAE, of the codes, with `top_dim` latent dimensions: as many as the first has unless given."""
    return Hierarchical(*networks.mlp((latent_dim,), top_dim or latent_dim, hidden, likelihood=Normal()))


METHODS: dict[str, Callable[..., Prior]] = {
    "gaussian_mixture": gaussian_mixture,
    "flow": flow,
    "two_stage": two_stage,
}
CODES_OF_ITS_OWN = "autoregressive"  # of a model with discrete codes


def fit(
    model: keras.Model,
    x: ArrayLike,
    prior: str | Prior = "gaussian_mixture",
    y: Any = None,
    epochs: int = 100,
    batch_size: int = 256,
    learning_rate: float = 1e-3,
    seed: int | None = 0,
    **settings: Any,
) -> Any:
    """Fit a density to the codes of a trained model, which then generates from it; both networks stay as they are.

    The codes of the data fill only part of N(0, I), and those of an autoencoder any part of the space, so that many
    draws from a simple prior decode to nothing like the data. With q(z) the distribution of the codes of `x`, draws of
    q(z|x) for a VAE, this maximizes E_q(z)[log p(z)] in p: the part of the ELBO in which the prior occurs.

    - "gaussian_mixture": `num_components` (10) normal distributions with diagonal covariances, by scikit-learn
      (Ghosh et al. 2020, section 4, https://arxiv.org/abs/1903.12436).
    - "flow": `flows` ("maf") and `depth` (5) as in `kvae.flows.Prior`.
    - "two_stage": a second VAE, of the codes, with layers `hidden` (256, 256) and `top_dim` latent dimensions, as many
      as the codes have (Dai & Wipf 2019, section 4, https://arxiv.org/abs/1903.05789).
    - "autoregressive": a network of masked convolutions, for the discrete codes of a `VQVAE`.

    Args:
        model: trained `VAE`, `CVAE` or the like with a standard prior, or an `Autoencoder`.
        x: training images `(n, *image_shape)`.
        prior: one of these names, or a new `Prior`, such as `kvae.flows.Prior("spline")`, for standardized codes.
        y: the conditions of `x`, for a conditional model; the density is one of all codes, whatever their condition.
        epochs: passes over the codes, for densities trained by gradient.
        batch_size: codes per step, for these.
        learning_rate: initial rate of Adam, for these; it falls to zero along a cosine.
        seed: int for reproducible draws from q(z|x), and for scikit-learn; `None` for random ones.
        **settings: of the density, named above.

    Returns:
        A new model with copies of all weights and the fitted density as its `prior`: of the same class, whose `elbo`,
        `generate` and the like use it; a `SampledAutoencoder` for an autoencoder. It is compiled as `model` was.

    Raises:
        ValueError: for an unknown name or setting, a model without codes or with a prior of its own, images of another
            shape, fewer examples than components, constant codes, or a density that became NaN or infinite.

    Example:

    >>> better = kvae.priors.fit(model, data.x_train, "gaussian_mixture", num_components=5)
    >>> better.generate(16, seed=0).shape
    (16, 8, 8, 1)
    """
    if isinstance(prior, str) and prior == CODES_OF_ITS_OWN:
        from kvae.priors.autoregressive import fit_autoregressive

        given = (model, x, epochs, batch_size, learning_rate, seed)
        _check_settings(prior, fit_autoregressive, len(given), settings)
        return fit_autoregressive(*given, **settings)
    epochs, batch_size = checks.positive_integer(epochs, "epochs"), checks.positive_integer(batch_size, "batch_size")
    learning_rate, seed = checks.positive_number(learning_rate, "learning_rate"), checks.seed(seed)
    _check_model(model)
    inner = _density(prior, model.latent_dim, settings)
    params, draw = _codes(model, x, y)
    z = ops.convert_to_numpy(draw(ops.convert_to_tensor(params), seed))
    scale = _scale(z)
    density = Rescaled(inner)
    density.bind(Normal(), model.latent_shape, model.image_shape, model.inference)
    density.rescale(z.mean(axis=0), scale)
    if prior == "gaussian_mixture":
        _expectation_maximization(inner, (z - z.mean(axis=0)) / scale, seed)
    else:
        maximum_likelihood(density, params, draw, epochs, batch_size, learning_rate, seed)
    return model.with_prior(density)


def _check_model(model):
    if hasattr(model, "code_shape"):
        raise ValueError(f'`prior` must be "autoregressive" for discrete codes. Received: a {type(model).__name__}')
    if not hasattr(model, "with_prior"):
        raise ValueError(
            "`model` must be a VAE, a CVAE or an Autoencoder, for a density of its codes. "
            f"Received: {type(model).__name__}"
        )
    prior = getattr(model, "prior", None)
    if prior is not None and type(prior) is not Standard:
        raise ValueError(
            "`model` must have the standard prior: fit the model that it was fitted from, or train one with "
            f'prior="standard". Received: a {type(model).__name__} with a {type(prior).__name__} prior'
        )
    family = getattr(model, "posterior_family", None)
    if family is not None and not isinstance(family.standard_prior(), Normal):
        raise ValueError(
            '`model` must have codes that may be any numbers, as those of posterior="normal", since a fitted density '
            f"generates such. Received: a {type(family).__name__} posterior"
        )


def _density(prior, latent_dim, settings):
    """The new `Prior` that the arguments `prior` and `settings` name."""
    if isinstance(prior, Prior):
        if settings:
            raise ValueError(f"`settings` belong to named densities. Received: {sorted(settings)} for a Prior")
        return prior
    if not isinstance(prior, str) or prior not in METHODS:
        names = sorted([*METHODS, CODES_OF_ITS_OWN])
        raise ValueError(f"`prior` must be one of {names} or a kvae Prior. Received: {prior!r}")
    _check_settings(prior, METHODS[prior], 1, settings)
    return METHODS[prior](latent_dim, **settings)


def _check_settings(name, function, start, settings):
    """Raise a `ValueError` for settings that are not among the parameters of `function` from `start` on."""
    known = list(inspect.signature(function).parameters)[start:]
    if not set(settings) <= set(known):
        raise ValueError(f"`{name}` takes the settings {sorted(known)}. Received: {sorted(settings)}")


def _codes(model, x, y):
    """What the codes of images are made of, an array `(n, ...)`, and the function of it and a seed that draws them."""
    labels = () if y is None and model.conditions is None else (y,)
    if not hasattr(model, "posterior_family"):
        return model.encode(x, *labels).astype("float32"), lambda params, seed: params
    family = model.posterior_family
    params = np.concatenate(model.posterior(x, *labels), axis=-1).astype("float32")
    return params, lambda params, seed: ops.stop_gradient(family.sample(params, 1, seed)[0])


def _scale(z):
    """Standard deviation of each dimension of codes `(n, *latent_shape)`, or a `ValueError` if one is constant."""
    scale = z.std(axis=0)
    constant = scale <= 1e-6 * (np.abs(z).max(axis=0) + 1e-30)
    if constant.any():
        which = "all dimensions" if constant.all() else f"dimensions {np.flatnonzero(constant).tolist()}"
        raise ValueError(
            f"`model` must have codes that differ between examples: train it longer, or with fewer latent dimensions. "
            f"Received: {len(z)} codes, constant in {which}"
        )
    return scale


def _expectation_maximization(mixture: Mixture, u: Array, seed: int | None) -> None:
    """Fit a mixture to codes, by scikit-learn."""
    from sklearn.mixture import GaussianMixture

    if len(u) < 2 * mixture.num_components:
        raise ValueError(
            f"`x` must have at least two examples for each of the {mixture.num_components} components: lower "
            f"`num_components`. Received: {len(u)} examples"
        )
    fitted = GaussianMixture(mixture.num_components, covariance_type="diag", max_iter=500, random_state=seed)
    fitted.fit(u.reshape(len(u), -1))
    shape = (-1, *mixture.latent_shape)
    parts = [each.reshape(shape) for each in (fitted.means_, np.log(fitted.covariances_))]
    mixture.component_weights.assign(np.concatenate(parts, axis=-1))
    mixture.logits.assign(np.log(np.maximum(fitted.weights_, 1e-30)))
