"""Gradients that train encoder and decoder on different objectives, compared with finite differences in NumPy."""

import keras
import numpy as np
import pytest
from keras import ops

import kvae
from kvae.bounds import ELBO, ImportanceWeighted, Renyi
from kvae.distributions import Normal

SAMPLES, BATCH, PIXELS = 4, 2, 3
RNG = np.random.default_rng(0)
X = RNG.normal(size=(BATCH, PIXELS))
NOISE = {shape: RNG.normal(size=shape) for shape in ((SAMPLES, BATCH, 1), (1, BATCH, 1), (1, BATCH, PIXELS))}
# The weights of a linear encoder to [mean, log_var] and of a linear decoder, whose likelihood is N(·, 1).
START = [0.5 * RNG.normal(size=shape) for shape in ((PIXELS, 2), (2,), (1, PIXELS), (PIXELS,))]


def log_normal(value, mean=0.0, log_var=0.0):
    return (-0.5 * (np.log(2 * np.pi) + log_var + (value - mean) ** 2 / np.exp(log_var))).sum(axis=-1)


def log_q(w, z, x=X):
    mean, log_var = np.split(x @ w[0] + w[1], 2, axis=-1)
    return log_normal(z, mean, log_var)


def log_p(w, z):
    return log_normal(X, z @ w[2] + w[3]) + log_normal(z)


def draws(w):
    mean, log_var = np.split(X @ w[0] + w[1], 2, axis=-1)
    return mean + np.exp(0.5 * log_var) * NOISE[SAMPLES, BATCH, 1]


def iwae(log_weights, groups=1):
    grouped = log_weights.reshape(-1, groups, BATCH)
    return np.log(np.exp(grouped).mean(axis=0)).mean(axis=0)


Z, LOG_Q = draws(START), log_q(START, draws(START))
WEIGHTS = np.exp(log_p(START, Z) - LOG_Q)
WEIGHTS = WEIGHTS / WEIGHTS.sum(axis=0)
DREAM_Z = NOISE[1, BATCH, 1][0]
DREAM_X = DREAM_Z @ START[2] + START[3] + NOISE[1, BATCH, PIXELS][0]


# For each bound, what its gradient is that of, `w` being the weights and START what is held.
OBJECTIVES = {
    "piwae": (
        ImportanceWeighted(groups=2, decoder_groups=1),
        lambda w: iwae(log_p(w, Z) - LOG_Q) + iwae(log_p(START, draws(w)) - log_q(w, draws(w)), 2),
    ),
    "miwae for the decoder": (
        ImportanceWeighted(groups=1, decoder_groups=4, gradient="sticking_the_landing"),
        lambda w: iwae(log_p(w, Z) - LOG_Q, 4) + iwae(log_p(START, draws(w)) - log_q(START, draws(w))),
    ),
    "sticking the landing": (
        ELBO(kl="monte_carlo", gradient="sticking_the_landing"),
        lambda w: (log_p(w, draws(w)) - log_q(START, draws(w))).mean(axis=0),
    ),
    "sticking the landing, weighted": (
        ImportanceWeighted("sticking_the_landing"),
        lambda w: iwae(log_p(w, draws(w)) - log_q(START, draws(w))),
    ),
    "wake-sleep": (
        ELBO(gradient="wake_sleep"),
        lambda w: log_p(w, Z).mean(axis=0) + log_q(w, DREAM_Z, DREAM_X),
    ),
    "reweighted wake-sleep": (
        ImportanceWeighted("reweighted_wake_sleep"),
        lambda w: iwae(log_p(w, Z) - LOG_Q) + (WEIGHTS * log_q(w, Z)).sum(axis=0),
    ),
}


def differences(function, step=1e-5):
    """Gradient of the mean over the batch, for each array of START."""
    found = []
    for i, array in enumerate(START):
        found.append(np.zeros_like(array))
        for place in np.ndindex(array.shape):
            ends = []
            for sign in (1, -1):
                moved = [each.copy() for each in START]
                moved[i][place] += sign * step
                ends.append(function(moved).mean())
            found[-1][place] = (ends[0] - ends[1]) / (2 * step)
    return found


def weights_of(model):
    return model.encoder.get_weights() + model.decoder.get_weights()


