"""Pictures of series and tables: grids of lines, histograms, and what chooses them."""

import keras
import numpy as np
import pandas as pd
import pytest
from cases import QUICKLY, vae
from test_cli import run_here

import kvae
from kvae import callbacks, plots
from kvae.distributions import Mixed
from kvae.plots.examples import IMAGES, LINES, grids_of


def sines(rows, columns, channels=1):
    phases = np.arange(rows * columns * channels).reshape(rows, columns, 1, channels)
    return np.sin(np.linspace(0, 6, 30)[:, None] + phases)


def drawn(axes, color, cells):
    """The points of the lines of one colour, `(cells, points, 2)`, without the breaks between cells."""
    (line,) = (line for line in axes.lines if line.get_color() == color)
    points = np.column_stack(line.get_data()).reshape(cells, -1, 2)
    assert np.isnan(points[:, -1, 1]).all()
    return points[:, :-1]


def test_lines_have_one_scale_and_are_told_by_their_ticks():
    lines = sines(2, 3) * np.array([1, 3]).reshape(2, 1, 1, 1)
    figure = plots.line_grid(lines[..., 0], ["a", "b"], ["x", "y", "z"], "Sines")
    (axes,) = figure.axes
    points = drawn(axes, plots.canvas.COLORS[0], 6).reshape(2, 3, 30, 2)
    low, high = lines.min(), lines.max()
    for row, bottom in enumerate((1.12, 0)):  # the first row is the upper one
        expected = bottom + 0.06 + 0.88 * (lines[row, ..., 0] - low) / (high - low)
        np.testing.assert_allclose(points[row, ..., 1], expected, rtol=1e-6)
    assert (np.diff(points[..., 0], axis=-1) > 0).all()
    right, below = axes.child_axes
    value = [float(tick.get_text().replace("−", "-")) for tick in right.get_yticklabels()]
    place = np.array(right.get_yticks())
    bottoms = np.repeat([1.12, 0], len(value) // 2)
    np.testing.assert_allclose(place, bottoms + 0.06 + 0.88 * (np.array(value) - low) / (high - low), atol=1e-6)
    assert [tick.get_text() for tick in below.get_xticklabels()] == ["0", "29"] * 3
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["a", "b"]
    assert figure.get_suptitle() == "Sines"


def test_channels_have_colours_and_empty_cells_nothing():
    lines = sines(1, 3, channels=2)
    lines[0, 2] = np.nan
    axes = plots.line_grid(lines).axes[0]
    for color in plots.canvas.COLORS[:2]:
        assert np.isfinite(drawn(axes, color, 3)).all(axis=(1, 2)).tolist() == [True, True, False]
    assert len(axes.collections[0].get_paths()) == 2


def test_channels_are_named_and_empty_cells_have_no_scale():
    figure = plots.line_samples(sines(1, 7, channels=2)[0])  # 3 × 3 cells, two of them empty
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["channel 0", "channel 1"]
    right, below = figure.axes[0].child_axes
    assert min(right.get_yticks()) > 1.12  # of the first two rows
    assert [tick.get_text() for tick in below.get_xticklabels()] == ["0", "29"]
    assert not plots.line_samples(sines(1, 7)[0]).legends


def test_samples_are_arranged_by_class_or_as_a_square():
    series = sines(1, 10)[0, ..., 0]
    axes = plots.line_samples(series, [0] * 6 + [2] * 4, class_names=["a", "b", "c"]).axes[0]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["a", "c"]
    assert len(axes.collections[0].get_paths()) == 10  # cells; two of the 2 × 6 are empty
    assert drawn(plots.line_samples(series[:9]).axes[0], plots.canvas.COLORS[0], 9).shape == (9, 30, 2)


def test_constant_and_single_values_are_drawn():
    assert plots.line_grid(np.zeros((1, 2, 1))).axes[0].lines


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: plots.line_grid(np.zeros((2, 3))), r"\(rows, columns, length\).*shape \(2, 3\)"),
        (lambda: plots.line_grid(np.full((1, 1, 4), np.inf)), "must be finite"),
        (lambda: plots.line_grid(np.full((1, 1, 4), np.nan)), "NaN alone"),
        (lambda: plots.line_grid(np.zeros((1, 2, 4)), ["a", "b"]), "one label per row or column, here 1"),
        (lambda: plots.anomalies(np.zeros(3), np.zeros(3)), r"or \(n, features\) or \(n, time.*shape \(3,\)"),
        (lambda: plots.line_samples(np.zeros((3, 4)), [0]), "one entry per example: 3"),
        (
            lambda: plots.line_reconstructions(np.zeros((3, 4)), np.zeros((3, 5))),
            r"shape of the original lines, \(3, 4\)",
        ),
        (lambda: plots.feature_histograms(np.zeros((3, 4)), np.zeros((3, 5))), r"`samples` must have shape \(n, 4\)"),
        (lambda: plots.feature_histograms(np.zeros((3, 2)), np.zeros((3, 2)), ["a"]), "one name per feature, here 2"),
        (lambda: plots.feature_histograms(np.zeros(3), np.zeros(3)), r"`x` must have shape \(n, features\)"),
        (lambda: plots.column_histograms({"a": [1], "b": [2]}, {"a": [1]}), "Received: samples without 'b'"),
        (lambda: plots.column_histograms({}, {}), "Received: a table without columns"),
        (lambda: plots.column_histograms({"a": [1]}, {"a": [None]}), r"`samples\['a'\]` must have at least one known"),
    ],
)
def test_bad_arrays(draw, message):
    with pytest.raises(ValueError, match=message) as caught:
        draw()
    assert "\n" not in str(caught.value)


