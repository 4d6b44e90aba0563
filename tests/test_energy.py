"""Energies of models, energy surfaces and their figure, toy data."""

import keras
import numpy as np
import pytest
from scipy.stats import norm

import kvae
from kvae import baselines
from kvae.data import toy
from kvae.energy import STRATEGIES, box, energy, energy_surface, separation
from kvae.plots import energy_surfaces
from kvae.plots.energy import lower_share

X = toy.spiral(200, seed=0)
LIMITS = ((-1.0, 3.0), (-2.0, 2.0))


class Formula:
    """A model that only has an energy."""

    def __init__(self, function):
        self.energy = function


SLOPE = Formula(lambda x: x[:, 0] + 10 * x[:, 1])  # increases slowly to the right, fast upwards


# energy(model, x)


def test_a_linear_autoencoder_with_the_weights_of_pca_has_its_energy(rng):
    x = rng.normal(size=(50, 6)).astype("float32")
    pca = baselines.PCA(2).fit(x)
    networks = kvae.networks.mlp((6,), 2, hidden=(), posterior=None, likelihood="gaussian")
    model = kvae.Autoencoder(*networks)
    w, mean = pca.components, x.mean(axis=0)
    model.encoder.set_weights([w.T, -mean @ w.T])
    model.decoder.set_weights([w, mean])
    centred = x - mean
    expected = np.square(centred @ w.T @ w - centred).sum(axis=1)  # the lecture's ‖WᵀWx − x‖²
    np.testing.assert_allclose(energy(model, x), expected, rtol=1e-4)
    np.testing.assert_allclose(energy(pca, x), expected, rtol=1e-4)


def test_the_energy_of_a_vae_is_its_negative_elbo():
    model = kvae.VAE(*kvae.networks.mlp((2,), 1, (8,), likelihood="gaussian"), likelihood="gaussian", seed=3)
    np.testing.assert_array_equal(energy(model, X), -model.elbo(X, num_samples=16, seed=0).astype("float64"))
    np.testing.assert_array_equal(energy(model, X), energy(model, X))
    assert not np.array_equal(model.energy(X, seed=1), model.energy(X, seed=0))


def test_the_energy_of_a_cvae_takes_labels(rng):
    model = kvae.CVAE(*kvae.networks.mlp((2,), 1, (8,), 3, likelihood="gaussian"), 3, likelihood="gaussian", seed=3)
    y = rng.integers(3, size=len(X))
    np.testing.assert_array_equal(model.energy(X, y), -model.elbo(X, y, num_samples=16, seed=0))
    with pytest.raises(ValueError, match="`labels` is missing"):
        energy(model, X)


def test_models_without_an_energy_and_data_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"`model` must have an energy: .* Received: Sequential"):
        energy(keras.Sequential([keras.layers.Dense(2)]), X)
    for model in (baselines.PCA(1).fit(X), kvae.VAE(*kvae.networks.mlp((2,), 1, (8,)))):
        with pytest.raises(ValueError, match=r"`x` must have shape \(n, 2\)"):
            energy(model, np.zeros((4, 3)))
    with pytest.raises(ValueError, match=r"training may have diverged. Received: NaN for 2 of 4 examples"):
        energy(Formula(lambda x: np.array([0, np.nan, 1, np.nan])), X[:4])


# Surfaces


def test_the_surface_has_x_to_the_right_and_y_upwards():
    horizontal, vertical, energies = energy_surface(SLOPE, LIMITS, n=5)
    np.testing.assert_allclose(horizontal, [-1, 0, 1, 2, 3])
    np.testing.assert_allclose(vertical, [-2, -1, 0, 1, 2])
    np.testing.assert_allclose(energies, horizontal + 10 * vertical[:, None])


def test_a_box_is_square_and_holds_the_points():
    (left, right), (bottom, top) = box([[0.0, 1.0], [4.0, 2.0]], margin=0.5)
    np.testing.assert_allclose([left, right, bottom, top], [-2, 6, -2.5, 5.5])


