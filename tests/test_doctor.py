"""The doctor finds each problem in a model that has it, and none in a healthy one."""

import warnings

import keras
import numpy as np
import pytest
from cases import DENSITIES
from keras import ops

import kvae
from kvae import bounds, distributions, networks
from kvae.evaluation import Finding, diagnose
from kvae.evaluation.doctor import loss_scale

PIXELS = 64


def build(likelihood="bernoulli", cls=kvae.VAE, posterior="normal", latent_dim=2, **kwargs):
    pair = networks.mlp((8, 8, 1), latent_dim, hidden=(64,), likelihood=likelihood, posterior=posterior)
    return cls(*pair, likelihood=likelihood, posterior=posterior, seed=0, **kwargs)


def fit(model, x, epochs=15, **kwargs):
    keras.utils.set_random_seed(0)
    model.compile(optimizer=keras.optimizers.Adam(5e-3))
    model.fit(x, batch_size=64, epochs=epochs, verbose=0, **kwargs)
    return model


@pytest.fixture(scope="module")
def trained(digits):
    """Healthy models."""
    return {name: fit(build(name), digits.x_train) for name in ("bernoulli", "gaussian")}


@pytest.fixture
def healthy(trained):
    """Creates a new model with the networks of a healthy one, which each test breaks in one way."""

    def restore(likelihood="bernoulli", networks_of="bernoulli", **kwargs):
        model = build(likelihood, **kwargs)
        model.encoder.set_weights(trained[networks_of].encoder.get_weights())
        model.decoder.set_weights(trained[networks_of].decoder.get_weights())
        return model

    return restore


def named(findings):
    return {finding.name: finding for finding in findings}


def first(findings):
    assert findings
    assert all(isinstance(finding, Finding) for finding in findings)
    return findings[0]


class MeanBernoulli(distributions.Bernoulli):
    def elementwise_log_prob(self, value, params):
        return super().elementwise_log_prob(value, params) / PIXELS


class OneMean(distributions.Normal):
    """A mean in the wrong place: one number per image."""

    def elementwise_log_prob(self, value, params):
        return ops.mean(super().elementwise_log_prob(value, params), axis=(-3, -2, -1), keepdims=True)


class SquareError(distributions.Normal):
    def elementwise_log_prob(self, value, params):
        return -ops.square(value - params)


class MeanKL(distributions.Normal):
    def elementwise_kl(self, params, prior, prior_params):
        return super().elementwise_kl(params, prior, prior_params) / 2


class MeanScore(kvae.VAE):
    def score(self, *args, **kwargs):
        sample, x_params = super().score(*args, **kwargs)
        return sample._replace(log_likelihood=sample.log_likelihood / PIXELS), x_params


class MeanLog(kvae.VAE):
    def run_batch(self, batch, training):
        result = super().run_batch(batch, training)
        terms = {**result.terms, "reconstruction_loss": result.terms["reconstruction_loss"] / PIXELS}
        return result._replace(losses=(terms["reconstruction_loss"], result.losses[1]), terms=terms)


class MeanBound(bounds.ELBO):
    def __call__(self, sample, beta):
        reconstruction, kl = super().__call__(sample, beta)
        return reconstruction / PIXELS, kl


# Mistake: how to build the model, and the equivalent β.
MEANS = {
    "elementwise": (lambda make: make(MeanBernoulli()), PIXELS),
    "score": (lambda make: make(cls=MeanScore), PIXELS),
    "run_batch": (lambda make: make(cls=MeanLog), PIXELS),
    "bound": (lambda make: make(bound=MeanBound()), PIXELS),
    "one number an image": (lambda make: make(OneMean(sigma=0.2), networks_of="gaussian"), PIXELS),
    "kl": (lambda make: make(posterior=MeanKL()), 0.5),
    "both": (lambda make: make(MeanBernoulli(), posterior=MeanKL(), beta=2.0), PIXELS),
}


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_a_healthy_model_has_one_line_with_its_figures(digits, trained, likelihood):
    model = trained[likelihood]
    findings = diagnose(model, digits.x_test, x_train=digits.x_train)
    assert [(finding.name, finding.severity) for finding in findings] == [("healthy", "ok")], findings
    elbo = model.elbo(digits.x_test, num_samples=200, seed=1)
    assert findings[0].value == pytest.approx(-elbo.mean(), abs=0.3)
    assert f"−ELBO {findings[0].value:.2f}" in findings[0].message
    assert "2 of 2 latent units active" in findings[0].message


