"""Shapes drawn from known factors, scores of disentanglement, and their pictures."""

import keras
import numpy as np
import pytest
from cases import QUICKLY
from PIL import Image, ImageSequence

import kvae
from kvae.callbacks import film
from kvae.data import shapes


@pytest.fixture(scope="session")
def drawn():
    return kvae.load_data("shapes")


# Images from known factors.


@pytest.mark.long
def test_shapes_are_drawn_once_for_each_combination_of_factors(drawn):
    assert drawn.image_shape == (64, 64, 1)
    assert drawn.x_train.dtype == drawn.x_test.dtype == "float32"
    assert drawn.x_train.nbytes + drawn.x_test.nbytes == 226_492_416
    assert drawn.factor_names == ("outline", "scale", "rotation", "x", "y")
    assert drawn.factors.dtype == drawn.factors_test.dtype == "int64"
    assert (drawn.class_names, drawn.num_classes, drawn.name) == (("square", "ellipse", "heart"), 3, "shapes")
    np.testing.assert_array_equal(drawn.y_train, drawn.factors[:, 0])
    np.testing.assert_array_equal(drawn.y_test, drawn.factors_test[:, 0])
    every = np.concatenate([drawn.factors, drawn.factors_test])
    assert len(np.unique(every, axis=0)) == len(every) == 3 * 4 * 8 * 12 * 12
    np.testing.assert_array_equal(every.max(axis=0) + 1, shapes.NUM_VALUES)
    assert len({image.tobytes() for images in (drawn.x_train, drawn.x_test) for image in images}) == len(every)
    np.testing.assert_allclose(np.mean(drawn.factors, axis=0), np.mean(every, axis=0), rtol=0.02)


def test_every_change_of_a_factor_changes_several_pixels():
    """Also in the smallest scale, and between the last rotation and the first, of a square a quarter turn later."""
    patches = shapes._patches()
    flat = patches.reshape(-1, patches[0, 0, 0].size)
    squares = (flat**2).sum(axis=1)
    distance = squares[:, None] + squares - 2 * flat @ flat.T
    assert (distance + 100 * np.eye(len(flat))).min() > 4
    assert (patches[0, 0, 7] - patches[0, 0, 0]).std() > 0.05


def test_shapes_are_where_their_factors_say(drawn):
    images, factors = drawn.x_test[..., 0].astype("float64"), drawn.factors_test
    assert images.min() == 0
    assert images.max() == 1
    assert 0 < np.mean((images > 0) & (images < 1)) < 0.05  # smooth edges
    pixel, mass = np.arange(64), images.sum(axis=(1, 2))
    across, down = images.sum(axis=1) @ pixel / mass, images.sum(axis=2) @ pixel / mass
    np.testing.assert_allclose(across, np.take(shapes.POSITIONS, factors[:, 3]), atol=0.05)
    np.testing.assert_allclose(down, np.take(shapes.POSITIONS, factors[:, 4]), atol=0.05)
    radius = np.take(shapes.SCALES, factors[:, 1])
    share = np.array([2.0, np.pi / 2, (mass / radius**2)[factors[:, 0] == 2].mean()])  # of the squared radius
    np.testing.assert_allclose(mass, share[factors[:, 0]] * radius**2, rtol=0.03)
    ellipse = factors[:, 0] == 1
    u, v = pixel - across[:, None], down[:, None] - pixel
    uu, vv = (np.einsum("nhw,nw->n", images, u**2), np.einsum("nhw,nh->n", images, v**2))
    angle = np.rad2deg(0.5 * np.arctan2(2 * np.einsum("nhw,nw,nh->n", images, u, v), uu - vv))
    np.testing.assert_allclose(angle[ellipse], np.take(shapes.ROTATIONS, factors[ellipse, 2]), atol=1)


def test_shapes_are_the_same_every_time(drawn):
    rows = [0, 17, 11_058]
    np.testing.assert_array_equal(drawn.factors[[0, 1, -1]], [[2, 2, 0, 8, 11], [1, 3, 2, 8, 7], drawn.factors[-1]])
    np.testing.assert_array_equal(shapes.draw(drawn.factors[rows]), drawn.x_train[rows])
    assert kvae.load_data("digits").factors is None