def test_separation_is_the_chance_that_data_lie_lower():
    x = np.zeros((3, 2))
    # E = x₁ + 10 x₂ = 0 there; it is higher above the line x₂ = −x₁/10: 2.1 / 4 of the box.
    assert separation(SLOPE, x, LIMITS, n=40_000) == pytest.approx(0.525, abs=0.01)
    assert separation(Formula(lambda x: np.square(x).sum(axis=1)), x, LIMITS) == 1.0
    assert separation(Formula(lambda x: -np.square(x).sum(axis=1)), x, LIMITS) == 0.0
    assert separation(Formula(lambda x: np.zeros(len(x))), x, LIMITS) == 0.5
    # E = x₁ at x₁ = 0: a quarter of the box is to the left.
    assert separation(Formula(lambda x: x[:, 0]), x, LIMITS, n=20_000) == pytest.approx(0.75, abs=0.015)


@pytest.mark.parametrize("limits", [((0, 1),), ((1, 0), (0, 1)), ((0, np.inf), (0, 1)), (0, 1, 0, 1)])
def test_limits_must_be_two_rising_pairs(limits):
    for function in (lambda: energy_surface(SLOPE, limits), lambda: separation(SLOPE, X, limits)):
        with pytest.raises(ValueError, match=r"`limits` must be increasing pairs \(\(left, right\), \(bottom, top\)\)"):
            function()


def test_only_the_plane_has_a_surface(digits):
    pca = baselines.PCA(2).fit(digits.x_train)
    with pytest.raises(ValueError, match=r"points in the plane, shape \(2,\). Received: a model of shape \(8, 8, 1\)"):
        energy_surface(pca, LIMITS)
    with pytest.raises(ValueError, match=r"`x` must have shape \(n, 2\)"):
        separation(SLOPE, digits.x_test, LIMITS)
    with pytest.raises(ValueError, match=r"`x` must have shape \(n, 2\)"):
        box(np.zeros((3, 4)))
    with pytest.raises(ValueError, match="`n` must be at least 2"):
        energy_surface(SLOPE, LIMITS, n=1)


# The figure


def test_the_share_of_lower_energies():
    np.testing.assert_allclose(lower_share(np.array([[3.0, 1.0], [2.0, 9.0]])), [[0.5, 0.0], [0.25, 0.75]])
    np.testing.assert_allclose(lower_share(np.full((2, 3), 7.0)), 0)


def test_a_panel_for_each_model_with_its_name_its_caption_and_the_data():
    models = {"slope": SLOPE, "PCA": baselines.PCA(1).fit(X), "K-means": baselines.KMeans(3).fit(X), "again": SLOPE}
    figure = energy_surfaces(models, X, {"PCA": f"#1: {STRATEGIES[1]}"}, LIMITS, n=20)
    *panels, bar = figure.axes
    assert [axes.texts[0].get_text() for axes in panels] == list(models)
    assert panels[1].get_title().split() == ["#1:", "constant", "volume", "of", "low", "energy"]
    assert bar.get_ylabel() == "fraction of the box with lower energy"
    for axes in panels:
        np.testing.assert_array_equal(axes.collections[-1].get_offsets(), X)
        assert axes.get_aspect() == 1
        assert (axes.get_xlim(), axes.get_ylim()) == LIMITS
    levels = panels[0].collections[0]
    assert len(levels.get_paths()) == 10
    lowest, highest = (levels.get_paths()[i].vertices for i in (0, -1))
    assert lowest[:, 1].max() < -1.4  # the surface hardly increases to the right, so its lowest tenth is at the bottom
    assert highest[:, 1].min() > 1.4


def test_rows_have_labels_beside_them():
    rows = {"#1: constant volume of low energy": ["a", "b"], "#2: push down on data": ["c"], "#3: chosen": ["d", "e"]}
    figure = energy_surfaces(dict.fromkeys("abcde", SLOPE), X, {"c": "AUROC 0.50"}, n=5, rows=rows)
    figure.draw_without_rendering()
    *panels, _ = figure.axes
    assert [axes.texts[0].get_text() for axes in panels] == list("abcde")
    first, second, third = rows
    assert [" ".join(axes.get_ylabel().split()) for axes in panels] == [first, "", second, third, ""]
    left, edge = panels[0].get_window_extent().x0, 0
    for axes in (panels[0], panels[2], panels[3]):
        label = axes.yaxis.label.get_window_extent()
        assert edge <= label.x0 < label.x1 < left == pytest.approx(axes.get_window_extent().x0)
        assert axes.yaxis.label.get_fontsize() >= 15
    for wrong in ({"row": ["a"]}, {"row": list("abcde"), "none": []}, {"row": list("abcdee")}):
        with pytest.raises(ValueError, match="`rows` must hold each name of `models`"):
            energy_surfaces(dict.fromkeys("abcde", SLOPE), X, rows=wrong)


