"""Train the models shown in the README, draw its figures and write its table of results.

Run `python assets/make.py [runs] [ladder] [inpaint] [table]` from the repository's root; without names, it does
everything. It needs MNIST (from KERAS_HOME, or downloaded) and about ten minutes on two cores. `table` only rewrites
the table from `assets/numbers.json`; the energy figures come from `benchmarks/energy.py`.
"""

import json
import sys
import tempfile
from pathlib import Path

ASSETS = Path(__file__).parent
README = ASSETS.parent / "README.md"
BEGIN, END = "<!-- numbers: written by assets/make.py -->", "<!-- end of numbers -->"
RUNS = {
    "kvae demo": "DEMO",
    "kvae train --model cvae --dataset mnist --epochs 10": {"model": "cvae", "dataset": "mnist", "epochs": 10},
    "kvae train --model vae --dataset mnist --epochs 10": {"model": "vae", "dataset": "mnist", "epochs": 10},
}
# Figures of each run: (run, kinds of `kvae plot`).
PICTURES = {
    "kvae train --model cvae --dataset mnist --epochs 10": ("samples", "transfer"),
    "kvae train --model vae --dataset mnist --epochs 10": ("manifold", "scatter", "reconstructions"),
}


def table(numbers):
    """The README's table, in Markdown."""
    lines = [
        "| command | −ELBO (test), nats | reconstruction MSE | PCA's, same latent size | label agreement | seconds |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, run in numbers.items():
        agreement = f"{run['label_agreement']:.1%}" if "label_agreement" in run else "–"
        lines.append(
            f"| `{name}` | {run['negative_elbo']:.2f} ± {run['negative_elbo_standard_error']:.2f} "
            f"| {run['reconstruction_mse']:.4f} | {run['pca_reconstruction_mse']:.4f} | {agreement} "
            f"| {run['total_seconds']:.0f} |"
        )
    return "\n".join(lines)


def write_table(numbers):
    """Write the table between its two markers in the README."""
    before, rest = README.read_text().split(BEGIN)
    _, after = rest.split(END)
    README.write_text(f"{before}{BEGIN}\n{table(numbers)}\n{END}{after}")


def make_runs():
    """Train the models of the table, draw their figures and write the table."""
    from kvae.cli import options as run_options
    from kvae.cli import plot, runs

    numbers = {}
    with tempfile.TemporaryDirectory() as folder:
        for i, (name, options) in enumerate(RUNS.items()):
            print(name, flush=True)
            out = Path(folder) / str(i)
            numbers[name], _ = runs.train(run_options.DEMO if options == "DEMO" else options, out)
            if name in PICTURES:
                for path in plot.draw(out / "model.keras", PICTURES[name]):
                    _shrink(path, ASSETS / path.name)
    (ASSETS / "numbers.json").write_text(json.dumps(numbers, indent=2) + "\n")
    write_table(numbers)


def make_ladder():
    """The ladder on MNIST."""
    with tempfile.TemporaryDirectory() as folder:
        _kvae("ladder", "--dataset", "mnist", "--epochs", "10", "--batch-size", "128", "--out", folder)
        _shrink(Path(folder) / "ladder.png", ASSETS / "ladder.png")


def make_inpaint():
    """Inpaint the lower half of MNIST digits with a VAE of 32 latent dimensions."""
    with tempfile.TemporaryDirectory() as folder:
        out = f"{folder}/run"
        _kvae("train", "--model", "vae", "--dataset", "mnist", "--latent-dim", "32", "--epochs", "15", "--out", out)
        _kvae("apply", "inpaint", f"{out}/model.keras", "--out", f"{out}/inpaint.png")
        _shrink(f"{out}/inpaint.png", ASSETS / "inpaint.png")


PARTS = {"runs": make_runs, "ladder": make_ladder, "inpaint": make_inpaint}


def _kvae(*arguments):
    from kvae.cli.main import main

    if main(list(arguments)):
        sys.exit(1)


def _shrink(source, target):
    """Resize an image for the README, with a single channel if it has no colours."""
    from PIL import Image, ImageChops  # matplotlib brings it

    image = Image.open(source).convert("RGB")
    image.thumbnail((1200, 1200))
    red, green, blue = image.split()
    grey = not (ImageChops.difference(red, green).getbbox() or ImageChops.difference(red, blue).getbbox())
    (red if grey else image).save(target, optimize=True)


if __name__ == "__main__":
    for part in sys.argv[1:] or PARTS:
        if part == "table":
            write_table(json.loads((ASSETS / "numbers.json").read_text()))
        else:
            PARTS[part]()
