"""Common parts of the paper reproductions: saved runs, data, networks, curves and tables."""

import argparse
import json
import sys
import time
from pathlib import Path

import kvae
from kvae.distributions import Normal
from kvae.io import atomic
from kvae.plots.canvas import LABEL_SIZE, TICK_SIZE, new_figure

import keras
import numpy as np
from keras import ops

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"
NAMES = {"mnist": "MNIST", "digits": "digits", "frey": "Frey Face"}
SOURCES = {"mnist": "mnist", "digits": "digits", "frey": str(SHARED_DATA / "frey_faces.npz")}


def arguments_of(parser):
    """Add the options common to all commands, and parse."""
    parser.add_argument("--short", action="store_true", help="minutes instead of hours; the table says what differs")
    parser.add_argument("--out", default=None, type=Path, help="folder for the saved runs, the table and the figure")
    parser.add_argument("--data", default=None, help="an .npz file instead of Keras's MNIST or ../shared's Frey Face")
    parser.add_argument("--seed", default=0, type=int)
    return parser.parse_args()


def comparison(doc, methods, minutes=None):
    """The parser of a program that trains several methods for as long each, with its docstring as the help."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", help="digits, mnist, or an .npz file")
    if minutes is not None:
        parser.add_argument(
            "--minutes", type=float, default=minutes, help="of processor time in training, for each method"
        )
    parser.add_argument("--methods", nargs="+", default=list(methods), choices=methods)
    return parser


def data_and_folder(given, program, binarization=None):
    """The data set of a comparison, and the folder of its results, which is made."""
    folder = given.out or Path("runs") / f"{program}_{Path(given.dataset).stem}"
    folder.mkdir(parents=True, exist_ok=True)
    return kvae.load_data(given.data or given.dataset, binarization), folder


def load(dataset, path=None, binarization=None):
    """Load the data set, or exit with one line that names the file that is needed."""
    try:
        return kvae.load_data(path or SOURCES[dataset], binarization)
    except ValueError as error:
        hint = "" if dataset == "mnist" else f"{dataset} needs the file {SOURCES[dataset]} (or --data FILE). "
        sys.exit(f"{hint}{error}")


def kept(path, setting, function):
    """The result of `function(**setting)`, computed once and saved as JSON, from which later calls read it.

    Args:
        path: file of the run.
        setting: dict of JSON values.
        function: function of the setting that returns a dict of JSON values.

    Returns:
        The dict, with `seconds` added.
    """
    if path.is_file():
        run = json.loads(path.read_text())
        if run["setting"] != setting:
            sys.exit(f"{path} was run with different settings: choose another --out. Found: {run['setting']}")
        return run["result"]
    begin = time.perf_counter()
    keras.utils.clear_session()  # of the previous models
    keras.utils.set_random_seed(setting["seed"])
    result = function(**setting)
    result["seconds"] = round(time.perf_counter() - begin, 1)
    write_json(path, {"setting": setting, "result": result})
    print(f"{path.stem}: {result['seconds']} s", flush=True)
    return result


def write_json(path, content):
    """Write JSON atomically: an interruption leaves either the old file or the new one."""
    atomic.make_folder(path.parent)
    with atomic.replacing(path) as aside:
        aside.write_text(json.dumps(content, indent=1) + "\n")


def write_table(folder, lines, rows):
    """Write `table.md` and `table.json`, and print the former."""
    text = "\n".join(lines) + "\n"
    write_json(folder / "table.json", rows)
    (folder / "table.md").write_text(text)
    print(text)


def markdown(header, rows):
    """Lines of a Markdown table."""
    return [f"| {' | '.join(map(str, row))} |" for row in (header, ["---"] * len(header), *rows)]


def networks(image_shape, latent_dim, hidden, likelihood, activation):
    """Encoder, decoder and likelihood; a Gaussian has a mean in (0, 1), through a sigmoid, and a σ for each pixel."""
    if likelihood != "gaussian":
        pair = kvae.networks.mlp(image_shape, latent_dim, hidden, likelihood=likelihood, activation=activation)
        return *pair, likelihood
    normal = Normal()
    encoder, decoder = kvae.networks.mlp(image_shape, latent_dim, hidden, likelihood=normal, activation=activation)
    mean, log_var = ops.split(decoder.output, 2, axis=-1)
    bounded = ops.concatenate([ops.sigmoid(mean), log_var], axis=-1)
    return encoder, keras.Model(decoder.input, bounded, name="decoder"), normal


def normal_prior_on_weights(network, num_examples):
    """Add −log N(θ | 0, I) / N to the loss, up to a constant, which gives a MAP estimate of the decoder's weights."""
    for weight in network.trainable_variables:
        weight.regularizer = keras.regularizers.L2(0.5 / num_examples)


