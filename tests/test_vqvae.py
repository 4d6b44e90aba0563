"""Vector quantization, VQ-VAEs and autoregressive priors, against NumPy, enumeration and finite differences."""

import itertools
import math

import keras
import numpy as np
import pytest
import scipy.special
from cases import QUICKLY, vqvae
from keras import ops
from sklearn.cluster import KMeans

import kvae
from kvae import evaluation
from kvae.cli import build
from kvae.cli import options as run_options
from kvae.evaluation.doctor import codebooks
from kvae.models.batches import Batch
from kvae.priors import Autoregressive
from kvae.quantization import Quantizer
from kvae.training.gradients import gradient


def numpy(tensor):
    return ops.convert_to_numpy(tensor)


def quantizer_of(codes, **kwargs):
    """A quantizer with given codes `(num_quantizers, num_codes, size)`, as after the first step."""
    quantizer = Quantizer(codes.shape[1], codes.shape[2], codes.shape[0], **{"restart": 0.0, **kwargs})
    quantizer.origin.assign(codes)
    quantizer.usage.assign(np.zeros(codes.shape[:2]))
    return quantizer


def by_hand(z, codes):
    """Indices, sums of codes and errors of residual quantization, by a loop over vectors `(n, size)`."""
    indices, vectors, errors = [], [], []
    for vector in z.astype("float64"):
        residual, chosen, error = vector.copy(), [], 0.0
        for codebook in codes.astype("float64"):
            chosen.append(int(np.argmin(((codebook - residual) ** 2).sum(axis=1))))
            residual -= codebook[chosen[-1]]
            error += (residual**2).sum()
        indices.append(chosen)
        vectors.append(vector - residual)
        errors.append(error)
    return np.array(indices), np.array(vectors), np.array(errors)


@pytest.mark.parametrize("num_quantizers", [1, 3])
def test_codes_are_the_nearest_of_what_is_left(rng, num_quantizers):
    codes = rng.normal(size=(num_quantizers, 5, 2)).astype("float32")
    z = rng.normal(size=(4, 3, 2)).astype("float32")
    quantizer = quantizer_of(codes)
    quantized = quantizer(z)
    indices, vectors, errors = by_hand(z.reshape(-1, 2), codes)
    np.testing.assert_array_equal(numpy(quantized.indices), indices.reshape(4, 3, num_quantizers))
    np.testing.assert_allclose(numpy(quantized.vectors), vectors.reshape(4, 3, 2), atol=1e-5)
    np.testing.assert_allclose(numpy(quantizer.vectors(quantized.indices)), vectors.reshape(4, 3, 2), atol=1e-5)
    for loss in (quantized.codebook_loss, quantized.commitment_loss):
        np.testing.assert_allclose(numpy(loss), errors.reshape(4, 3).sum(axis=1), rtol=1e-4)
    shares = np.stack([np.bincount(column, minlength=5) / 12 for column in indices.T])
    assert float(quantized.perplexity) == pytest.approx(np.exp(scipy.special.entr(shares).sum(axis=1)).mean(), rel=1e-5)
    np.testing.assert_allclose(codebooks.perplexities(shares), np.exp(scipy.special.entr(shares).sum(axis=1)))


def test_gradients_pass_straight_through_and_each_loss_trains_its_side(rng):
    codes, z = rng.normal(size=(1, 5, 2)).astype("float32"), rng.normal(size=(6, 2)).astype("float32")
    weights = rng.normal(size=(6, 2)).astype("float32")
    quantizer = quantizer_of(codes)
    indices, vectors, _ = by_hand(z, codes)
    gradients = [
        numpy(gradient(lambda z, pick=pick: ops.sum(ops.multiply(pick(quantizer(z)), weights[:, 0])), z)[1])
        for pick in (
            lambda q: q.vectors[:, 0],
            lambda q: q.commitment_loss,
            lambda q: q.codebook_loss + 0.0 * q.vectors[:, 0],
        )
    ]
    np.testing.assert_allclose(gradients[0], np.stack([weights[:, 0], 0 * weights[:, 0]], axis=1))
    np.testing.assert_allclose(gradients[1], 2 * weights[:, :1] * (z - vectors), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(gradients[2], 0.0)
    model = keras.Sequential([keras.Input((2,)), _Codebook(quantizer)])
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss=lambda y, loss: loss, **QUICKLY)
    model.fit(z, np.zeros(6), batch_size=6, verbose=0)
    expected = codes[0].astype("float64").copy()
    for i, vector in zip(indices[:, 0], z, strict=True):
        expected[i] -= 0.1 * 2 * (codes[0, i] - vector) / 6
    np.testing.assert_allclose(numpy(quantizer.codebook)[0], expected, rtol=1e-4, atol=1e-5)