def test_restored_series_are_drawn_with_mean_and_spread(rng):
    x, samples = rng.normal(size=(4, 30)), rng.normal(size=(5, 4, 30))
    mask = np.arange(30) < 10
    columns = [np.where(mask, x, np.nan), *samples[:3], samples.mean(0), samples.std(0), x]
    lines = np.stack(columns, axis=1)[:3]
    points = drawn(plots.inpainting(x, mask, samples, rows=3).axes[0], plots.canvas.COLORS[0], 21)
    low, high = np.nanmin(lines), np.nanmax(lines)
    expected = 0.06 + 0.88 * (lines - low) / (high - low) + np.reshape([2.24, 1.12, 0], (3, 1, 1))
    np.testing.assert_allclose(points[..., 1].reshape(3, 7, 30), expected, atol=1e-6)
    labels = [text.get_text() for text in plots.denoising(x, x, samples).axes[0].get_xticklabels()]
    assert labels == ["noisy", "sample 1", "sample 2", "sample 3", "mean", "spread", "truth"]


def test_gaps_are_left_out(rng):
    x, reconstruction = rng.normal(size=(6, 4)), rng.normal(size=(6, 4))
    x[:4, 0], x[:, 1], x[5, 3] = np.nan, np.nan, np.nan
    expected = np.nanmean((x - reconstruction) ** 2)
    assert kvae.evaluation.reconstruction_mse(x, reconstruction) == pytest.approx(expected)
    names = plots.lines_beside_pca(x, reconstruction, reconstruction, x[:, 2:3], x[:, 2:3]).axes[0].get_yticklabels()
    assert names[1].get_text() == f"model\nMSE {expected:.4f}"
    assert len(plots.feature_histograms(x, reconstruction).axes) == 4


def test_bins_of_counts_hold_as_many_numbers_each():
    x = np.arange(80.0)[:, None]
    (axes,) = plots.feature_histograms(x, x).axes
    outline = axes.patches[0].get_path().vertices[:, 1]
    np.testing.assert_allclose(np.unique(outline), [0, 1 / 80])  # 20 bins of 4 numbers: no comb
    x = np.append(np.repeat(np.arange(50), 3), 2000)[:, None]  # on a logarithmic scale
    (axes,) = plots.feature_histograms(x, x).axes
    edges = np.unique(axes.patches[0].get_path().vertices[:, 0])
    assert np.expm1(edges[0]) == pytest.approx(-0.5)
    assert np.diff(np.expm1(edges)).min() == pytest.approx(1)  # one whole number at least


def test_anomalous_series_are_drawn_by_score(rng):
    x, scores = rng.normal(size=(6, 30)), np.array([3.0, 1, 2, 6, 5, 4])
    points = drawn(plots.anomalies(x, scores, columns=2).axes[0], plots.canvas.COLORS[0], 4)
    low, high = x[[1, 2, 3, 4]].min(), x[[1, 2, 3, 4]].max()
    expected = 0.06 + 0.88 * (x[[1, 2, 3, 4]] - low) / (high - low) + np.reshape([1.12, 1.12, 0, 0], (4, 1))
    np.testing.assert_allclose(points[..., 1], expected, atol=1e-6)