# Scores. Four factors with 4, 8, 5 and 7 values; each combination three times.


SIZES = (4, 8, 5, 7)
FACTORS = np.tile(np.indices(SIZES).reshape(4, -1).T, (3, 1))
STANDARD = (FACTORS - FACTORS.mean(axis=0)) / FACTORS.std(axis=0)
NAMES = ["mig", "beta_vae", "factor_vae", "dci", "dci_completeness", "dci_informativeness", "sap", "modularity"]
ONE_CODE_PER_FACTOR = 1 - np.mean([1 / size for size in SIZES])  # of SAP: the second best dimension guesses


def rotated():
    """The first two factors rotated by 45 degrees, and the last two."""
    a, b, c, d = STANDARD.T
    return np.sqrt(0.5) * np.column_stack([a + b, a - b, c + d, c - d])


def noise(scale, d=4):
    return scale * np.random.default_rng(1).standard_normal((len(FACTORS), d))


# Codes, and the lowest and highest value of each score.
CODES = {
    "the factors": (lambda: FACTORS, dict.fromkeys(NAMES, (1, 1)) | {"sap": (ONE_CODE_PER_FACTOR, 0.05)}),
    "each with noise, in another order and on other scales": (
        lambda: (STANDARD + noise(0.05))[:, [2, 0, 3, 1]] * [1, -0.5, 10, 3] + 7,
        dict.fromkeys(NAMES, (0.98, 1)) | {"sap": (ONE_CODE_PER_FACTOR, 0.06)},
    ),
    "beside dimensions without information": (
        lambda: np.concatenate([STANDARD, noise(1.0)], axis=1),
        {"mig": (0.95, 1), "beta_vae": (0.99, 1), "factor_vae": (0.99, 1), "dci": (0.99, 1), "modularity": (0.5, 1)},
    ),
    "rotated in pairs": (
        rotated,
        # Two of four factors in every dimension, equally: 1 − log 2 / log 4.
        {"mig": (0, 0.1), "beta_vae": (0.5, 0.06), "factor_vae": (0.3, 0.65), "dci": (0.5, 0.06)}
        | {"dci_completeness": (0.5, 0.06), "dci_informativeness": (0.95, 1), "sap": (0, 0.15)},
    ),
    "random": (
        lambda: noise(1.0, d=5),
        {"mig": (0, 0.02), "beta_vae": (0.25, 0.05), "factor_vae": (0.25, 0.06), "dci": (0, 0.02)}
        | {"dci_completeness": (0, 0.02), "dci_informativeness": (0.18, 0.05), "sap": (0, 0.05)},
    ),
    "two factors in one dimension": (
        lambda: np.column_stack([FACTORS[:, 0] + 4 * FACTORS[:, 2], FACTORS[:, 1], FACTORS[:, 3], noise(1.0, d=1)]),
        # The vote on the shared dimension is wrong for one of the four factors, unless that of noise is lowest.
        {"factor_vae": (0.7, 0.9), "dci": (0.6, 0.9), "dci_completeness": (0.99, 1)}
        | {"dci_informativeness": (0.99, 1), "modularity": (0.5, 0.95)},
    ),
    "one factor in two dimensions": (
        lambda: np.column_stack([STANDARD, STANDARD[:, 0]]),
        # No gap, but every dimension has one factor.
        {"mig": (0.75, 0.01), "dci": (1, 1), "factor_vae": (1, 1), "modularity": (1, 1)}
        | {"sap": (ONE_CODE_PER_FACTOR - 0.75 / 4, 0.05), "dci_completeness": (0.8, 1)},
    ),
    "constant": (
        lambda: np.ones((len(FACTORS), 3)),
        {"mig": (0, 0), "factor_vae": (0, 0), "dci": (0, 0), "sap": (0, 0), "modularity": (0, 0)},
    ),
}


@pytest.fixture(scope="module")
def scores():
    return {name: kvae.evaluation.disentanglement(codes(), FACTORS) for name, (codes, _) in CODES.items()}


@pytest.mark.parametrize("name", CODES)
def test_codes_made_by_hand_get_their_scores(scores, name):
    assert list(scores[name]) == NAMES
    for score, (low, high) in CODES[name][1].items():
        if high < low:  # a value and a tolerance
            low, high = low - high, low + high
        assert low - 1e-9 <= scores[name][score] <= high + 1e-9, (score, scores[name])


