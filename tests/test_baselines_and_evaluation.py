"""Baselines, label agreement and errors, compared with NumPy and scikit-learn."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn.svm import SVC

import kvae
from kvae.evaluation import LabelJudge, label_agreement, reconstruction_mse


def test_pca_is_the_truncated_svd(digits):
    x = digits.x_train
    pca = kvae.baselines.PCA(3).fit(x)
    flat = x.reshape(len(x), -1)
    centred = flat - flat.mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    expected = centred @ directions[:3].T @ directions[:3] + flat.mean(axis=0)
    np.testing.assert_allclose(pca.reconstruct(x).reshape(len(x), -1), expected, atol=1e-4)
    np.testing.assert_allclose(pca.decode(pca.encode(x)), pca.reconstruct(x))
    np.testing.assert_allclose(pca.components @ pca.components.T, np.eye(3), atol=1e-5)


def test_pca_samples_have_the_components_variances(digits):
    pca = kvae.baselines.PCA(3).fit(digits.x_train)
    z = pca.sample_prior(20_000, seed=0)
    np.testing.assert_allclose(z.var(axis=0), pca.encode(digits.x_train).var(axis=0), rtol=0.05)
    assert pca.sample(4, seed=0).shape == (4, 8, 8, 1)
    np.testing.assert_array_equal(pca.sample(4, seed=0), pca.sample(4, seed=0))


def test_pca_refuses_what_does_not_fit(digits):
    pca = kvae.baselines.PCA(2).fit(digits.x_train)
    with pytest.raises(ValueError, match=r"`x` must have shape \(n, 8, 8, 1\): add the channel axis"):
        pca.encode(digits.x_test[..., 0])
    with pytest.raises(ValueError, match=r"`z` must have shape \(n, 2\)"):
        pca.decode(np.zeros((1, 3)))
    with pytest.raises(ValueError, match="`latent_dim` must be an integer of at least 1"):
        kvae.baselines.PCA(0)


BASELINES = {
    "pca": lambda: kvae.baselines.PCA(3),
    "kmeans": lambda: kvae.baselines.KMeans(3),
    "gmm": lambda: kvae.baselines.GMM(3, "diag"),
    "sparse-coding": lambda: kvae.baselines.SparseCoding(3),
}


@pytest.mark.parametrize("build", BASELINES.values(), ids=BASELINES)
def test_baselines_have_the_verbs_and_keep_image_shapes(digits, build):
    x = digits.x_test[:40]
    baseline = build()
    assert baseline.fit(x) is baseline
    assert baseline.components.shape == (3, 64)
    assert baseline.encode(x).shape == (40, 3)
    assert baseline.decode(baseline.encode(x)).shape == (40, 8, 8, 1)
    np.testing.assert_allclose(baseline.reconstruct(x), baseline.decode(baseline.encode(x)))
    assert baseline.energy(x).shape == (40,)
    np.testing.assert_allclose(baseline.energy(x[5:7]), baseline.energy(x)[5:7], rtol=1e-4)


@pytest.mark.parametrize("build", BASELINES.values(), ids=BASELINES)
def test_baselines_refuse_what_does_not_fit(digits, build):
    x = digits.x_test[:40]
    baseline = build()
    for verb in (baseline.encode, baseline.energy, baseline.reconstruct, lambda x: baseline.decode(np.zeros((1, 3)))):
        with pytest.raises(ValueError, match=r"must be fitted first: call fit\(x\)"):
            verb(x)
    with pytest.raises(ValueError, match="`x` must be finite"):
        baseline.fit(np.full_like(x, np.nan))
    baseline.fit(x)
    for verb in (baseline.encode, baseline.energy):
        with pytest.raises(ValueError, match=r"`x` must have shape \(n, 8, 8, 1\)"):
            verb(x[:, :4])
    with pytest.raises(ValueError, match=r"`z` must have shape \(n, 3\)"):
        baseline.decode(np.zeros((1, 2)))
    with pytest.raises(ValueError, match="`latent_dim` must be an integer of at least 1"):
        type(baseline)(0)


def test_pca_energy_is_the_squared_distance_to_the_plane(digits):
    x = digits.x_test.reshape(-1, 64).astype("float64")
    pca = kvae.baselines.PCA(3).fit(digits.x_train)
    centred = x - digits.x_train.reshape(-1, 64).mean(axis=0)
    projector = pca.components.T @ pca.components
    expected = np.square(centred @ projector - centred).sum(axis=1)
    np.testing.assert_allclose(pca.energy(digits.x_test), expected, rtol=1e-4)


def test_kmeans_energy_is_the_squared_distance_to_the_nearest_centre(digits):
    kmeans = kvae.baselines.KMeans(7).fit(digits.x_train)
    distances = cdist(digits.x_test.reshape(-1, 64), kmeans.components, "sqeuclidean")
    np.testing.assert_allclose(kmeans.energy(digits.x_test), distances.min(axis=1), rtol=1e-4)
    codes = kmeans.encode(digits.x_test)
    assert set(np.unique(codes)) == {0, 1}
    np.testing.assert_array_equal(codes.argmax(axis=1), distances.argmin(axis=1))
    np.testing.assert_array_equal(codes.sum(axis=1), 1)


@pytest.mark.parametrize("covariance", ["full", "diag"])
def test_gmm_energy_is_scipys_mixture(covariance):
    x = kvae.toy.moons(300, seed=0)
    gmm = kvae.baselines.GMM(4, covariance).fit(x)
    fitted = gmm._estimator
    log_terms = np.stack(
        [
            np.log(weight) + multivariate_normal.logpdf(x, mean, np.diag(cov) if cov.ndim == 1 else cov)
            for weight, mean, cov in zip(fitted.weights_, fitted.means_, fitted.covariances_, strict=True)
        ],
        axis=1,
    )
    log_px = logsumexp(log_terms, axis=1)
    np.testing.assert_allclose(gmm.energy(x), -log_px, rtol=1e-6)
    responsibilities = np.exp(log_terms - log_px[:, None])
    np.testing.assert_allclose(gmm.encode(x), responsibilities, atol=1e-6)
    np.testing.assert_allclose(gmm.reconstruct(x), responsibilities @ fitted.means_, atol=1e-6)


def test_gmm_samples_have_the_mixtures_moments():
    x = kvae.toy.moons(300, seed=0)
    gmm = kvae.baselines.GMM(4).fit(x)
    samples = gmm.sample(20_000, seed=0)
    np.testing.assert_allclose(
        samples.mean(axis=0), x.mean(axis=0), atol=0.03
    )  # EM preserves the first two moments of the data
    np.testing.assert_allclose(np.cov(samples.T), np.cov(x.T), atol=0.04)
    np.testing.assert_array_equal(gmm.sample(5, seed=1), gmm.sample(5, seed=1))
    assert not np.array_equal(gmm.sample(5, seed=1), gmm.sample(5, seed=2))


@pytest.mark.long
def test_sparse_coding_finds_the_code_that_minimises_its_energy(digits):
    coding = kvae.baselines.SparseCoding(20, sparsity=0.5).fit(digits.x_train[:300])
    x, w = digits.x_test[:50].reshape(-1, 64).astype("float64"), coding.components
    z = coding.encode(digits.x_test[:50])
    assert (np.linalg.norm(w, axis=1) < 1 + 1e-5).all()

    def formula(z):
        return np.square(x - z @ w).sum(axis=1) + 0.5 * np.abs(z).sum(axis=1)

    np.testing.assert_allclose(coding.energy(digits.x_test[:50]), formula(z), rtol=1e-4)
    # Optimality conditions of the convex problem: ∂‖x − zW‖²/∂z = −λ sign(z) where z ≠ 0, within ±λ elsewhere.
    gradient = 2 * (z @ w - x) @ w.T
    np.testing.assert_allclose(gradient[z != 0], -0.5 * np.sign(z[z != 0]), atol=1e-5)
    assert np.abs(gradient[z == 0]).max() < 0.5 + 1e-5
    assert 0.05 < np.mean(z != 0) < 0.7
    denser = kvae.baselines.SparseCoding(20, sparsity=0.05).fit(digits.x_train[:300])
    assert np.mean(denser.encode(digits.x_test[:50]) != 0) > np.mean(z != 0)
    for sparsity in (0, -1, np.nan, "a"):
        with pytest.raises(ValueError, match="`sparsity` must be a finite number above 0"):
            kvae.baselines.SparseCoding(2, sparsity)


def test_reconstruction_mse(rng):
    x, y = rng.random((3, 4, 4, 1)), rng.random((3, 4, 4, 1))
    assert reconstruction_mse(x, y) == pytest.approx(((x - y) ** 2).mean())
    many = np.repeat(x, 500, axis=0)  # more than one slice
    assert reconstruction_mse(many, np.repeat(y, 500, axis=0)) == pytest.approx(((x - y) ** 2).mean())
    with pytest.raises(ValueError, match="must have the shape of `x`"):
        reconstruction_mse(x, y[:1])


def test_the_judge_is_an_svc(digits):
    judge = LabelJudge(digits.x_train, digits.y_train)
    svc = SVC().fit(digits.x_train.reshape(-1, 64), digits.y_train)
    expected = svc.score(digits.x_test.reshape(-1, 64), digits.y_test)
    assert judge.agreement(digits.x_test, digits.y_test) == pytest.approx(expected)
    assert judge.agreement(digits.x_test, (digits.y_test + 1) % 10) < 0.05


def test_label_agreement_counts_what_the_judge_recognises(digits):
    judge = LabelJudge(digits.x_train, digits.y_train)
    seen = judge._classifier.predict(digits.x_train.reshape(-1, 64))

    class Parrot:
        """Returns real digits that the judge classifies correctly, but always an 8 in place of a 3."""

        num_classes = 10

        def generate(self, labels, seed):
            wanted = np.where(labels == 3, 8, labels)
            return digits.x_train[[np.flatnonzero(seen == label)[0] for label in wanted]]

    assert label_agreement(Parrot(), judge, per_class=5) == pytest.approx(0.9)


def test_a_large_training_set_is_sampled(digits):
    judge = LabelJudge(digits.x_train, digits.y_train, max_examples=200)
    assert judge._classifier.shape_fit_ == (200, 64)
    assert judge.agreement(digits.x_test, digits.y_test) > 0.85
    order = np.argsort(digits.y_train)  # from all classes, also of sorted data
    judge = LabelJudge(digits.x_train[order], digits.y_train[order], max_examples=200)
    assert judge.agreement(digits.x_test, digits.y_test) > 0.85


def test_mode_coverage_wants_a_sample_near_every_mode(rng):
    modes = rng.normal(size=(2, 3, 4, 2))
    near = modes + 0.4 * modes[::-1] * np.linalg.norm(modes, axis=(2, 3), keepdims=True) / np.linalg.norm(
        modes[::-1], axis=(2, 3), keepdims=True
    )  # at 0.4 of each mode's norm
    near[1, 2] = near[0, 2]  # of the last question, only one answer is found
    samples = np.concatenate([near, np.zeros((1, 3, 4, 2))])
    assert kvae.evaluation.mode_coverage(samples, modes) == pytest.approx(2 / 3)
    assert kvae.evaluation.mode_coverage(samples, modes, tolerance=0.39) == 0.0


@pytest.mark.parametrize("shapes", [((2, 3, 4), (2, 4, 4)), ((3, 4), (3, 4)), ((2, 3, 4), (2, 3, 5))])
def test_mode_coverage_wants_answers_to_the_same_questions(shapes):
    with pytest.raises(ValueError, match=r"\(modes, n, \*shape\)\. Received: \("):
        kvae.evaluation.mode_coverage(*map(np.ones, shapes))