class Curve(keras.callbacks.Callback):
    """Evaluates a model during training, after given numbers of training samples.

    Args:
        measure: function without arguments that returns a dict of floats.
        at: increasing numbers of samples.
        samples_per_step: float.
    """

    def __init__(self, measure, at, samples_per_step=0.0):
        super().__init__()
        self.measure = measure
        self.at = list(at)
        self.samples_per_step = samples_per_step
        self.points = []

    def on_train_batch_end(self, batch, logs=None):
        """Count samples; `batch` is the last of those that Keras ran in one execution."""
        self.see((batch + 1) * self.samples_per_step)

    def see(self, samples):
        """Evaluate if the next number of samples has been reached."""
        if self.at and samples >= self.at[0]:
            self.points.append({"samples": round(samples), **self.measure()})
            self.at = [number for number in self.at if number > samples]


def checkpoints(start, end, count):
    """`count` numbers of samples from `start` to `end`, evenly spaced on a log axis."""
    return np.geomspace(start, end, count).round().astype(int).tolist()


def draw_curves(panels, styles, title, xlabel, ylabel):
    """Plot training (dashed) and test curves against samples on a log axis, with the same scale in all panels.

    Args:
        panels: dict from panel titles to dicts from methods to the points of a `Curve`.
        styles: dict from methods to `(color, marker)`.
        title: str.
        xlabel: str.
        ylabel: str.
    """
    columns = len(panels) if len(panels) < 5 else 3
    figure = new_figure(max(12, 4.2 * columns), 2 + 4.2 * -(-len(panels) // columns), title)
    grid = figure.subplots(-(-len(panels) // columns), columns, sharey=True, squeeze=False)
    late, handles = [], {}
    for index, (axes, (name, curves)) in enumerate(zip(grid.flat, panels.items(), strict=False)):
        for method, points in curves.items():
            color, marker = styles[method]
            samples = [point["samples"] for point in points]
            for part, line, face in (("train", "--", "white"), ("test", "-", color)):
                values = [point[part] for point in points]
                style = {"color": color, "marker": marker, "markerfacecolor": face, "markersize": 7, "linewidth": 2}
                handles[f"{method}, {part}"] = axes.plot(samples, values, line, **style)[0]
                late += values[len(values) // 2 :]
        dress(axes, name, xlabel, ylabel if index % columns == 0 else "")
        axes.set_xscale("log")
    margin = 0.06 * (max(late) - min(late))  # the lower limit cuts off the steep first half
    grid[0, 0].set_ylim(min(late) - margin, max(late) + margin)
    spare = list(grid.flat[len(panels) :])
    for axes in spare:
        axes.set_axis_off()
    where = {"loc": "center"} if spare else {"loc": "outside lower center", "ncols": len(handles) // 2}
    (spare[-1] if spare else figure).legend(handles.values(), handles, fontsize=LABEL_SIZE, frameon=False, **where)
    return figure


def dress(axes, title, xlabel, ylabel):
    """Set title, labels and font sizes of a panel."""
    axes.set_title(title, fontsize=LABEL_SIZE)
    axes.set_xlabel(xlabel, fontsize=LABEL_SIZE)
    axes.set_ylabel(ylabel, fontsize=LABEL_SIZE)
    axes.tick_params(labelsize=TICK_SIZE)
    axes.grid(alpha=0.3)
