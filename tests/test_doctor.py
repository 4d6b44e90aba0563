"""The doctor finds each problem in a model that has it, and none in a healthy one."""

import dataclasses
import warnings

import keras
import numpy as np
import pytest
from cases import DENSITIES, QUICKLY
from keras import layers, ops
from scipy.special import gammaln
from scipy.stats import nbinom

import kvae
from kvae import bounds, distributions, networks
from kvae.evaluation import Finding, diagnose
from kvae.evaluation.doctor import loss_scale
from kvae.evaluation.doctor.figures import Figures

PIXELS = 64


def build(likelihood="bernoulli", cls=kvae.VAE, posterior="normal", latent_dim=2, **kwargs):
    pair = networks.mlp((8, 8, 1), latent_dim, hidden=(64,), likelihood=likelihood, posterior=posterior)
    return cls(*pair, likelihood=likelihood, posterior=posterior, seed=0, **kwargs)


def fit(model, x, epochs=15, quickly=False, **kwargs):
    keras.utils.set_random_seed(0)
    model.compile(optimizer=keras.optimizers.Adam(5e-3), **(QUICKLY if quickly else {}))
    model.fit(x, batch_size=64, epochs=epochs, verbose=0, **kwargs)
    return model


@pytest.fixture(scope="module")
def digits(digits):
    """Fewer images to look at."""
    return dataclasses.replace(digits, x_test=digits.x_test[:120], y_test=digits.y_test[:120])


@pytest.fixture(scope="module")
def trained(digits):
    """Healthy models."""
    return {name: fit(build(name), digits.x_train) for name in ("bernoulli", "gaussian")}


@pytest.fixture
def healthy(trained):
    """Creates a new model with the networks of a healthy one, which each test breaks in one way."""

    def restore(likelihood="bernoulli", networks_of="bernoulli", **kwargs):
        model = build(likelihood, **kwargs)
        model.run_eagerly = True  # looked at once or twice, which takes less time than a graph
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


@pytest.mark.long
@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_a_healthy_model_has_one_line_with_its_figures(digits, trained, likelihood):
    model = trained[likelihood]
    findings = diagnose(model, digits.x_test, x_train=digits.x_train)
    assert [(finding.name, finding.severity) for finding in findings] == [("healthy", "ok")], findings
    elbo = model.elbo(digits.x_test, num_samples=200, seed=1)
    assert findings[0].value == pytest.approx(-elbo.mean(), abs=0.3)
    assert f"−ELBO {findings[0].value:.2f}" in findings[0].message
    assert "2 of 2 latent units active" in findings[0].message


@pytest.mark.long
@pytest.mark.parametrize("case", MEANS)
def test_a_mean_for_a_sum_is_named_with_the_beta_that_it_equals(digits, healthy, case):
    make, equals = MEANS[case]
    model = make(healthy)
    finding = first(diagnose(model, digits.x_test))
    assert finding.name == "mean_reduction"
    assert finding.severity == "problem" or case == "kl"  # its ½ is where warnings begin
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


@pytest.mark.long
@pytest.mark.parametrize("name", DENSITIES)
def test_no_model_of_this_package_has_a_mean_for_a_sum(name):
    case = DENSITIES[name]
    model = case.build()
    model.run_eagerly = True
    found = named(diagnose(model, *case.arrays(60)))
    assert not {"mean_reduction", "not_normalised"} & set(found)
    assert "nothing_learnt" in found  # none of them is trained


@pytest.mark.long
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


@pytest.mark.long
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


def log_gamma(x):
    return ops.convert_to_tensor(gammaln(ops.convert_to_numpy(x)).astype("float32"))


class Poisson(distributions.Distribution):
    parameter_names = ("log_rate",)

    def elementwise_log_prob(self, value, params):
        return value * params - ops.exp(params) - log_gamma(value + 1.0)

    def mean(self, params):
        return ops.exp(params)


class NegativeBinomial(distributions.Distribution):
    """By mean and inverse dispersion, both as logarithms."""

    num_parameters = 2
    parameter_names = ("log_mean", "log_dispersion")

    def elementwise_log_prob(self, value, params):
        mean, size = ops.split(ops.exp(params), 2, axis=-1)
        counted = log_gamma(value + size) - log_gamma(size + 0.0 * value) - log_gamma(value + 1.0)
        return counted + size * ops.log(size / (size + mean)) + value * ops.log(mean / (size + mean))

    def mean(self, params):
        return ops.exp(ops.split(params, 2, axis=-1)[0])


