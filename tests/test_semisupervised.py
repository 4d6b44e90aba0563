"""Learning from few labels: batches with a fixed labelled share, and the bounds with and without a label."""

import keras
import numpy as np
import pytest
from cases import QUICKLY, auxiliary, semisupervised
from keras import ops
from scipy import special
from sklearn.semi_supervised import LabelSpreading

import kvae
from kvae.data import few_labels
from kvae.layers import JoinedDense
from kvae.models.batches import Batch
from kvae.training import orders


def images(n, seed=0):
    return np.random.default_rng(seed).random((n, 8, 8, 1), dtype="float32")


# Labels


def test_few_labels_keeps_as_many_of_each_class(digits):
    y = few_labels(digits.y_train, per_class=5, seed=0)
    known = y >= 0
    np.testing.assert_array_equal(np.bincount(y[known]), [5] * 10)
    np.testing.assert_array_equal(y[known], digits.y_train[known])
    np.testing.assert_array_equal(y, few_labels(digits.y_train, per_class=5, seed=0))
    assert (y != few_labels(digits.y_train, per_class=5, seed=1)).any()


@pytest.mark.parametrize(
    ("y", "per_class", "message"),
    [
        ([0, 1, 1], 2, "at most the number of examples of the smallest class, 1 of class 0. Received: 2"),
        ([0, -1], 1, "at least 0"),
        ([0.0, 1.0], 1, "must be integers"),
        ([[0], [1]], 1, "must be integers"),
        ([0, 1], 0, "per_class"),
    ],
)
def test_few_labels_refuses(y, per_class, message):
    with pytest.raises(ValueError, match=message):
        few_labels(y, per_class)


# The order of an epoch


