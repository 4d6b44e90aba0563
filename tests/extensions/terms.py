"""A bound, a penalty and a model that log terms of their own."""

import dataclasses

import keras
from keras import ops

import kvae
from kvae.penalties import Penalty


@keras.saving.register_keras_serializable(package="extensions")
class Watched(kvae.bounds.ImportanceWeighted):
    """The importance-weighted bound, which also logs the effective sample size of its weights."""

    term_names = ("effective_sample_size",)

    def logged_terms(self, sample, beta):
        weights = ops.softmax(sample.log_weights(), axis=0)
        return {"effective_sample_size": 1.0 / ops.sum(ops.square(weights), axis=0)}


@keras.saving.register_keras_serializable(package="extensions")
@dataclasses.dataclass(frozen=True)
class Narrow(Penalty):
    """weight · Σ_j log σ_j², which pulls posteriors together; logs the mean σ."""

    weight: float
    term_names = ("mean_sigma",)

    def __call__(self, x, z, params, model, seed):
        _, log_var = model.posterior_family.parameters(params)
        return self.weight * ops.sum(log_var, axis=-1), {"mean_sigma": ops.mean(ops.exp(0.5 * log_var), axis=-1)}


@keras.saving.register_keras_serializable(package="extensions")
class Scored(kvae.VAE):
    """A VAE that also minimises and logs the squared error of its reconstructions."""

    term_names = (*kvae.VAE.term_names, "squared_error")

    def loss_terms(self, batch, forward, training):
        result = super().loss_terms(batch, forward, training)
        squared_error = ops.sum(ops.square(batch.x - result.reconstruction), axis=(1, 2, 3))
        return result._replace(
            losses=(*result.losses, squared_error), terms={**result.terms, "squared_error": squared_error}
        )