class _Codebook(keras.layers.Layer):
    """The losses of a quantizer, as a model's output: only that of the codebook trains the codes."""

    def __init__(self, quantizer):
        super().__init__()
        self.quantizer = quantizer

    def call(self, z):
        quantized = self.quantizer(z, seed=0)
        return quantized.codebook_loss + quantized.commitment_loss


def test_moving_averages_are_numpys(rng):
    codes, decay = rng.normal(size=(1, 4, 2)).astype("float32"), 0.7
    quantizer = quantizer_of(codes, codebook="moving_average", decay=decay)
    usage, counts, sums, now = np.zeros(4), np.zeros(4), np.zeros((4, 2)), codes[0].astype("float64")
    keep = np.exp(-8 / (3 * 4))  # vectors in a batch, three choices per code
    for _ in range(3):
        z = rng.normal(size=(8, 2)).astype("float32")
        quantizer(z, training=True, seed=0)
        chosen = by_hand(z, now[None])[0][:, 0]
        one_hot = np.eye(4)[chosen]
        usage, counts = (a * old + (1 - a) * one_hot.mean(axis=0) for a, old in ((keep, usage), (decay, counts)))
        sums = decay * sums + (1 - decay) * one_hot.T @ z / 8
        now = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1e-9)[:, None], now)
        np.testing.assert_allclose(numpy(quantizer.usage)[0], usage, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(numpy(quantizer.codebook)[0], now, rtol=1e-4, atol=1e-5)
    quantizer(z)  # not in training
    np.testing.assert_allclose(numpy(quantizer.codebook)[0], now, rtol=1e-4, atol=1e-5)


KINDS = pytest.mark.parametrize("codebook", ["gradient", "moving_average"])


@KINDS
@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_codes_are_different_vectors_of_the_first_batch(rng, codebook, scale):
    quantizer = Quantizer(64, 2, codebook=codebook, restart=0.0)
    z = (scale * rng.normal(size=(64, 2))).astype("float32")
    for seed in (1, 2):  # without restarts, the second step changes nothing
        quantized = quantizer(z, training=True, seed=seed)
        np.testing.assert_array_equal(np.sort(numpy(quantized.indices)[:, 0]), np.arange(64))
        assert (numpy(quantized.indices)[:, 0] != np.arange(64)).any()  # in random order
        np.testing.assert_allclose(numpy(quantizer.vectors(quantized.indices)), z, rtol=1e-5)
    few = Quantizer(8, 2, codebook=codebook, restart=0.0)  # fewer vectors than codes
    few(z[:3], training=True, seed=1)
    assert len(np.unique(np.round(numpy(few.codebook)[0] / scale, 3), axis=0)) == 3


@KINDS
def test_dead_codes_become_vectors_of_the_batch(rng, codebook):
    z = rng.normal(size=(64, 2)).astype("float32")
    codes = np.concatenate([np.zeros((1, 2)), np.full((3, 2), 100.0)]).astype("float32")
    quantizer = quantizer_of(codes[None], codebook=codebook, decay=0.5, restart=0.5)
    before = np.array([0.7, 0.1, 0.1, 0.1], "float32")
    quantizer.usage.assign(before[None])
    if codebook == "gradient":  # which an optimizer has trained
        moved = rng.normal(size=(1, 4, 2)).astype("float32")
        quantizer.moved.assign(moved)
        quantizer.origin.assign(codes - moved)
    indices = numpy(quantizer(z, training=True, seed=3).indices)[:, 0]
    now, dead = numpy(quantizer.codebook)[0], before < 0.5 / 4
    keep, share = np.exp(-64 / (3 * 4)), np.bincount(indices, minlength=4) / 64
    expected = keep * np.where(dead, 0.5 / 4, before) + (1 - keep) * share  # restarted at the limit: no time is given
    np.testing.assert_allclose(numpy(quantizer.usage)[0], expected, rtol=1e-4)
    if codebook == "gradient":
        distances = np.abs(z[:, None] - now).sum(axis=-1)
        assert (distances.min(axis=0)[dead] < 1e-6).all()
        assert len(set(distances.argmin(axis=0)[dead])) == 3
        np.testing.assert_allclose(now[0], codes[0], atol=1e-5)
    else:  # half of a fair share for the random vector, and the vectors that chose it
        means = np.stack([z[indices == code].mean(axis=0) for code in range(4)])
        weight = share[dead, None] / (share[dead, None] + 0.5 / 4)
        drawn = (now[dead] - weight * means[dead]) / (1 - weight)
        assert (np.abs(z[:, None] - drawn).sum(axis=-1).min(axis=0) < 1e-4).all()


@KINDS
@pytest.mark.parametrize("scale", [1e-2, 1e2])
def test_codes_follow_an_encoder_that_moves_faster_than_they_do(rng, codebook, scale):
    quantizer = Quantizer(16, 3, num_quantizers=2, codebook=codebook)
    for step in range(12):
        z = scale * (rng.normal(size=(128, 3)) + 0.7 * step)
        quantizer(z.astype("float32"), training=True, seed=step)
    quantized = quantizer((scale * (rng.normal(size=(512, 3)) + 0.7 * step)).astype("float32"))
    assert float(quantized.perplexity) > 8.0  # half of the codebooks


def every_code(shape, num_codes):
    codes = itertools.product(range(num_codes), repeat=math.prod(shape))
    return np.array(list(codes)).reshape(-1, *shape)


@pytest.fixture
def prior():
    """An autoregressive prior with large weights, over six codes in two rows."""
    keras.utils.set_random_seed(1)
    prior = Autoregressive((2, 3, 1), 2, hidden=6, num_blocks=1)
    prior.set_weights([3.0 * weight for weight in prior.get_weights()])
    return prior


@pytest.mark.parametrize("shape", [(2, 3, 1), (3, 2), (4,)])
def test_an_autoregressive_prior_sees_what_comes_before_alone_and_sums_to_one(shape):
    keras.utils.set_random_seed(0)
    prior = Autoregressive(shape, 2, hidden=6, num_blocks=2)
    prior.set_weights([3.0 * weight for weight in prior.get_weights()])
    codes = every_code(shape, 2)
    log_prob = numpy(prior.log_prob(codes, (), None)).astype("float64")
    assert scipy.special.logsumexp(log_prob) == pytest.approx(0.0, abs=1e-4)
    size = math.prod(shape)
    logits = numpy(prior.logits(codes)).reshape(-1, size, 2)
    flat = codes.reshape(-1, size)
    for place in range(size):
        same = (flat[:, :place] == 0).all(axis=1)  # whatever comes from this place on
        assert np.ptp(logits[same, place], axis=0).max() < 1e-5
        if place:
            assert np.ptp(logits[:, place], axis=0).max() > 1e-3
    first = flat.copy()  # the last place sees the first: there is no blind spot
    first[:, 0] = 1 - first[:, 0]
    changed = numpy(prior.logits(first.reshape(codes.shape))).reshape(-1, size, 2)
    assert np.abs(changed[:, -1] - logits[:, -1]).max() > 1e-5


@pytest.mark.long
def test_draws_have_the_probabilities_of_the_prior(prior):
    codes = every_code((2, 3, 1), 2)
    logits = scipy.special.log_softmax(numpy(prior.logits(codes)).astype("float64") / 0.5, axis=-1)
    expected = np.exp(np.take_along_axis(logits, codes[..., None], axis=-1).sum(axis=(1, 2, 3, 4)))
    drawn = numpy(prior.sample(1500, (), 3, temperature=0.5)).reshape(-1, 6) @ 2 ** np.arange(6)[::-1]
    found = np.bincount(drawn, minlength=64) / 1500
    error = np.sqrt(expected * (1 - expected) / 1500)
    assert (np.abs(found - expected) < 4.5 * error + 1e-3).all()
    np.testing.assert_array_equal(numpy(prior.sample(5, (), 3)), numpy(prior.sample(5, (), 3)))
    greedy = numpy(prior.sample(4, (), 0, temperature=0))
    np.testing.assert_array_equal(greedy, greedy[:1].repeat(4, axis=0))


@pytest.fixture(scope="module")
def trained():
    """A VQ-VAE of digits, its images, and the same model with a prior over its codes."""
    x = kvae.load_data("digits").x_train[:256]
    keras.utils.set_random_seed(0)
    model = vqvae(kvae.networks.grid((8, 8, 1), 4, hidden=(8, 8), num_blocks=0))
    model.compile(optimizer=keras.optimizers.Adam(1e-2))
    model.fit(x, batch_size=64, epochs=10, verbose=0)
    settings = {"hidden": 8, "num_blocks": 1, "batch_size": 64, "epochs": 10, "learning_rate": 1e-2}
    return model, x, kvae.priors.fit(model, x, "autoregressive", **settings)


@KINDS
def test_the_loss_is_the_sum_of_its_terms(rng, codebook):
    model = vqvae(codebook=codebook, commitment=0.5)
    x = rng.random((3, 8, 8, 1)).astype("float32")
    model.quantizer.origin.assign(rng.normal(size=(1, 8, 4)))
    errors = ((numpy(model.encoder(x)) - model.code_vectors(x)) ** 2).sum(axis=(1, 2, 3))
    means = model.reconstruct(x).astype("float64")
    cross_entropy = -(x * np.log(means) + (1 - x) * np.log1p(-means)).sum(axis=(1, 2, 3))
    result = model.run_batch(Batch(ops.convert_to_tensor(x)), training=False)
    expected = {
        "reconstruction_loss": cross_entropy,
        "quantization_loss": errors * (1.5 if codebook == "gradient" else 0.5),
    }
    for name, loss in zip(expected, result.losses, strict=True):
        np.testing.assert_allclose(numpy(loss), expected[name], rtol=1e-4)
        np.testing.assert_array_equal(numpy(result.terms[name]), numpy(loss))


@pytest.mark.long
def test_a_model_without_a_prior_says_so(trained):
    model, x, _ = trained
    for method in (model.elbo, model.elbo_terms):
        with pytest.raises(ValueError, match=r"`elbo` needs a prior over the codes: use .*priors\.fit"):
            method(x[:3])
    with pytest.raises(ValueError, match=r"`generate` needs a prior over the codes"):
        model.generate(3)
    with pytest.raises(ValueError, match=r"`model` must have densities.*Received: VQVAE"):
        evaluation.log_likelihood(model, x[:3])


@pytest.mark.long
def test_a_fitted_prior_generates_and_bounds_the_likelihood(trained):
    model, x, fitted = trained
    assert type(fitted) is kvae.VQVAE
    np.testing.assert_array_equal(fitted.encode(x[:5]), model.encode(x[:5]))
    np.testing.assert_array_equal(fitted.generate(4, seed=0), fitted.generate(4, seed=0))
    assert fitted.sample_prior(4, seed=0).shape == (4, *model.code_shape)
    log_likelihood, kl = fitted.elbo_terms(x)
    assert (kl > 0).all()
    assert kl.mean() < 4 * np.log(8)  # of uniform codes
    np.testing.assert_allclose(fitted.elbo(x), log_likelihood - kl, rtol=1e-5)
    np.testing.assert_allclose(model.energy(x), -log_likelihood, rtol=1e-5)
    # log p(x) = log Σ_c p(c) p(x|c) over all 8⁴ codes
    codes = every_code(model.code_shape, 8)
    means = np.clip(fitted.decode(codes), 1e-7, 1 - 1e-7).reshape(len(codes), -1).astype("float64")
    log_prior = np.concatenate([numpy(fitted.prior.log_prob(part, (), None)) for part in np.split(codes, 4)])
    few = x[:8].reshape(8, -1)
    log_joint = log_prior[:, None] + np.log(means) @ few.T + np.log1p(-means) @ (1 - few).T
    exact = scipy.special.logsumexp(log_joint, axis=0)
    assert (fitted.elbo(x[:8]) <= exact + 1e-2).all()
    assert np.mean(exact - fitted.elbo(x[:8])) < 10.0
    with pytest.raises(ValueError, match=r"`model` must have no prior yet"):
        kvae.priors.fit(fitted, x, "autoregressive")


@pytest.mark.long
def test_the_doctor_reports_codes_that_are_never_chosen(trained):
    model, x, _ = trained
    usage = model.code_usage(x)
    np.testing.assert_allclose(usage.sum(axis=1), 1.0)
    assert [usage[0, code] for code in range(8)] == [np.mean(model.encode(x) == code) for code in range(8)]
    other = vqvae(kvae.networks.grid((8, 8, 1), 4, hidden=(8, 8), num_blocks=0))
    other.set_weights(model.get_weights())
    other.run_eagerly = True
    vectors = numpy(model.encoder(x)).reshape(-1, 4)

    def with_codes(codes):
        other.quantizer.origin.assign(codes[None].astype("float32") - numpy(other.quantizer.moved))
        return other

    assert codebooks.perplexities(usage).min() >= 4.0  # half the codebook, after 40 steps
    assert [finding.name for finding in evaluation.diagnose(model, x)] == ["healthy"]
    even = KMeans(8, n_init=1, random_state=0).fit(vectors).cluster_centers_
    assert [finding.name for finding in evaluation.diagnose(with_codes(even), x)] == ["healthy"]
    assert codebooks.perplexities(other.code_usage(x)).min() >= 4.0  # half the codebook
    few = np.full((8, 4), 1e3)
    few[:2] = KMeans(2, n_init=1, random_state=0).fit(vectors[::4]).cluster_centers_  # at one place
    (finding,) = evaluation.diagnose(with_codes(few), x)
    assert (finding.name, finding.severity) == ("dead_codes", "warning")
    assert "6 of 8 codes are never chosen" in finding.message
    few[1] = 2e3
    assert [finding.name for finding in evaluation.diagnose(with_codes(few), x)] == ["collapse"]
    with pytest.raises(ValueError, match=r"codes that differ between examples.*the same codes for all 256"):
        kvae.priors.fit(other, x, "autoregressive")


def other_depth():
    return kvae.networks.grid((8, 8, 1), 4, hidden=(4,))[0], kvae.networks.grid((8, 8, 1), 3, hidden=(4,))[1]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda: Quantizer(1, 2), "`num_codes` must be at least 2: a single code carries no information. Received: 1"),
        (lambda: Quantizer(4, 2, 10**9), "`num_quantizers` must be at most 64. Received: 1000000000"),
        (lambda: Autoregressive((2, 1), 4, 4, 10**9), "`num_blocks` and the number of quantizers must be at most 64"),
        (lambda: Quantizer(2.5, 2), "`num_codes` must be an integer of at least 1. Received: 2.5"),
        (lambda: Quantizer(4, 2, codebook="kmeans"), "`codebook` must be one of .* Received: 'kmeans'"),
        (lambda: Quantizer(4, 2, decay=1.0), "`decay` must be a finite number of at least 0 and below 1"),
        (lambda: kvae.VQVAE(*other_depth()), r"the decoder takes codes of shape \(4, 4, 3\), so the encoder must give"),
        (lambda: vqvae(prior="standard"), "`prior` must be None or a kvae.priors.Autoregressive"),
        (lambda: vqvae(prior=Autoregressive((3, 3, 1), 8, 4, 1)), r"`prior` must be one of codes of shape \(2, 2, 1\)"),
        (lambda: vqvae().decode(np.full((1, 2, 2, 1), 8)), "integers in 0..7, .* Received: values from 8 to 8"),
        (lambda: vqvae().decode(np.full((1, 2, 2, 1), 0.5)), "integers in 0..7, .* Received: other numbers, values"),
        (lambda: vqvae().decode(np.zeros((1, 2, 2))), r"`z` must have shape \(n, 2, 2, 1\)"),
        (lambda: Autoregressive((2, 2, 2, 1), 8), "`code_shape` must be"),
        (lambda: kvae.priors.fit(kvae.VAE(*kvae.networks.mlp((4,), 2)), np.ones((3, 4)), "autoregressive"), "discrete"),
        (
            lambda: kvae.priors.fit(vqvae(), np.ones((3, 8, 8, 1)), "flow"),
            '`prior` must be "autoregressive" for discrete',
        ),
        (
            lambda: kvae.VAE(*kvae.networks.mlp((4,), 2), prior=Autoregressive((2, 1), 4, 4, 1)),
            "`prior` must be of another kind",
        ),
        (lambda: kvae.networks.grid((8,), 2), "`image_shape` must be"),
    ],
)
def test_bad_input_is_one_line(given, message):
    with pytest.raises(ValueError, match=message) as error:
        given()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("size", [(8, 8, 1), (9, 7, 3)])
def test_a_grid_is_of_any_size(size):
    encoder, decoder = kvae.networks.grid(size, 5, hidden=(4, 6), num_blocks=1, likelihood="gaussian")
    assert encoder.output_shape == (None, -(-size[0] // 4), -(-size[1] // 4), 5)
    assert decoder.output_shape == (None, *size)


@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_options_become_the_model(digits, network):
    given = {"model": "vqvae", "network": network, "num_codes": 16, "num_quantizers": 2, "latent_dim": 3, "hidden": [4]}
    model = build.build(run_options.complete({**given, "codebook": "moving_average"}), digits)
    assert model.code_shape == ((8, 2) if network == "mlp" else (4, 4, 2))
    assert model.num_codes == 16
    with pytest.raises(ValueError, match="`num_codes` requires model=vqvae"):
        run_options.complete({"num_codes": 16})