def test_names_and_captions_lie_between_title_and_panels():
    names = [f"A rather long name {i}" for i in range(8)]
    captions = dict.fromkeys(names[:7], f"#2: {STRATEGIES[2]}\nAUROC 0.99")
    figure = energy_surfaces(dict.fromkeys(names, SLOPE), X, captions, n=5)
    figure.draw_without_rendering()
    heading = figure._suptitle.get_window_extent()
    panels = figure.axes[:-1]
    for axes in panels:
        name, title = axes.texts[0].get_window_extent(), axes.title.get_window_extent()
        assert min(title.y0, name.y0) >= axes.get_window_extent().y1
        assert name.y1 <= heading.y0
        assert min(axes.title.get_fontsize(), axes.texts[0].get_fontsize()) >= 12
    for below, above in zip(panels[3:], panels, strict=False):
        assert below.texts[0].get_window_extent().y1 <= above.get_window_extent().y0
    for left, right in ((0, 1), (1, 2), (3, 4), (6, 7)):
        edges = [panels[i].title.get_window_extent() for i in (left, right)]
        assert edges[0].x1 < edges[1].x0


def test_at_most_300_points_are_drawn():
    figure = energy_surfaces({"slope": SLOPE}, toy.moons(1000, seed=0), n=5)
    assert len(figure.axes[0].collections[-1].get_offsets()) == 300


def test_no_model_is_refused():
    with pytest.raises(ValueError, match="`models` must contain at least one named model"):
        energy_surfaces({}, X)


# Toy data


@pytest.mark.parametrize("draw", [toy.spiral, toy.moons])
def test_toy_data_are_standardised_and_reproducible(draw):
    x = draw(20_000, noise=0.0, seed=1)
    assert (x.shape, x.dtype) == ((20_000, 2), np.float32)
    np.testing.assert_allclose(x.mean(axis=0), 0, atol=0.03)
    np.testing.assert_allclose(x.std(axis=0), 1, atol=0.02)
    np.testing.assert_array_equal(draw(50, seed=2), draw(50, seed=2))
    assert not np.array_equal(draw(50, seed=2), draw(50, seed=3))


@pytest.mark.parametrize("draw", [toy.spiral, toy.moons])
def test_noise_is_gaussian_of_the_given_deviation(draw):
    noise = draw(5000, noise=0.3, seed=4) - draw(5000, noise=0.0, seed=4)
    assert noise.std() == pytest.approx(0.3, rel=0.03)
    assert np.mean(np.abs(noise) < 0.3) == pytest.approx(norm.cdf(1) - norm.cdf(-1), abs=0.02)


def test_the_spiral_is_one():
    angle = np.linspace(np.pi / 2, 3 * np.pi, 100_000)
    curve = angle[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
    weights = angle / angle.sum()  # length of an arc
    mean = weights @ curve
    std = np.sqrt(weights @ np.square(curve - mean))
    x = toy.spiral(500, noise=0.0, seed=0) * std + mean
    radius = np.hypot(*x.T)
    gap = np.angle(np.exp(1j * (np.arctan2(x[:, 1], x[:, 0]) - radius)))  # θ = r, up to multiples of 2π
    assert np.abs(gap).max() < 0.1
    assert radius.min() < 2.5
    assert radius.max() > 9


def test_toy_data_refuse_bad_arguments():
    with pytest.raises(ValueError, match="`n` must be an integer of at least 1"):
        toy.spiral(0)
    for noise in (-1, np.nan, "a"):
        with pytest.raises(ValueError, match="`noise` must be a finite number of at least 0"):
            toy.moons(5, noise)