def test_columns_of_every_kind_are_drawn(rng):
    table = pd.DataFrame(
        {
            "city": ["Bonn", "Kiel", "Kiel", None] * 25,
            "member": pd.array([True, False, None, True] * 25, "boolean"),
            "visits": [0, 2, 2, 5] * 25,
            "income": rng.normal(size=100),
        }
    )
    samples = {"city": ["Ulm", "Kiel"], "member": [True, True], "visits": [5.0, 0.0], "income": [0.1, 0.2]}
    city, member, visits, income = plots.column_histograms(table, samples).axes
    assert [axes.get_title() for axes in (city, visits)] == ["city, 25% missing", "visits"]
    assert [text.get_text() for text in city.get_yticklabels()] == ["Kiel", "Bonn", "Ulm"]
    data, drawn = city.containers
    np.testing.assert_allclose([bar.get_width() for bar in data], [2 / 3, 1 / 3, 0])
    np.testing.assert_allclose([bar.get_width() for bar in drawn], [0.5, 0, 0.5])
    assert [text.get_text() for text in member.get_yticklabels()] == ["True", "False"]
    data, drawn = visits.containers
    np.testing.assert_allclose([bar.get_height() for bar in data], [0.25, 0.5, 0.25])
    np.testing.assert_allclose([bar.get_height() for bar in drawn], [0.5, 0, 0.5])
    np.testing.assert_allclose([bar.get_x() + bar.get_width() for bar in data], [0, 2, 5])
    assert len(income.patches) == 2
    many = {"word": [str(i) for i in range(9) for _ in range(9 - i)]}  # the most frequent 8
    assert len(plots.column_histograms(many, many).axes[0].get_yticklabels()) == 8


@pytest.mark.backend_independent
def test_the_command_draws_the_columns_of_a_mixed_likelihood(tmp_path, rng, monkeypatch):
    vae((4,), likelihood=Mixed({"age": "gaussian", "city": 3})).save(tmp_path / "rows.keras")
    np.savez(tmp_path / "rows.npz", x=np.column_stack([rng.normal(size=20), np.eye(3)[rng.integers(3, size=20)]]))
    figures = []
    monkeypatch.setattr(plots, "save", lambda figure, path: figures.append(figure))
    run_here("plot", "rows.keras", "--dataset", "rows.npz", "--kind", "histograms", cwd=tmp_path)
    assert [axes.get_title() for axes in figures[0].axes] == ["age", "city"]
    assert len(figures[0].axes[1].containers) == 2


def test_histograms_of_each_feature_have_area_one(rng):
    figure = plots.feature_histograms(rng.normal(size=(200, 18)), rng.normal(size=(50, 18)))
    assert len(figure.axes) == 16
    for patch in figure.axes[0].patches:
        x, y = patch.get_xy().T
        area = np.abs(np.sum(x * np.roll(y, 1) - y * np.roll(x, 1))) / 2
        assert area == pytest.approx(1, rel=1e-6)
    assert figure.axes[3].get_title() == "feature 3"
    counts = rng.negative_binomial(1, 0.01, size=(200, 1)) * np.array([[0.05], [5.0]]).repeat(100, axis=0)
    (axes,) = plots.feature_histograms(counts, counts[:50]).axes
    np.testing.assert_allclose(np.expm1(axes.get_xticks()), [0, 1, 10, 100, 1000][: len(axes.get_xticks())])
    assert axes.patches[0].get_xy()[:, 0].max() == pytest.approx(np.log1p(counts.max()))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["data", "samples"]


def test_the_shape_of_an_example_chooses_the_plots():
    assert [grids_of(shape) for shape in ((8, 8, 1), (64,), (64, 1))] == [IMAGES, LINES, LINES]


