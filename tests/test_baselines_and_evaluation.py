"""PCA, label agreement and errors against NumPy and scikit-learn."""

import numpy as np
import pytest
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


def test_reconstruction_mse(rng):
    x, y = rng.random((3, 4, 4, 1)), rng.random((3, 4, 4, 1))
    assert reconstruction_mse(x, y) == pytest.approx(((x - y) ** 2).mean())


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
        """Answers with real digits that the judge reads right, but always with an 8 for a 3."""

        num_classes = 10

        def generate(self, labels, seed):
            wanted = np.where(labels == 3, 8, labels)
            return digits.x_train[[np.flatnonzero(seen == label)[0] for label in wanted]]

    assert label_agreement(Parrot(), judge, per_class=5) == pytest.approx(0.9)


def test_a_large_training_set_is_sampled(digits):
    judge = LabelJudge(digits.x_train, digits.y_train, max_examples=200)
    assert judge._classifier.shape_fit_ == (200, 64)
    assert judge.agreement(digits.x_test, digits.y_test) > 0.85