@pytest.mark.parametrize(
    ("n", "few", "batch", "share"), [(103, 7, 10, 0.5), (100, 1, 8, 0.01), (50, 40, 10, 0.3), (64, 16, 2, 0.9)]
)
def test_every_batch_has_its_share_and_every_other_row_comes_once(n, few, batch, share):
    chosen = np.random.default_rng(0).permutation(n) < few
    order = orders.mixed(chosen, batch, share)
    rows, again, other = (order.draw(np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert len(rows) == order.length
    np.testing.assert_array_equal(rows, again)
    assert (rows != other).any()
    np.testing.assert_array_equal(np.sort(rows[~chosen[rows]]), np.flatnonzero(~chosen))
    counts = np.bincount(rows, minlength=n)[chosen]
    assert counts.max() - counts.min() <= 1  # in rounds
    expected = np.clip(round(max(share, few / n) * batch), 1, batch - 1)
    full = rows[: len(rows) // batch * batch].reshape(-1, batch)
    sizes = chosen[full[:-1]].sum(axis=1)
    np.testing.assert_array_equal(sizes, expected)


def test_without_two_kinds_of_rows_the_order_is_a_permutation():
    for chosen in (np.zeros(9, bool), np.ones(9, bool)):
        np.testing.assert_array_equal(
            np.sort(orders.mixed(chosen, 4, 0.5).draw(np.random.default_rng(0))), np.arange(9)
        )


@pytest.mark.long
def test_fit_sees_the_share_in_every_step():
    """The compiled default way of feeding arrays: 6 labelled of 60 images are half of each batch."""
    model = semisupervised()
    model.compile(optimizer="adam")
    y = np.full(60, -1)
    y[::10] = np.arange(6) % 3
    x = images(60)
    x[y < 0] = np.round(x[y < 0])  # so that the reconstruction error differs
    history = model.fit(x, y, batch_size=12, epochs=2, verbose=0).history
    tracker = next(each for each in model.term_trackers if each.name == "accuracy")
    assert float(ops.convert_to_numpy(tracker.count)) == 54  # 54 unlabelled images, 6 a batch, 6 labelled beside them
    assert all(np.isfinite(values).all() for values in history.values())


# The bounds


@pytest.fixture(scope="module", params=["mlp", "conv"])
def model(request):
    """One whose encoder takes each image once, for its `JoinedDense`, and one whose encoder takes it once per class."""
    return semisupervised(request.param, alpha=0.7)


def test_the_loss_is_the_papers(model):
    """Equations 6 to 9, from the CVAE's bound of each image and class, with the sum over classes by hand."""
    x, y = images(5), np.array([2, -1, 0, -1, -1])
    start = ops.convert_to_numpy(model.seed_generator.state)
    result = model.run_batch(Batch(ops.convert_to_tensor(x), ops.convert_to_tensor(y)), training=False)
    model.seed_generator.state.assign(start)
    pairs = kvae.CVAE.run_batch(model, model._pairs(ops.convert_to_tensor(x)), training=False)  # the same noise
    log_q = special.log_softmax(ops.convert_to_numpy(model.classifier(x)).astype("float64"), axis=1)
    bound = sum(ops.convert_to_numpy(loss).astype("float64") for loss in pairs.losses).reshape(5, 3) - np.log(1 / 3)
    labelled = bound[np.arange(5), y]
    unlabelled = np.sum(np.exp(log_q) * (bound + log_q), axis=1)
    expected = np.where(y >= 0, labelled, unlabelled)
    np.testing.assert_allclose(ops.convert_to_numpy(result.losses[0]), expected, rtol=1e-5)
    cross_entropy = np.where(y >= 0, -log_q[np.arange(5), y], 0.0)
    np.testing.assert_allclose(ops.convert_to_numpy(result.losses[1]), 0.7 * 5 / 2 * cross_entropy, rtol=1e-5)
    np.testing.assert_allclose(ops.convert_to_numpy(result.terms["elbo"]), -expected, rtol=1e-5)
    np.testing.assert_allclose(ops.convert_to_numpy(result.terms["unlabelled_elbo"]), -unlabelled, rtol=1e-5)
    values, counted = map(ops.convert_to_numpy, result.terms["labelled_elbo"])
    np.testing.assert_array_equal(counted, y >= 0)
    np.testing.assert_allclose(values[y >= 0], -labelled[y >= 0], rtol=1e-5)
    chosen = np.where(y >= 0, y, log_q.argmax(axis=1))
    np.testing.assert_allclose(
        ops.convert_to_numpy(result.reconstruction),
        ops.convert_to_numpy(pairs.reconstruction).reshape(5, 3, 8, 8, 1)[np.arange(5), chosen],
        rtol=1e-5,
    )


# Of the auxiliary one: q(y|a, x), q(z|a, x, y), p(a|x, y, z), and p(x|z, y), which sees no image.
@pytest.mark.parametrize(
    ("build", "expected"), [(semisupervised, [(5, 15)]), (auxiliary, [(5, 5), (5, 15), (5, 15), (15, 15)])]
)
def test_an_image_is_multiplied_once_for_all_classes(build, expected, monkeypatch):
    rows, call = [], JoinedDense.call

    def counted(layer, inputs, training=None):
        rows.append((inputs[0].shape[0], inputs[-1].shape[0]))
        return call(layer, inputs)

    model = build()
    monkeypatch.setattr(JoinedDense, "call", counted)
    model.run_batch(Batch(ops.convert_to_tensor(images(5)), ops.convert_to_tensor([2, -1, 0, -1, -1])), training=True)
    assert sorted(rows) == expected


def test_an_override_of_inference_is_given_all_pairs(model):
    class Own(kvae.SemiSupervisedVAE):
        def inference(self, x, condition=(), training=False):
            assert x.shape[0] == condition[0].shape[0]
            return super().inference(x, condition, training)

    own = Own.from_config(model.get_config())
    own.set_weights(model.get_weights())
    np.testing.assert_allclose(own.elbo(images(4), seed=1), model.elbo(images(4), seed=1), rtol=1e-5)
    own.run_batch(Batch(ops.convert_to_tensor(images(2)), ops.convert_to_tensor([2, -1])), training=True)


def test_the_elbo_of_an_image_sums_over_its_classes(model):
    x = images(4)
    by_class = np.stack([model.elbo(x, np.full(4, each), num_samples=3, seed=1) for each in range(3)], axis=1)
    q = model.classify(x).astype("float64")
    np.testing.assert_allclose(q.sum(axis=1), 1, rtol=1e-6)
    entropy = -np.sum(q * np.log(q), axis=1)
    expected = np.sum(q * by_class, axis=1) + entropy
    np.testing.assert_allclose(model.elbo(x, num_samples=3, seed=1), expected, rtol=1e-5)
    np.testing.assert_allclose(model.elbo(x, [-1, 2, -1, 0], num_samples=3, seed=1)[[1, 3]], by_class[[1, 3], [2, 0]])
    assert (model.elbo(x, num_samples=3, seed=1) <= special.logsumexp(by_class, axis=1) + 1e-4).all()  # Jensen


def test_an_unknown_label_is_the_most_probable_one(model):
    x = images(6)
    best = model.classify(x).argmax(axis=1)
    for verb in (model.encode, model.reconstruct, lambda *given: model.posterior(*given)[0]):
        np.testing.assert_array_equal(verb(x), verb(x, best))
        np.testing.assert_array_equal(verb(x, np.full(6, -1)), verb(x, best))
    np.testing.assert_allclose(model.predict(x, verbose=0), model.reconstruct(x), atol=1e-6)


def test_a_term_without_examples_is_not_a_number(model):
    model.compile()
    logs = model.evaluate(images(4), np.full(4, -1), verbose=0, return_dict=True)
    assert np.isnan([logs["accuracy"], logs["labelled_elbo"]]).all()
    assert np.isfinite([logs["loss"], logs["unlabelled_elbo"]]).all()


# What is refused


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.full(9, -1), "no known label"),
        (np.array([0, 1, -1] * 3), r"none of \[2\]"),
        (np.array([0, 1, 3] * 3), "must be in 0..2 for num_classes=3, or -1 where unknown"),
        (np.array([0, 1, -2] * 3), "-1 where unknown"),
        (np.array([0, 1, 2]), "one entry per example: 9"),
        (None, "no known label"),
    ],
)
def test_fit_refuses_labels(model, y, message):
    model.compile()
    with pytest.raises(ValueError, match=message) as caught:
        model.fit(images(9), y, verbose=0)
    assert len(str(caught.value).splitlines()) == 1