@pytest.mark.long
@pytest.mark.parametrize("shape", [(12,), (12, 1)])
def test_callbacks_and_pictures_of_a_model_of_series(tmp_path, rng, shape, small_pictures):
    x, y = rng.normal(size=(20, *shape)).astype("float32"), np.arange(20) % 2
    pair = kvae.networks.mlp(shape, 2, hidden=(4,), num_classes=2, likelihood="gaussian")
    model = kvae.CVAE(*pair, num_classes=2, likelihood="gaussian", seed=0)
    model.compile(optimizer=keras.optimizers.Adam(), **QUICKLY)
    hooks = [
        callbacks.SampleGrid(tmp_path, columns=3),
        callbacks.ReconstructionGrid(tmp_path, x, y, count=3),
        callbacks.LatentScatter(tmp_path, x, y),
        callbacks.LatentManifold(tmp_path, n=3),
        callbacks.PCABaseline(tmp_path, x, x, y),
    ]
    model.fit(x, y, verbose=0, callbacks=hooks)
    assert len(list(tmp_path.glob("*.png"))) == 5
    for figure in (
        plots.traversal(model),
        plots.interpolation(model, x[0], x[1], 0, 1),
        plots.style_by_digit(model, n_styles=2),
        plots.style_transfer(model, x[:2], y[:2]),
    ):
        assert figure.axes[0].child_axes  # the scale of a line grid
    model.save(tmp_path / "model.keras")
    run_here("generate", "model.keras", "--label", "0", "1", "--count", "2", cwd=tmp_path)
    assert (tmp_path / "generated-label-0-1.png").is_file()


@pytest.mark.long
def test_a_run_on_a_table(tmp_path, rng, small_pictures):
    np.savez(tmp_path / "table.npz", x=rng.normal(size=(40, 5)), y=np.repeat(["a", "b"], 20))
    train = ("train", "--dataset", "table.npz", "--epochs", "1", "--hidden", "8", "--out", "run")
    assert "gaussian" in run_here(*train, cwd=tmp_path, code=1)
    assert "must be None for series" in run_here(*train, "--binarization", "static", cwd=tmp_path, code=1)
    run_here(*train, "--likelihood", "gaussian", cwd=tmp_path)
    run_here("plot", "run/model.keras", "--kind", "samples", "scatter", "histograms", cwd=tmp_path)
    assert (tmp_path / "run" / "plots" / "histograms.png").is_file()
    assert "negative elbo" in run_here("evaluate", "run/model.keras", cwd=tmp_path)
    ladder = ("ladder", "--dataset", "table.npz", "--out", "ladder")
    assert "`data` must be images" in run_here(*ladder, cwd=tmp_path, code=1)
    for task in (("compress",), ("inpaint", "--method", "gibbs")):
        printed = run_here("apply", task[0], "run/model.keras", "--count", "4", *task[1:], cwd=tmp_path)
        assert f"{task[0]}.png" in printed
    assert "second half" in printed
    assert "MSE of the estimate" in run_here("apply", "denoise", "run/model.keras", "--count", "4", cwd=tmp_path)
    shown = run_here("data", "table.npz", "--out", "table.png", cwd=tmp_path)
    assert "32 training and 8 test examples, series or table of 5 values" in shown
    assert "training examples per label: a: 16, b: 16" in shown


@pytest.mark.long
def test_runs_on_counts_and_on_series(tmp_path, rng, small_pictures):
    np.savez(tmp_path / "counts.npz", x=rng.poisson(3, size=(40, 5)))
    np.savez(tmp_path / "waves.npz", series=3 * rng.normal(size=(40, 8, 2)))
    np.save(tmp_path / "waves.npy", 3 * rng.normal(size=(40, 8, 2)))
    train = ("train", "--model", "vae", "--epochs", "1", "--hidden", "8")
    run_here(*train, "--dataset", "counts.npz", "--likelihood", "poisson", "--out", "counts", cwd=tmp_path)
    shown = run_here("evaluate", "counts/model.keras", cwd=tmp_path)
    assert all(name in shown for name in ("zeros", "generated zeros", "dispersion", "generated dispersion"))
    run_here("plot", "counts/model.keras", "--kind", "histograms", cwd=tmp_path)
    refused = run_here("apply", "denoise", "counts/model.keras", "--count", "4", "--sigma", "9", cwd=tmp_path, code=1)
    assert "counts do not have Gaussian noise" in refused
    series = (*train, "--likelihood", "gaussian", "--out", "waves")
    assert "call the array series" in run_here(*series, "--dataset", "waves.npy", cwd=tmp_path, code=1)
    run_here(*series, "--dataset", "waves.npz", cwd=tmp_path)
    assert "series of 8 times and 2 channel(s)" in run_here("data", "waves.npz", cwd=tmp_path)
    run_here("apply", "anomaly", "waves/model.keras", "--count", "4", cwd=tmp_path)
    assert (tmp_path / "waves" / "anomaly.png").is_file()
    no_rows = np.zeros((2, 3, 2, 2))
    np.savez(tmp_path / "images.npz", series=no_rows)
    assert "(n, time, channels) for series" in run_here("data", "images.npz", cwd=tmp_path, code=1)