class OnUnitInterval(distributions.Distribution):
    """Density (a + 1) x^a on [0, 1], with a = exp(params)."""

    def elementwise_log_prob(self, value, params):
        power = ops.exp(params)
        return ops.log(power + 1.0) + power * ops.log(ops.maximum(value, 1e-30))

    def mean(self, params):
        return 1.0 - 1.0 / (ops.exp(params) + 2.0)


FAMILIES = [
    (Poisson(), "counts"),
    (NegativeBinomial(), "counts"),
    (OnUnitInterval(), "unit"),
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


@pytest.mark.long
def test_a_mean_over_many_pixels_is_not_taken_for_a_density_on_the_unit_interval():
    class Mean(distributions.Bernoulli):
        def elementwise_log_prob(self, value, params):
            return super().elementwise_log_prob(value, params) / 784

    class MeanOnUnitInterval(OnUnitInterval):
        def elementwise_log_prob(self, value, params):
            return super().elementwise_log_prob(value, params) / 784

    assert loss_scale.density_scale(Mean(), (28, 28, 1)) == (784.0, "binary")
    assert loss_scale.density_scale(MeanOnUnitInterval(), (28, 28, 1)) == (784.0, "unit")


def test_a_power_that_is_no_count_is_found_too():
    class Weak(distributions.Bernoulli):
        def elementwise_log_prob(self, value, params):
            return super().elementwise_log_prob(value, params) / 3.3

    c, support = loss_scale.density_scale(Weak(), (8, 8, 1))
    assert (c, support) == (pytest.approx(3.3, rel=0.02), "binary")


@pytest.mark.parametrize("bound", ["elbo", "importance_weighted", "renyi", bounds.ELBO(free_bits=0.5)])
def test_bounds_weigh_both_terms_by_one(bound):
    assert loss_scale.bound_weights(bounds.get(bound), 5) == pytest.approx((1.0, 1.0), abs=1e-4)


@pytest.mark.long
def test_a_prior_that_draws_samples_is_no_fault(digits):
    pair = networks.mlp((4,), 2, hidden=(8,), likelihood=distributions.Normal())
    model = build(latent_dim=4, prior=kvae.priors.Hierarchical(*pair))
    assert loss_scale.score_weights(model, digits.x_test[:50]) == pytest.approx((1.0, 1.0), rel=1e-4)
    assert "mean_reduction" not in named(diagnose(model, digits.x_test))


@pytest.mark.long
def test_the_callback_warns_keeps_its_findings_and_disturbs_nothing(digits):
    x, x_val = digits.x_train[:256], digits.x_test[:64]
    looked = []

    def train(**kwargs):
        keras.utils.set_random_seed(0)
        return fit(build(beta=50.0), x, epochs=3, quickly=True, **kwargs).get_weights()

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


class Hidden(layers.Layer):
    """A dense layer whose activation no one can read."""

    def __init__(self, units, function):
        super().__init__()
        self.function, self.dense = function, layers.Dense(units)

    def build(self, input_shape):
        self.dense.build(input_shape)

    def call(self, x):
        return self.function(self.dense(x))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.dense.units)


def ending_in(function, shape=(8, 8, 1)):
    z = keras.Input((2,))
    h = Hidden(int(np.prod(shape)), function)(layers.Dense(16, "relu")(z))
    return keras.Model(z, layers.Reshape(shape)(h))


@pytest.mark.parametrize("function", [ops.sigmoid, ops.tanh, ops.relu, ops.softplus], ids=lambda each: each.__name__)
def test_a_hidden_activation_on_the_logits_is_found_before_more_epochs_are_advised(digits, function):
    encoder, _ = networks.mlp((8, 8, 1), 2, hidden=(8,))
    findings = diagnose(kvae.VAE(encoder, ending_in(function), seed=0), digits.x_test[:100])
    assert (first(findings).name, first(findings).severity) == ("bounded_outputs", "problem")
    assert "the decoder gives only logits from " in findings[0].message
    assert "drop the last activation" in findings[0].advice
    assert "epochs" not in named(findings)["nothing_learnt"].advice


@pytest.mark.long
def test_a_hidden_activation_on_a_scale_or_a_mean(digits):
    x = keras.Input((8, 8, 1))
    h = layers.Dense(16, "relu")(layers.Flatten()(x))
    encoder = keras.Model(x, layers.Concatenate()([layers.Dense(2)(h), Hidden(2, ops.softplus)(h)]))
    _, decoder = networks.mlp((8, 8, 1), 2, hidden=(8,))
    found = first(diagnose(kvae.VAE(encoder, decoder, seed=0), digits.x_test[:100]))
    assert found.name == "bounded_outputs"
    assert "the encoder gives only log_var from 0 " in found.message
    pair = networks.mlp((8, 8, 1), 2, hidden=(8,))[0], ending_in(ops.sigmoid)
    model = kvae.VAE(*pair, likelihood="gaussian", seed=0)
    assert "bounded_outputs" not in named(diagnose(model, digits.x_test[:100]))  # pixels in [0, 1] suit a sigmoid
    standardised = (digits.x_test[:100] - 0.3) / 0.3
    assert "scale the data" in named(diagnose(model, standardised))["bounded_outputs"].advice