def test_scores_of_information_are_those_of_a_loop(rng):
    factors = np.indices((3, 4, 10)).reshape(3, -1).T
    codes = factors @ np.array([[1.0, 0.5, 0.0, 0.1], [0.0, 1.0, 0.3, 0.0], [0.2, 0.0, 0.0, 1.0]])
    information = np.zeros((4, 3))
    entropies = [np.log(3), np.log(4), np.log(10)]
    for j in range(4):
        edges = np.linspace(codes[:, j].min(), codes[:, j].max(), 21)
        for k in range(3):
            table, _, _ = np.histogram2d(codes[:, j], factors[:, k], [edges, np.arange(11) - 0.5])
            p = table / table.sum()
            product = p.sum(axis=1, keepdims=True) * p.sum(axis=0)
            information[j, k] = np.sum(p[p > 0] * np.log(p[p > 0] / product[p > 0]))
    mig, modularity = [], []
    for k in range(3):
        *_, second, first = sorted(information[:, k])
        mig.append((first - second) / entropies[k])
    for each in information:
        best = each.argmax()
        modularity.append(1 - sum(each[k] ** 2 for k in range(3) if k != best) / (each[best] ** 2 * 2))
    scores = kvae.evaluation.disentanglement(codes, factors)
    assert scores["mig"] == pytest.approx(np.mean(mig), abs=1e-6)
    assert scores["modularity"] == pytest.approx(np.mean(modularity), abs=1e-6)
    assert scores == kvae.evaluation.disentanglement(codes, 5 * factors - 7)  # whatever the integers
    assert scores != kvae.evaluation.disentanglement(codes, factors, seed=1)


BAD = {
    "another length": (STANDARD, FACTORS[:-1], r"`factors` must have one entry per example: 3360. Received: 3359"),
    "a constant factor": (STANDARD, FACTORS * [1, 0, 1, 0], r"drop the constant columns. .* in column 1, 3$"),
    "no integers": (STANDARD, FACTORS / 2, r"`factors` must be integers.* Received: dtype float64"),
    "one factor": (STANDARD, FACTORS[:, :1], r"`factors` must have shape \(n, f\) with at least two columns"),
    "a vector of factors": (STANDARD, FACTORS[:, 0], r"`factors` must have shape .*Received: shape \(3360,\)"),
    "one dimension": (STANDARD[:, :1], FACTORS, r"`codes` must have .* two columns.*Received: shape \(3360, 1\)"),
    "codes of images": (np.zeros((9, 2, 2)), FACTORS, r"`codes` must have shape \(n, c\)"),
    "NaN": (np.where(FACTORS, np.nan, 0), FACTORS, r"`codes` must be finite.*NaN or infinity in .* of 3360 examples"),
    "text": (FACTORS.astype(str), FACTORS, r"`codes` must contain numbers"),
    "few examples": (STANDARD[:99], FACTORS[:99], r"`codes` must contain at least 100 examples. Received: 99"),
    "a negative seed": (STANDARD, FACTORS, r"`seed` must be an integer from 0"),
}


@pytest.mark.parametrize("name", BAD)
def test_codes_and_factors_that_do_not_fit_are_refused_in_one_line(name):
    codes, factors, message = BAD[name]
    with pytest.raises(ValueError, match=message) as caught:
        kvae.evaluation.disentanglement(codes, factors, seed=-1 if "seed" in name else 0)
    assert "\n" not in str(caught.value)


# Pictures.


def digits_vae(latent_dim=3):
    keras.utils.set_random_seed(0)
    model = kvae.VAE(*kvae.networks.mlp((8, 8, 1), latent_dim, hidden=(8,)), seed=0)
    model.compile(keras.optimizers.Adam(1e-2), **QUICKLY)
    return model