@pytest.mark.parametrize("case", MEANS)
def test_a_mean_for_a_sum_is_named_with_the_beta_that_it_equals(digits, healthy, case):
    make, equals = MEANS[case]
    model = make(healthy)
    finding = first(diagnose(model, digits.x_test))
    assert (finding.name, finding.severity) == ("mean_reduction", "problem")
    assert finding.value * model._initial_beta == pytest.approx(equals, rel=0.05)
    assert ("mean over 64 pixels" in finding.message) == (case != "kl")
    assert ("mean over 2 latent dimensions" in finding.message) == (case in ("kl", "both"))


def test_figures_are_those_of_the_sum(digits, healthy):
    """A mean in the loss hides the ELBO, but the doctor recovers it."""
    whole, mean = (diagnose(healthy(likelihood), digits.x_test) for likelihood in ("bernoulli", MeanBernoulli()))
    assert named(whole)["healthy"]
    assert set(named(mean)) == {"mean_reduction"}  # so that there is no other finding


def test_a_mean_that_beta_makes_up_for(digits, healthy):
    findings = diagnose(healthy(MeanBernoulli(), beta=1 / PIXELS), digits.x_test)
    assert [(finding.name, finding.severity) for finding in findings] == [("mean_reduction", "warning")]
    assert "equivalent to β = 1 with sums" in findings[0].message


@pytest.mark.parametrize("name", DENSITIES)
def test_no_model_of_this_package_has_a_mean_for_a_sum(name):
    case = DENSITIES[name]
    found = named(diagnose(case.build(), *case.arrays(60)))
    assert not {"mean_reduction", "not_normalised"} & set(found)
    assert "nothing_learnt" in found  # none of them is trained


def test_beta(digits, healthy):
    findings = diagnose(fit(build(beta=50.0), digits.x_train, epochs=8), digits.x_test)
    assert (first(findings).name, first(findings).severity, first(findings).value) == ("beta", "problem", 50.0)
    assert {"collapse", "nothing_learnt"} <= set(named(findings))
    assert "β = 50" in findings[0].message
    assert named(diagnose(healthy(beta=4.0), digits.x_test))["beta"].severity == "warning"
    assert "number of pixels" in named(diagnose(healthy(beta=64.0), digits.x_test))["beta"].advice
    assert "spoils samples" in named(diagnose(healthy(beta=0.0), digits.x_test))["beta"].message


def test_pixels(digits, healthy):
    twice = diagnose(healthy(), digits.x_test / 255)
    assert first(twice).name == "pixels"
    assert "divided by 255 twice" in twice[0].message
    grey_levels = np.round(digits.x_test * 255)
    assert [finding.name for finding in diagnose(healthy(), grey_levels)] == [
        "pixels"
    ]  # an error for the Bernoulli likelihood
    gaussian = healthy("gaussian", networks_of="gaussian")
    assert "integers up to 255" in first(diagnose(gaussian, grey_levels.astype("uint8"))).message
    with pytest.raises(ValueError, match=r"must hold pixels in \[0, 1\]"):
        diagnose(healthy(), digits.x_test - 1)


def test_a_likelihood_that_does_not_fit_the_data(digits, healthy):
    grey = 0.4 + 0.2 * digits.x_test
    finding = named(diagnose(healthy(), grey))["likelihood"]
    assert finding.value == 1.0
    assert "gaussian" in finding.advice
    binary = np.round(digits.x_test)
    finding = named(diagnose(healthy("gaussian", networks_of="gaussian"), binary))["likelihood"]
    assert finding.value == 1.0
    assert "bernoulli" in finding.advice