def model_of(bound, num_samples=SAMPLES, **kwargs):
    likelihood = Normal(sigma=1.0)
    pair = kvae.networks.mlp((PIXELS,), 1, hidden=(), likelihood=likelihood)
    model = kvae.VAE(*pair, likelihood=likelihood, bound=bound, num_samples=num_samples, seed=0, **kwargs)
    model.encoder.set_weights(START[:2])
    model.decoder.set_weights(START[2:])
    return model


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_gradient_is_that_of_its_objective(name, monkeypatch):
    bound, objective = OBJECTIVES[name]
    monkeypatch.setattr(
        keras.random, "normal", lambda shape, **_: ops.convert_to_tensor(np.float32(NOISE[tuple(shape)]))
    )
    model = model_of(bound)
    model.compile(optimizer=keras.optimizers.SGD(1.0), jit_compile=keras.backend.backend() == "jax")
    loss = model.train_on_batch(np.float32(X), return_dict=True)["loss"]
    found = [old - new for old, new in zip(START, weights_of(model), strict=True)]
    for gradient, expected in zip(found, differences(objective), strict=True):
        np.testing.assert_allclose(gradient, -expected, rtol=2e-3, atol=2e-4)
    log_weights = log_p(START, Z) - LOG_Q
    if isinstance(bound, ELBO):
        params = ops.convert_to_tensor(np.float32(X @ START[0] + START[1]))
        closed = model.prior.kl(model.posterior_family, params, ())[0]
        kl = (LOG_Q - log_normal(Z)).mean(axis=0) if bound.kl == "monte_carlo" else ops.convert_to_numpy(closed)
        value = log_normal(X, Z @ START[2] + START[3]).mean(axis=0) - kl
    else:
        value = iwae(log_weights, bound.decoder_groups or bound.groups)
    assert float(loss) == pytest.approx(-value.mean(), rel=1e-4)
    if name == "piwae":
        monkeypatch.undo()
        assert np.isfinite(model.evaluate(np.float32(X), verbose=0)).all()


@pytest.mark.long
@pytest.mark.parametrize(
    "model",
    [
        lambda: learned("vamp", ImportanceWeighted("reweighted_wake_sleep"), posterior="laplace"),
        lambda: learned("mixture", ImportanceWeighted(groups=2, decoder_groups=1, gradient="doubly_reparameterized")),
        lambda: learned("standard", ELBO(gradient="wake_sleep"), posterior="categorical"),
        lambda: learned("learned", ELBO(gradient="wake_sleep"), cls=kvae.CVAE, num_classes=3),
    ],
    ids=["rws-vamp", "piwae-mixture", "ws-categorical", "ws-cvae"],
)
def test_every_part_learns(model, rng):
    model = model()
    model.compile(optimizer=keras.optimizers.Adam(1e-3), jit_compile=keras.backend.backend() == "jax")
    before = [weight.copy() for weight in map(ops.convert_to_numpy, model.trainable_weights)]
    given = (rng.random((8, 6), dtype="float32"), *([np.arange(8) % 3] if model.conditions else []))
    assert np.isfinite(model.train_on_batch(*given, return_dict=True)["loss"])
    for old, weight in zip(before, model.trainable_weights, strict=True):
        new = ops.convert_to_numpy(weight)
        assert np.isfinite(new).all()
        assert (new != old).any(), weight.path


def learned(prior, bound, posterior="normal", cls=kvae.VAE, **kwargs):
    pair = kvae.networks.mlp((6,), 2, hidden=(5,), posterior=posterior, likelihood="gaussian", **kwargs)
    given = {"posterior": posterior, "likelihood": "gaussian", "prior": prior, "num_samples": 4, "seed": 0}
    return cls(*pair, bound=bound, **given, **kwargs)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ELBO(gradient="sticking_the_landing"), 'gradient="sticking_the_landing" requires kl="monte_carlo"'),
        (lambda: ELBO(gradient="reweighted_wake_sleep"), 'requires the bound "importance_weighted"'),
        (lambda: ImportanceWeighted(decoder_groups=0), "`decoder_groups` must be an integer of at least 1"),
        (lambda: ImportanceWeighted("wake_sleep", decoder_groups=2), "`decoder_groups` requires a gradient of a bound"),
        (lambda: model_of(ImportanceWeighted("reweighted_wake_sleep"), 1), "`num_samples` must be at least 2 with"),
        (lambda: model_of(ImportanceWeighted(decoder_groups=3), 4), "must be a multiple of the bound's 3 groups"),
        (lambda: model_of(ELBO("monte_carlo", gradient="sticking_the_landing"), penalty=kvae.penalties.MMD(1.0)),
         "`penalty` MMD needs reparameterized samples"),
        (lambda: auxiliary(Renyi(0.5, "wake_sleep")), r"`bound` must train all networks here, because p\(a\|x, y, z\)"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_in_one_line(build, message):
    with pytest.raises(ValueError, match=message) as error:
        build()
    assert "\n" not in str(error.value)


def auxiliary(bound):
    return kvae.AuxiliaryVAE(*kvae.networks.auxiliary((6,), 2, 3, hidden=(4,)), num_classes=3, bound=bound)