def test_every_label_known_is_supervised_and_says_so():
    model = semisupervised()
    model.compile(optimizer="adam", **QUICKLY)
    with pytest.warns(UserWarning, match="this training is supervised"):
        model.fit(images(6), np.arange(6) % 3, verbose=0)


def test_codes_have_no_class_of_their_own(model):
    with pytest.raises(ValueError, match="class of each code"):
        model.decode(np.zeros((2, 2)))
    with pytest.raises(ValueError, match="class of each code"):
        model.generate(labels=[0, -1])


@pytest.mark.parametrize(
    ("last", "message"),
    [
        (keras.layers.Dense(4), r"to 3 logit\(s\) per example"),
        (keras.layers.Dense(3, "softmax"), "must give logits: drop its last activation"),
    ],
)
def test_a_classifier_that_does_not_fit_is_refused(last, message):
    judge = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), last])
    pair = kvae.networks.mlp((8, 8, 1), 2, hidden=(4,), num_classes=3)
    with pytest.raises(ValueError, match=message):
        kvae.SemiSupervisedVAE(*pair, judge, num_classes=3)


# M1, and the command line


class Codes:
    """A model whose codes are two pixels."""

    def encode(self, x):
        return np.asarray(x)[:, :2, 0, 0]


def test_m1_learns_from_the_labelled_codes():
    rng = np.random.default_rng(0)
    x, y = images(300), rng.integers(2, size=300)
    x[:, 0, 0, 0] += y  # one pixel tells the classes apart
    x[:, 1, 0, 0] *= 1e-4  # the other is one that the model does not use
    hidden = few_labels(y, per_class=10)
    found = kvae.classifier.on_codes(Codes(), x, hidden)
    assert found.score(x, y) > 0.9
    assert abs(found[1].coef_[0, 1]) < 0.01
    z = Codes().encode(x)[hidden >= 0]
    expected = (Codes().encode(x) - z.mean(axis=0)) / np.sqrt(z.var(axis=0).mean())
    np.testing.assert_allclose(found[0].transform(x), expected, rtol=1e-5)
    assert found.predict_proba(x).shape == (300, 2)
    spread = kvae.classifier.on_codes(Codes(), x, hidden, LabelSpreading("knn", n_neighbors=5))
    assert len(spread[1].transduction_) == 300


@pytest.mark.parametrize(
    ("y", "message"), [([0, -1, -1], "at least two classes"), ([0, 1], "one entry per example: 3"), ([-1] * 3, "Rec")]
)
def test_m1_refuses(y, message):
    with pytest.raises(ValueError, match=message):
        kvae.classifier.on_codes(Codes(), images(3), y)


def test_m1_takes_no_model_with_a_condition(model):
    with pytest.raises(ValueError, match="without their labels"):
        kvae.classifier.on_codes(model, images(3), [0, 1, -1])


@pytest.mark.parametrize(
    ("kind", "network"), [("semisupervised", "mlp"), ("semisupervised", "conv"), ("auxiliary", "mlp")]
)
def test_options_become_the_classifier_and_its_weight(digits, kind, network):
    from kvae.cli import build, options

    given = {"model": kind, "network": network, "hidden": [8], "label_weight": 300.0}
    model = build.build(options.complete(given), digits)
    assert model.alpha == 300.0
    assert any(isinstance(layer, keras.layers.Conv2D) for layer in model.classifier.layers) == (network == "conv")


@pytest.mark.long
def test_the_command_trains_evaluates_and_draws(tmp_path, capsys):
    from kvae.cli import main

    out = str(tmp_path / "run")
    options = ("--epochs", "1", "--latent-dim", "3", "--hidden", "16", "--labels-per-class", "3")
    assert main.main(["train", "--model", "semisupervised", *options, "--out", out]) == 0
    assert "accuracy" in capsys.readouterr().out
    assert main.main(["generate", f"{out}/model.keras", "--label", "7", "--out", str(tmp_path / "sevens.png")]) == 0
    for option in ("--labels-per-class", "--label-weight"):
        assert main.main(["train", option, "3", "--out", str(tmp_path / "other")]) == 1
        assert "requires model=semisupervised" in capsys.readouterr().err