@pytest.mark.parametrize(("sigma", "way"), [(0.01, "narrow"), (2.0, "wide")])
def test_a_sigma_that_does_not_fit_and_the_one_that_would(digits, healthy, sigma, way):
    model = healthy(distributions.Normal(sigma=sigma), networks_of="gaussian")
    finding = named(diagnose(model, digits.x_test))["sigma"]
    assert f"too {way}" in finding.message
    fitting = float(finding.advice.split("sigma=")[1].split(")")[0])
    residual = np.sqrt(np.mean((model.reconstruct(digits.x_test) - digits.x_test) ** 2))
    assert fitting == pytest.approx(residual, rel=0.1)
    assert finding.value == pytest.approx(sigma / residual, rel=0.1)
    better = healthy(distributions.Normal(sigma=fitting), networks_of="gaussian")
    assert "sigma" not in named(diagnose(better, digits.x_test))


def test_a_sigma_at_its_floor(digits, healthy):
    model = build(distributions.Normal())
    kernel, bias = model.decoder.layers[-2].get_weights()
    bias[1::2] = -20.0  # log σ² of each pixel
    kernel[:, 1::2] = 0.0
    model.decoder.layers[-2].set_weights([kernel, bias])
    finding = named(diagnose(model, digits.x_test))["sigma"]
    assert finding.value == pytest.approx(1.0, abs=0.01)
    assert "at its floor" in finding.message


def test_a_likelihood_without_its_constant(digits, healthy):
    findings = named(diagnose(healthy(SquareError(sigma=1.0), networks_of="gaussian"), digits.x_test))
    assert findings["not_normalised"].value is None
    assert "mean_reduction" not in findings


def test_overfitting(digits):
    few = digits.x_train[:40]
    model = fit(build(), np.repeat(few, 30, axis=0), epochs=20)
    finding = named(diagnose(model, digits.x_test, x_train=few))["overfitting"]
    gap = model.elbo(few, num_samples=50, seed=1).mean() - model.elbo(digits.x_test, num_samples=50, seed=1).mean()
    assert finding.value == pytest.approx(gap, rel=0.1)
    assert "overfitting" not in named(diagnose(model, digits.x_test))  # unknown without the training images


def change_posterior(model, change):
    """Apply `change` to the kernel and bias of the encoder's last layer."""
    layer = model.encoder.get_layer("posterior")
    kernel, bias = layer.get_weights()
    change(kernel, bias)
    layer.set_weights([kernel, bias])
    return model


def test_collapse(digits, healthy):
    def forget(kernel, bias):
        kernel[:] = bias[:] = 0.0

    finding = named(diagnose(change_posterior(healthy(), forget), digits.x_test))["collapse"]
    assert finding.value == pytest.approx(0.0, abs=1e-6)
    assert "0 of 2 latent units" in finding.message


def test_dead_units(digits, healthy):
    def kill_one(kernel, bias):
        kernel[:, [0, 2]] = bias[[0, 2]] = 0.0

    findings = named(diagnose(change_posterior(healthy(), kill_one), digits.x_test))
    assert findings["dead_units"].value == 1.0
    assert findings["dead_units"].severity == "note"
    assert "collapse" not in findings


def test_a_posterior_without_width(digits, healthy):
    def narrow(kernel, bias):
        kernel[:, 2:], bias[2:] = 0.0, -20.0

    finding = named(diagnose(change_posterior(healthy(), narrow), digits.x_test))["pinned"]
    assert finding.value == 1.0


def test_codes_away_from_the_prior(digits, healthy):
    def spread(kernel, bias):
        kernel[:, :2] *= 20.0

    finding = named(diagnose(change_posterior(healthy(), spread), digits.x_test))["prior"]
    assert finding.severity == "problem"
    assert finding.value > 0.9


def test_a_model_that_has_learnt_nothing(digits):
    finding = named(diagnose(build(), digits.x_test))["nothing_learnt"]
    pixel = np.clip(digits.x_test.mean(axis=0), 1e-3, 1 - 1e-3)
    mean_image = np.sum(digits.x_test * np.log(pixel) + (1 - digits.x_test) * np.log1p(-pixel)) / len(digits.x_test)
    assert f"{-mean_image:.4g}" in finding.message


