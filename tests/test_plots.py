"""Figures show the data, and every text is large, complete and inside the figure."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.text import Text
from PIL import Image
from scipy.spatial.distance import pdist
from scipy.stats import norm
from sklearn.decomposition import PCA

import kvae
from kvae import plots

DATA = kvae.load_data("digits")
X, Y = DATA.x_test[:60], DATA.y_test[:60]


@pytest.fixture(scope="module")
def vae():
    return kvae.VAE(*kvae.networks.mlp((8, 8, 1), latent_dim=2, hidden=(8,)), seed=0)


@pytest.fixture(scope="module")
def vae3():
    return kvae.VAE(*kvae.networks.mlp((8, 8, 1), latent_dim=3, hidden=(8,)), seed=0)


@pytest.fixture(scope="module")
def cvae():
    networks = kvae.networks.mlp((8, 8, 1), latent_dim=2, hidden=(8,), num_classes=10)
    return kvae.CVAE(*networks, num_classes=10, seed=0)


@pytest.fixture(scope="module")
def attribute_cvae():
    return kvae.CVAE(*kvae.networks.mlp((8, 8, 1), latent_dim=2, hidden=(8,), num_classes=3), seed=0)


def drawn(figure, axes=0):
    return np.asarray(figure.axes[axes].images[0].get_array())


def tile(figure, row, column, shape=(8, 8), gap=1):
    top, left = row * (shape[0] + gap), column * (shape[1] + gap)
    return drawn(figure)[top : top + shape[0], left : left + shape[1]]


def tick_labels(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def offsets(axes):
    return [np.asarray(collection.get_offsets()) for collection in axes.collections]


# Grids of images


def test_mosaic_puts_each_image_in_its_place_between_white_lines():
    images = np.random.default_rng(0).random((2, 3, 28, 20, 1))
    joined = plots.mosaic(images, gap=2)
    assert joined.shape == (2 * 28 + 2, 3 * 20 + 4)
    np.testing.assert_array_equal(joined[30:58, 22:42], images[1, 1, ..., 0])
    np.testing.assert_array_equal(joined[:28, 44:], images[0, 2, ..., 0])
    assert (joined[28:30] == 1).all()
    assert (joined[:, 20:22] == 1).all()


def test_mosaic_keeps_colours_and_clips_what_a_linear_method_overshoots():
    images = np.random.default_rng(0).uniform(-0.5, 1.5, (1, 2, 4, 5, 3))
    joined = plots.mosaic(images, gap=0)
    assert joined.shape == (4, 10, 3)
    np.testing.assert_array_equal(joined[:, 5:], np.clip(images[0, 1], 0, 1))


@pytest.mark.parametrize("images", [np.zeros((2, 8, 8, 1)), np.zeros((1, 2, 8, 8, 2)), np.zeros((0, 2, 8, 8, 1))])
def test_mosaic_refuses_what_is_no_grid_of_images(images):
    with pytest.raises(ValueError, match=r"must have shape \(rows, columns, height, width"):
        plots.mosaic(images)


def test_mosaic_refuses_bytes():
    with pytest.raises(ValueError, match=r"divide by 255.*200"):
        plots.mosaic(np.full((1, 1, 8, 8, 1), 200, "uint8"))


def test_image_grid_labels_the_middles_of_rows_and_columns():
    figure = plots.image_grid(np.zeros((2, 3, 28, 20, 1)), ["a", "b"], np.array([4, 5, 6]), "Title", gap=2)
    (axes,) = figure.axes
    assert tick_labels(axes.yaxis) == ["a", "b"]
    assert tick_labels(axes.xaxis) == ["4", "5", "6"]
    np.testing.assert_allclose(axes.get_yticks(), [13.5, 43.5])
    np.testing.assert_allclose(axes.get_xticks(), [9.5, 31.5, 53.5])
    assert axes.images[0].get_clim() == (0, 1)
    assert figure.get_suptitle() == "Title"


def test_image_grid_wants_a_label_for_each_row():
    with pytest.raises(ValueError, match=r"here 2\. Received: 3 labels"):
        plots.image_grid(np.zeros((2, 3, 8, 8, 1)), row_labels="abc")


def test_flows_are_arrows_from_the_middles_of_their_cells():
    flows = np.zeros((1, 2, 2, 4, 2))
    flows[0, 0, 0, 0] = 0.2, 0.2  # too short to be drawn
    flows[0, 1, 1, 3] = 3.0, -2.0  # down and to the left
    figure = plots.flow_grid(np.zeros((1, 20, 20, 1)), flows, None, ["a", "b"], "Title")
    (arrows,) = figure.axes[0].collections
    np.testing.assert_allclose(arrows.XY, [[22 + 17, 14.5]])  # the second image begins at pixel 22
    np.testing.assert_allclose([arrows.U, arrows.V], [[-2.0], [3.0]])  # y points down, as rows do
    assert drawn(figure).shape == (20, 42)


@pytest.mark.parametrize("shape", [(2, 1, 2, 2, 2), (3, 1, 2, 2, 3), (3, 2, 2, 2)])
def test_flows_want_a_row_for_each_image_and_two_coordinates(shape):
    with pytest.raises(ValueError, match=r"cells_across, 2\) .* Received: flows .*images \(3, 8, 8, 1\)"):
        plots.flow_grid(X[:3], np.zeros(shape))


def test_samples_fill_a_square_and_leave_the_rest_white():
    figure = plots.sample_grid(X[:5])
    assert drawn(figure).shape == (17, 26)
    np.testing.assert_array_equal(tile(figure, 1, 0), X[3, ..., 0])
    assert (tile(figure, 1, 2) == 1).all()


def test_samples_with_labels_get_a_row_a_label_in_order():
    figure = plots.sample_grid(X[:4], [7, 2, 7, 7])
    assert tick_labels(figure.axes[0].yaxis) == ["2", "7"]
    np.testing.assert_array_equal(tile(figure, 0, 0), X[1, ..., 0])
    np.testing.assert_array_equal(tile(figure, 1, 2), X[3, ..., 0])
    assert (tile(figure, 0, 1) == 1).all()


def test_samples_with_attributes_fill_a_square():
    assert drawn(plots.sample_grid(X[:4], np.eye(4))).shape == (17, 17)


def test_samples_want_a_label_each():
    with pytest.raises(ValueError, match="one entry per example: 4"):
        plots.sample_grid(X[:4], [1, 2])


def test_reconstructions_lie_below_the_originals_then_other_methods():
    figure = plots.reconstruction_grid(X[:3], X[3:6], {"PCA": X[6:9]})
    assert tick_labels(figure.axes[0].yaxis) == ["original", "reconstruction", "PCA"]
    for row in range(3):
        np.testing.assert_array_equal(tile(figure, row, 2), X[3 * row + 2, ..., 0])


def test_reconstructions_want_the_originals_shape():
    with pytest.raises(ValueError, match=r"\(3, 8, 8, 1\). Received: PCA \(2, 8, 8, 1\)"):
        plots.reconstruction_grid(X[:3], X[:3], {"PCA": X[:2]})


# Scatter plots


def clusters(num_classes=3, latent_dim=2, spread=10):
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(num_classes), 20)
    centres = spread * rng.normal(size=(num_classes, latent_dim))
    return centres[labels] + rng.normal(size=(len(labels), latent_dim)), labels


def test_scatter_draws_two_dimensions_as_they_are_and_names_each_class_at_its_median():
    z, labels = clusters()
    figure = plots.latent_scatter(z, labels, class_names=["zero", "one", "two"])
    (axes,) = figure.axes
    for k, points in enumerate(offsets(axes)):
        np.testing.assert_array_equal(points, z[labels == k])
        np.testing.assert_allclose(axes.texts[k].get_position(), np.median(z[labels == k], axis=0), atol=0.01)
    assert [text.get_text() for text in axes.texts] == ["zero", "one", "two"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["zero", "one", "two"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("$z_0$", "$z_1$")
    assert axes.get_aspect() == 1
    assert axes.texts[0].get_path_effects()[0]._gc["foreground"] == "white"


def test_scatter_shows_labels_that_occur_under_their_own_name():
    z, labels = clusters(2)
    figure = plots.latent_scatter(z, np.where(labels == 0, 3, 8))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["3", "8"]


def test_scatter_tells_20_classes_apart_by_colour_and_marker():
    z, labels = clusters(20)
    collections = plots.latent_scatter(z, labels).axes[0].collections
    looks = {(tuple(c.get_facecolor()[0]), c.get_paths()[0].vertices.tobytes()) for c in collections}
    assert len(looks) == 20


def test_legend_lies_beside_the_axes():
    z, labels = clusters(25)
    figure = plots.latent_scatter(z, labels, class_names=[f"a class named {k}" for k in range(25)])
    figure.draw_without_rendering()
    assert figure.legends[0].get_window_extent().x0 >= figure.axes[0].get_window_extent().x1
    assert figure.legends[0].get_window_extent().x1 <= figure.bbox.x1
    assert (
        figure.axes[0].get_window_extent().width > 6 * figure.dpi
    )  # the figure grew, the size of the axes did not change


def test_close_classes_keep_legible_names():
    z, labels = clusters(2)
    z = np.concatenate([z, z + 0.1])
    figure = plots.latent_scatter(z, np.concatenate([labels, labels + 2]), class_names=["Coat", "Bag", "Boot", "Shirt"])
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert len(boxes) == 4
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_classes_on_one_another_are_named_in_the_legend_alone():
    z, labels = clusters(10)
    figure = plots.latent_scatter(np.tile(z[:20], (10, 1)), labels)
    assert not figure.axes[0].texts
    assert len(figure.legends[0].get_texts()) == 10


def test_scatter_projects_more_dimensions_on_their_principal_components():
    z, _ = clusters(4, latent_dim=5)
    (axes,) = plots.latent_scatter(z).axes
    pca = PCA(2).fit(z)
    np.testing.assert_allclose(np.abs(offsets(axes)[0]), np.abs(pca.transform(z)), atol=1e-8)
    shares = [f"({100 * share:.0f}% of variance)" for share in pca.explained_variance_ratio_]
    assert shares[0] in axes.get_xlabel()
    assert shares[1] in axes.get_ylabel()


@pytest.mark.parametrize("seed", range(5))
def test_components_have_a_fixed_sign_so_that_pictures_do_not_flip(seed):
    z = np.random.default_rng(seed).normal(size=(50, 4))
    (points,) = offsets(plots.latent_scatter(z).axes[0])
    components = np.linalg.lstsq(z - z.mean(axis=0), points, rcond=None)[0]
    np.testing.assert_allclose(np.abs(components).max(axis=0), components.max(axis=0))


def test_scatter_spreads_one_dimension_over_a_line_a_class():
    z, labels = clusters(3, latent_dim=1, spread=100)
    (axes,) = plots.latent_scatter(z, labels).axes
    points = offsets(axes)
    assert [text.get_text() for text in axes.texts] == ["0", "1", "2"]
    for k in range(3):
        np.testing.assert_array_equal(points[k][:, 0], z[labels == k, 0])
    assert points[0][:, 1].min() > points[1][:, 1].max() > points[2][:, 1].max()


@pytest.mark.parametrize("labels", [None, np.eye(60, 4)])
def test_scatter_without_classes_has_one_colour_and_no_legend(labels):
    z, _ = clusters()
    figure = plots.latent_scatter(z, labels)
    assert len(figure.axes[0].collections) == 1
    assert not figure.legends


@pytest.mark.parametrize("z", [np.zeros((5, 4)), np.zeros((5, 2)), np.ones((1, 3))])
def test_scatter_draws_collapsed_codes(z):
    (points,) = offsets(plots.latent_scatter(z).axes[0])
    np.testing.assert_array_equal(points, np.zeros((len(z), 2)))


@pytest.mark.parametrize(
    ("z", "labels", "message"),
    [
        (np.zeros((5, 2)), np.zeros(5), "must be integers"),
        (np.zeros((5, 2)), np.zeros(4, int), "one entry per example: 5"),
        (np.full((5, 2), np.nan), None, "finite"),
        (np.zeros(5), None, "must have shape"),
    ],
)
def test_scatter_refuses_what_does_not_fit(z, labels, message):
    with pytest.raises(ValueError, match=message):
        plots.latent_scatter(z, labels)


# Decoded codes


def test_quantile_codes_are_the_normal_quantiles_growing_right_and_up():
    codes = plots.quantile_codes(5)
    quantiles = norm.ppf([0.1, 0.3, 0.5, 0.7, 0.9])
    for row in range(5):
        np.testing.assert_allclose(codes[row, :, 0], quantiles, atol=1e-6)
        np.testing.assert_allclose(codes[:, row, 1], quantiles[::-1], atol=1e-6)


def test_manifold_decodes_the_quantile_codes(vae):
    figure = plots.latent_manifold(vae, n=5)
    images = vae.decode(plots.quantile_codes(5).reshape(-1, 2))
    assert drawn(figure).shape == (40, 40)
    np.testing.assert_allclose(tile(figure, 1, 3, gap=0), images[5 + 3, ..., 0], atol=1e-6)
    assert tick_labels(figure.axes[0].xaxis) == ["−1.3", "−0.5", "0.0", "0.5", "1.3"]
    assert tick_labels(figure.axes[0].yaxis) == ["1.3", "0.5", "0.0", "−0.5", "−1.3"]


@pytest.mark.parametrize(("label", "used"), [(None, 0), (3, 3)])
def test_manifold_of_a_conditional_model_has_one_label(cvae, label, used):
    figure = plots.latent_manifold(cvae, n=3, label=label)
    np.testing.assert_allclose(tile(figure, 1, 1, gap=0), cvae.decode([[0.0, 0.0]], [used])[0, ..., 0], atol=1e-6)


def test_manifold_and_traversal_take_attributes(attribute_cvae):
    attributes = np.array([0.0, 1.0, 0.5])
    expected = attribute_cvae.decode([[0.0, 0.0]], attributes[None])[0, ..., 0]
    manifold = plots.latent_manifold(attribute_cvae, n=3, label=attributes)
    np.testing.assert_allclose(tile(manifold, 1, 1, gap=0), expected, atol=1e-6)
    np.testing.assert_allclose(tile(plots.traversal(attribute_cvae, y=attributes), 1, 3), expected, atol=1e-6)
    with pytest.raises(ValueError, match="array of shape"):
        plots.latent_manifold(attribute_cvae)


def test_manifold_of_three_dimensions_names_the_way_out(vae3):
    with pytest.raises(ValueError, match=r"traversal.*LatentScatter.*latent_dim=3"):
        plots.latent_manifold(vae3)


def test_traversal_changes_one_dimension_a_row(vae3):
    z = np.array([0.5, -1.0, 2.0])
    figure = plots.traversal(vae3, z, values=[-3, 1], dims=[2, 0])
    np.testing.assert_allclose(tile(figure, 0, 1), vae3.decode([[0.5, -1, 1]])[0, ..., 0], atol=1e-6)
    np.testing.assert_allclose(tile(figure, 1, 0), vae3.decode([[-3, -1, 2]])[0, ..., 0], atol=1e-6)
    assert tick_labels(figure.axes[0].yaxis) == ["$z_{2}$", "$z_{0}$"]
    assert tick_labels(figure.axes[0].xaxis) == ["−3.0", "1.0"]


def test_traversal_starts_at_zero_and_shows_the_first_twelve_dimensions():
    model = kvae.VAE(*kvae.networks.mlp((8, 8, 1), latent_dim=14, hidden=(8,)))
    figure = plots.traversal(model)
    assert drawn(figure).shape == (12 * 9 - 1, 7 * 9 - 1)
    np.testing.assert_allclose(tile(figure, 11, 3), model.decode(np.zeros((1, 14)))[0, ..., 0], atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"z": [0.0]}, r"shape \(3,\)"), ({"dims": [3]}, r"0\.\.2. Received: \[3\]"), ({"dims": []}, "dims")],
)
def test_traversal_refuses_what_does_not_fit(vae3, arguments, message):
    with pytest.raises(ValueError, match=message):
        plots.traversal(vae3, **arguments)


def test_interpolation_goes_straight_from_mean_to_mean(vae3):
    figure = plots.interpolation(vae3, X[0], X[1], steps=3)
    middle = vae3.encode(X[:2]).mean(axis=0, keepdims=True)
    np.testing.assert_array_equal(tile(figure, 0, 0), X[0, ..., 0])
    np.testing.assert_allclose(tile(figure, 0, 1), vae3.reconstruct(X[:1])[0, ..., 0], atol=1e-6)
    np.testing.assert_allclose(tile(figure, 0, 2), vae3.decode(middle)[0, ..., 0], atol=1e-6)
    np.testing.assert_array_equal(tile(figure, 0, 4), X[1, ..., 0])
    assert tick_labels(figure.axes[0].xaxis) == ["start", "0", "0.5", "1", "end"]


def test_interpolation_between_classes_is_decoded_under_both(cvae):
    figure = plots.interpolation(cvae, X[0], X[1], 3, 7, steps=3)
    z = (cvae.encode(X[:1], [3]) + cvae.encode(X[1:2], [7])) / 2
    for row, label in enumerate((3, 7)):
        np.testing.assert_allclose(tile(figure, row, 2), cvae.decode(z, [label])[0, ..., 0], atol=1e-6)
    np.testing.assert_array_equal(tile(figure, 1, 4), X[1, ..., 0])
    assert (tile(figure, 1, 0) == 1).all()
    assert (tile(figure, 0, 4) == 1).all()
    assert tick_labels(figure.axes[0].yaxis) == ["as 3", "as 7"]


def test_interpolation_within_a_class_is_one_row(cvae):
    assert drawn(plots.interpolation(cvae, X[0], X[1], 3, 3)).shape[0] == 8


def test_styles_share_their_code_across_digits(cvae):
    figure = plots.style_by_digit(cvae, n_styles=3, seed=4)
    z = cvae.sample_prior(3, [0, 0, 0], seed=4)
    for column in (0, 9):
        np.testing.assert_allclose(tile(figure, 2, column), cvae.decode(z[2:], [column])[0, ..., 0], atol=1e-6)
    assert tick_labels(figure.axes[0].xaxis) == [str(k) for k in range(10)]


def test_style_transfer_begins_with_the_real_image(cvae):
    figure = plots.style_transfer(cvae, X[:2], Y[:2])
    np.testing.assert_array_equal(tile(figure, 1, 0), X[1, ..., 0])
    expected = cvae.transfer_style(X[:2], Y[:2], [6])[1, 0, ..., 0]
    np.testing.assert_allclose(tile(figure, 1, 1 + 6), expected, atol=1e-6)
    assert tick_labels(figure.axes[0].xaxis) == ["real", *map(str, range(10))]


def test_styles_need_classes(vae, attribute_cvae):
    for model in (vae, attribute_cvae):
        with pytest.raises(ValueError, match=r"must have class labels"):
            plots.style_by_digit(model)
        with pytest.raises(ValueError, match="must have class labels"):
            plots.style_transfer(model, X[:1], Y[:1])


# Curves, PCA, files


def test_history_draws_loss_and_its_terms_in_nats():
    logs = {"loss": [3.0, 2.0], "val_loss": [4.0, 3.0], "reconstruction_loss": [2.0, 1.0], "kl_loss": [1.0, 1.5]}
    loss, terms = plots.history(logs).axes
    assert [list(line.get_ydata()) for line in loss.lines] == [[3, 2], [4, 3]]
    assert [list(line.get_ydata()) for line in terms.lines] == [[2, 1], [1, 1.5]]
    assert list(loss.lines[0].get_xdata()) == [1, 2]
    assert loss.get_ylabel() == terms.get_ylabel() == "nats per example"
    assert [text.get_text() for text in loss.get_legend().get_texts()] == ["loss, training", "loss, validation"]
    assert [text.get_text() for text in terms.get_legend().get_texts()] == ["reconstruction, training", "KL, training"]


def test_history_of_one_epoch_is_a_visible_point_at_a_whole_epoch():
    (axes,) = plots.history({"loss": [3.0]}).axes
    assert axes.lines[0].get_marker() == "o"
    low, high = axes.get_xlim()
    assert [tick for tick in axes.get_xticks() if low <= tick <= high] == [1]


def test_history_places_validation_of_every_other_epoch():
    class History:
        history = {"loss": [5.0, 4.0, 3.0, 2.0], "val_loss": [4.5, 2.5]}

    assert list(plots.history(History()).axes[0].lines[1].get_xdata()) == [2, 4]


def test_history_needs_a_loss():
    with pytest.raises(ValueError, match="Received: \\['mse'\\]"):
        plots.history({"mse": [1.0]})


def test_history_draws_the_panels_asked_for():
    logs = {"loss": [3.0, 2.0], "kl_loss": [1.0, 1.5]}
    (axes,) = plots.history(logs, None, ["Reconstruction and KL"]).axes
    assert list(axes.lines[0].get_ydata()) == [1, 1.5]
    with pytest.raises(ValueError, match="`panels` must be among"):
        plots.history(logs, panels=["KL"])


def test_histories_draw_a_term_of_every_training():
    runs = {"_one$": {"loss": [3.0, 2.0], "val_loss": [4.0, 3.0]}, "x" * 40: {"loss": [1.0] * 3, "val_loss": [2.0] * 3}}
    figure = plots.histories(runs, "val_loss")
    (axes,) = figure.axes
    assert [list(line.get_ydata()) for line in axes.lines] == [[4, 3], [2, 2, 2]]
    assert len({(line.get_color(), line.get_linestyle()) for line in axes.lines}) == 2
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == [r" _one\$", f" …{'x' * 29}"]
    assert axes.get_xlim() == (0.5, 3.5)
    for wrong, key in ((runs, "kl_loss"), ({}, "loss"), ({str(i): runs["_one$"] for i in range(21)}, "loss")):
        with pytest.raises(ValueError, match=f"`runs` must be 1 to 20 trainings with a `{key}`"):
            plots.histories(wrong, key)


def test_beside_pca_shows_both_reconstructions_their_errors_and_their_codes():
    rng = np.random.default_rng(0)
    model, pca = X + 0.1, X - 0.2
    z, z_pca = rng.normal(size=(60, 2)), rng.normal(size=(60, 2))
    figure = plots.beside_pca(X, model, pca, z, z_pca, Y, columns=4)
    assert tick_labels(figure.axes[0].yaxis) == ["real", "model\nMSE 0.0100", "PCA\nMSE 0.0400"]
    assert drawn(figure).shape == (26, 35)
    np.testing.assert_allclose(tile(figure, 1, 3), np.clip(model[3, ..., 0], 0, 1))
    for axes, codes in zip(figure.axes[1:], (z, z_pca), strict=True):
        np.testing.assert_array_equal(offsets(axes)[5], codes[Y == 5])
    assert len(figure.legends[0].get_texts()) == 10


def test_save_makes_the_folder_and_leaves_one_png(tmp_path):
    path = plots.save(plots.sample_grid(X[:4]), tmp_path / "new" / "folder" / "a.png")
    assert Image.open(path).format == "PNG"
    assert [file.name for file in path.parent.iterdir()] == ["a.png"]


def test_a_saved_figure_has_the_pixels_that_savefig_gives(vae, tmp_path):
    for i, figure in enumerate(
        (plots.sample_grid(X[:12], Y[:12], title="New"), plots.latent_scatter(vae.encode(X), Y))
    ):
        canvas = figure.canvas
        saved = plots.save(figure, tmp_path / f"{i}.png")
        assert figure.canvas is canvas
        figure.savefig(tmp_path / "expected.png")
        with Image.open(saved) as ours, Image.open(tmp_path / "expected.png") as expected:
            np.testing.assert_array_equal(np.asarray(ours), np.asarray(expected))


def test_save_keeps_the_old_file_when_drawing_fails(tmp_path, monkeypatch):
    def half(figure, path):
        Path(path).write_bytes(b"half")
        raise RuntimeError("power cut")

    monkeypatch.setattr(plots.canvas, "write_png", half)
    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError, match="power cut"):
        plots.save(plots.sample_grid(X[:4]), path)
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_save_names_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"another\. Received: .*file/folder"):
        plots.save(plots.sample_grid(X[:4]), tmp_path / "file" / "folder" / "a.png")


# Legibility on a projector


def make_all(vae, cvae):
    z, labels = clusters(10)
    names = ["T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
    return [
        plots.image_grid(np.zeros((1, 1, 28, 20, 1)), ["a long name"], ["a longer name"], "A title far too long " * 4),
        plots.image_grid(np.zeros((2, 10, 32, 32, 3)), None, names),
        plots.image_grid(np.zeros((6, 8, 28, 24, 1)), ["x", "reconstruction", *"abcd"], None, "Title"),
        plots.flow_grid(X[:2], np.ones((2, 7, 2, 2, 2)), None, ["truth", "regressor", *"abcde"], "Title"),
        plots.sample_grid(X[:40], Y[:40]),
        plots.reconstruction_grid(X[:10], X[:10]),
        plots.latent_scatter(z, labels, class_names=names),
        plots.latent_scatter(np.tile(z, 3), labels),
        plots.latent_scatter(z[:, :1], labels),
        plots.latent_manifold(vae),
        plots.traversal(vae),
        plots.interpolation(cvae, X[0], X[1], 3, 7),
        plots.style_by_digit(cvae),
        plots.style_transfer(cvae, X[:3], Y[:3]),
        plots.histories({f"a long name of a training, {i}": {"loss": [2.0, i]} for i in range(20)}, "loss", "Title"),
        plots.history(
            {key: [2.0, 1.0] for key in ("loss", "val_loss", "reconstruction_loss", "val_kl_loss", "kl_loss")}
        ),
        plots.beside_pca(X, X, X, np.tile(z[:60], 3), z[:60], Y),
    ]


@pytest.mark.long
def test_every_text_is_large_and_inside_the_figure(vae, cvae):
    for figure in make_all(vae, cvae):
        for text in figure.findobj(Text):
            assert text.get_fontsize() >= 12 or not text.get_text(), text
        figure.draw_without_rendering()
        box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
        inside = box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height
        assert inside, (figure.get_suptitle(), box, (width, height))


def test_column_labels_do_not_run_into_each_other(cvae):
    for figure in (plots.image_grid(np.zeros((2, 10, 8, 8, 1)), None, ["Ankle boot"] * 10), plots.style_by_digit(cvae)):
        figure.draw_without_rendering()
        boxes = [label.get_window_extent() for label in figure.axes[0].get_xticklabels()]
        assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


def test_pictures_keep_out_of_pyplot():
    folder = Path(plots.__file__).parents[1]
    sources = [*folder.glob("plots/*.py"), *folder.glob("callbacks/*.py")]
    assert len(sources) > 5
    assert not [path for path in sources if "pyplot" in path.read_text()]


# What dichromats see of linear RGB: Machado, Oliveira, Fernandes 2009, severity 1.
VISIONS = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


@pytest.mark.parametrize("vision", VISIONS)
def test_class_colours_can_be_told_apart(vision):
    """In CIELAB, a difference of 2 is just visible; that of any two of the ten classes is at least 18."""
    rgb = np.array([to_rgb(color) for color in plots.canvas.COLORS])
    seen = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) @ np.transpose(VISIONS[vision])
    to_xyz = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.072175], [0.0193339, 0.119192, 0.9503041]]
    x, y, z = np.cbrt(seen.clip(0, 1) @ np.transpose(to_xyz) / [0.95047, 1.0, 1.08883]).T
    lab = np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)
    assert pdist(lab).min() > 18