def test_the_traversal_shows_the_strongest_dimension_first(digits):
    model = digits_vae()
    figure = kvae.plots.traversal(model, kl=[0.5, 2.25, 0.0], values=[-3, 3])
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ["$z_{1}$: KL 2.2 nats", "$z_{0}$: KL 0.5 nats", "$z_{2}$: KL 0.0 nats"]
    image = np.asarray(figure.axes[0].images[0].get_array())
    np.testing.assert_allclose(image[:8, :8], model.decode([[0, -3, 0]])[0, ..., 0], atol=1e-6)
    figure = kvae.plots.traversal(model, kl=[0.5, 2.25, 0.0], dims=[2, 1])
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [names[2], names[0]]
    with pytest.raises(ValueError, match=r"`kl` must have one entry per latent dimension: 3. Received: 2"):
        kvae.plots.traversal(model, kl=[1.0, 2.0])
    callback = kvae.callbacks.LatentTraversal("unused", digits.x_test[:50])
    callback.set_model(model)
    figure = callback.figure(7)
    kl = kvae.evaluation.kl_per_dimension(model, digits.x_test[:50])
    shown = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert shown == [f"$z_{{{dim}}}$: KL {nats:.1f} nats" for dim, nats in enumerate(kl)]
    image = np.asarray(figure.axes[0].images[0].get_array())
    z = model.encode(digits.x_test[:1])[0]
    np.testing.assert_allclose(image[:8, -8:], model.decode([[3, *z[1:]]])[0, ..., 0], atol=1e-6)


def frames_of(path):
    with Image.open(path) as film:
        return [np.asarray(frame.convert("L"), "float32") for frame in ImageSequence.Iterator(film)]


@pytest.mark.long
def test_a_film_has_a_frame_for_every_other_epoch_and_the_last(digits, tmp_path):
    model, x = digits_vae(), digits.x_train[:64]
    samples = kvae.callbacks.SampleGrid(tmp_path / "new", every=2, columns=2)
    scatter = kvae.callbacks.LatentScatter(tmp_path / "new", x, digits.y_train[:64], every=3)
    films = [kvae.callbacks.Film(samples), kvae.callbacks.Film(scatter, frames_per_second=2)]
    model.fit(x, epochs=5, verbose=0, callbacks=films)
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["latent_scatter.gif", "sample_grid.gif"]
    first, *_, last = frames = frames_of(films[0].path)
    assert [len(frames), len(frames_of(films[1].path))] == [3, 2]
    assert first.shape == last.shape
    assert np.abs(last - first).max() > 20
    samples.figure(5).savefig(tmp_path / "last.png", dpi=film.DPI)
    np.testing.assert_allclose(last, frames_of(tmp_path / "last.png")[0], atol=10)  # of 256: a GIF has a palette
    with Image.open(films[1].path) as image:
        assert image.info["duration"] == 500


def test_scatter_plots_of_a_film_have_the_same_axes():
    codes = np.random.default_rng(0).standard_normal((2, 50, 2)) * np.array([0.1, 3.0])[:, None, None]
    figures = [kvae.plots.latent_scatter(z) for z in codes]
    wide = figures[1].axes[0].get_xlim()
    film._same_limits(figures)
    assert figures[0].axes[0].get_xlim() == figures[1].axes[0].get_xlim() == wide


def test_a_film_of_one_frame_is_refused_before_the_first_step(digits, tmp_path):
    model, x = digits_vae(), digits.x_train[:64]
    before = model.get_weights()
    with pytest.raises(ValueError, match=r"at least two frames.*1 frame in epochs 1 to 3 with every=5$") as caught:
        model.fit(x, epochs=3, verbose=0, callbacks=[kvae.callbacks.Film(kvae.callbacks.SampleGrid(tmp_path, every=5))])
    assert "\n" not in str(caught.value)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    picture = kvae.callbacks.SampleGrid(tmp_path)
    with pytest.raises(ValueError, match=r"1 frame in epochs 3 to 3 with every=1$"):
        model.fit(x, epochs=3, initial_epoch=2, verbose=0, callbacks=[kvae.callbacks.Film(picture)])
    stop = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: setattr(model, "stop_training", True))
    with pytest.warns(UserWarning, match=r"stopped before the second frame.*Received: 1 frames"):
        model.fit(x, epochs=3, verbose=0, callbacks=[stop, kvae.callbacks.Film(picture)])
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match=r"`picture` must be a callback that draws one.*Received: 'samples'"):
        kvae.callbacks.Film("samples")
    with pytest.raises(ValueError, match="`frames_per_second` must be an integer of at least 1"):
        kvae.callbacks.Film(picture, 0)