def test_models_and_data_that_cannot_be_looked_at(digits):
    pair = networks.mlp((8, 8, 1), 2, hidden=(4,), posterior=None)
    with pytest.raises(ValueError, match="must have densities"):
        diagnose(kvae.Autoencoder(*pair), digits.x_test)
    with pytest.raises(ValueError, match=r"shape \(n, 8, 8, 1\)"):
        diagnose(build(), digits.x_test[..., 0])
    pair = networks.mlp((8, 8, 1), 2, hidden=(4,), num_classes=10)
    with pytest.raises(ValueError, match="`labels` is missing"):
        diagnose(kvae.CVAE(*pair, num_classes=10), digits.x_test)
    with pytest.raises(ValueError, match="one entry per example"):
        diagnose(kvae.CVAE(*pair, num_classes=10), digits.x_test, digits.y_test[:3])


FAMILIES = [
    (distributions.Bernoulli(), "binary"),
    (distributions.Normal(), "real"),
    (distributions.Normal(sigma=0.003), "real"),
    (distributions.Laplace(), "real"),
    (distributions.StudentT(), "real"),
    (distributions.LogNormal(), "real"),
    (distributions.Exponential(), "positive"),
]


@pytest.mark.parametrize(("family", "support"), FAMILIES, ids=lambda value: getattr(value, "name", value))
def test_families_are_distributions(family, support):
    assert loss_scale.density_scale(family, (5, 4, 3)) == (1.0, support)


def test_a_power_that_is_no_count_is_found_too():
    class Weak(distributions.Bernoulli):
        def elementwise_log_prob(self, value, params):
            return super().elementwise_log_prob(value, params) / 3.3

    c, support = loss_scale.density_scale(Weak(), (8, 8, 1))
    assert (c, support) == (pytest.approx(3.3, rel=0.02), "binary")


@pytest.mark.parametrize("bound", ["elbo", "importance_weighted", "renyi", bounds.ELBO(free_bits=0.5)])
def test_bounds_weigh_both_terms_by_one(bound):
    assert loss_scale.bound_weights(bounds.get(bound), 5) == pytest.approx((1.0, 1.0), abs=1e-4)


def test_a_prior_that_draws_samples_is_no_fault(digits):
    pair = networks.mlp((4,), 2, hidden=(8,), likelihood=distributions.Normal())
    model = build(latent_dim=4, prior=kvae.priors.Hierarchical(*pair))
    assert loss_scale.score_weights(model, digits.x_test[:50]) == pytest.approx((1.0, 1.0), rel=1e-4)
    assert "mean_reduction" not in named(diagnose(model, digits.x_test))


def test_the_callback_warns_keeps_its_findings_and_disturbs_nothing(digits):
    x, x_val = digits.x_train[:256], digits.x_test[:64]
    looked = []

    def train(**kwargs):
        keras.utils.set_random_seed(0)
        return fit(build(beta=50.0), x, epochs=3, **kwargs).get_weights()

    class Watched(kvae.callbacks.Diagnosis):
        def _look(self, when):
            looked.append(when)
            super()._look(when)

    callback = Watched(x_val, x_train=x, every=1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        watched = train(callbacks=[callback])
    assert any("Diagnosis at the end: problem: β = 50" in str(warning.message) for warning in caught)
    assert looked == ["after epoch 1", "after epoch 2", "at the end"]
    assert first(callback.findings).name == "beta"
    for one, other in zip(train(), watched, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.filterwarnings("error:Diagnosis")
def test_the_callback_is_silent_about_a_healthy_model(digits, healthy):
    callback = kvae.callbacks.Diagnosis(digits.x_test, x_train=digits.x_train)
    callback.set_model(healthy())
    callback.on_train_end()
    assert first(callback.findings).name == "healthy"


def test_the_callback_wants_a_density_and_an_interval(digits):
    pair = networks.mlp((8, 8, 1), 2, hidden=(4,), posterior=None)
    model = kvae.Autoencoder(*pair)
    model.compile()
    with pytest.raises(ValueError, match="must have densities"):
        model.fit(digits.x_train, verbose=0, callbacks=[kvae.callbacks.Diagnosis(digits.x_test)])
    with pytest.raises(ValueError, match="`every` must be an integer of at least 1"):
        kvae.callbacks.Diagnosis(digits.x_test, every=0)