def test_a_tanh_before_the_last_layer_bounds_nothing(digits):
    pair = networks.mlp((8, 8, 1), 2, hidden=(4,), activation="tanh")
    assert "bounded_outputs" not in named(diagnose(kvae.VAE(*pair, seed=0), digits.x_test[:100]))


def figures_of(model, x, seed=0):
    return Figures(model, x, None, None, None, loss_scale.density_scale(model.likelihood, model.image_shape), seed)


def test_the_codes_of_a_posterior_equal_to_the_prior_overlap_with_it(digits, healthy):
    """Codes and prior must not be drawn from one seed: shared noise gave a share of 0."""

    def forget(kernel, bias):
        kernel[:] = bias[:] = 0.0

    model = change_posterior(healthy(), forget)
    shares = [figures_of(model, digits.x_test[:62], seed).prior_share for seed in range(3)]
    assert np.mean(shares) == pytest.approx(0.5, abs=0.2)


@pytest.mark.long
def test_counts(rng):
    counts = rng.poisson(4.0, (60, 8, 8, 1)).astype("float32")
    for likelihood in (Poisson(), NegativeBinomial()):
        pair = networks.mlp((8, 8, 1), 2, hidden=(8,), likelihood=likelihood)
        model = kvae.VAE(*pair, likelihood=likelihood, seed=0)
        model.run_eagerly = True  # SciPy's log Γ takes numbers
        assert not {"pixels", "not_normalised", "likelihood"} & set(named(diagnose(model, counts)))
    assert "not integers" in named(diagnose(model, counts / 8.0))["likelihood"].message


@pytest.mark.usefixtures("without_graphs")
def test_the_mean_of_counts_has_their_dispersion(rng):
    x = rng.negative_binomial(2, 0.4, (100, 3)).astype("float32")
    family = distributions.NegativeBinomial(dispersion=None)
    model = kvae.VAE(*networks.mlp((3,), 1, hidden=(2,), likelihood=family), likelihood=family, seed=0)
    mean, alpha = x.mean(axis=0), (x.var(axis=0) - x.mean(axis=0)) / x.mean(axis=0) ** 2
    expected = nbinom.logpmf(x, 1 / alpha, 1 / (1 + alpha * mean)).sum(axis=1)
    np.testing.assert_allclose(figures_of(model, x).mean_image, expected, rtol=1e-3)


@pytest.mark.long
def test_a_table_is_not_called_an_image(rng):
    x = (rng.normal(size=(100, 6)) * [1, 10, 100, 1000, 0.01, 5]).astype("float32")
    pair = networks.mlp((6,), 2, hidden=(8,), likelihood="gaussian")
    model = kvae.VAE(*pair, likelihood="gaussian", beta=6.0, seed=0)
    said = [*diagnose(model, x), *diagnose(model, np.abs(x) * 1e-7), *diagnose(model, np.round(x > 0))]
    assert said[0].name == "columns"
    assert "standardise the columns" in said[0].advice
    assert "columns" not in named(diagnose(model, x / x.std(axis=0)))
    assert {"columns", "beta", "sigma", "likelihood", "nothing_learnt"} <= {finding.name for finding in said}
    for finding in said:
        assert not any(word in str(finding) for word in ("image", "pixel", "255", "grey")), finding
    with pytest.raises(ValueError, match=r"must hold values in \[0, 1\].*rescale"):
        diagnose(kvae.VAE(*networks.mlp((6,), 2, hidden=(8,)), seed=0), np.abs(x) / np.abs(x).max() * 100)


def test_weights_and_outputs_that_are_not_finite(digits, healthy):
    def spoil(kernel, bias):
        bias[0] = np.nan

    (finding,) = diagnose(change_posterior(healthy(), spoil), digits.x_test)
    assert finding.name == "not_finite"
    assert "NaN or infinity in 1 of the model's" in finding.message
    assert "posterior/bias" in finding.message
    model = healthy("gaussian", networks_of="gaussian")
    kernel, bias = model.decoder.layers[-2].get_weights()
    model.decoder.layers[-2].set_weights([kernel, np.full_like(bias, 3e38)])
    (finding,) = diagnose(model, digits.x_test[:50])
    assert finding.name == "not_finite"
    assert "ELBO of 50 of 50 images" in finding.message
