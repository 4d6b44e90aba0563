"""Train the models that the README shows, draw its pictures and write its table of numbers.

Run it from the repository's root as `python assets/make.py [runs] [ladder] [inpaint] [table]`, without names for all;
it needs MNIST (KERAS_HOME, or a network) and some ten minutes on two cores. `table` only writes the table anew from
`assets/numbers.json`; the energy pictures come from `benchmarks/energy.py`.
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
# Which run shows what: (run, kinds of `kvae plot`).
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
    """Put the table between its two marks in the README."""
    before, rest = README.read_text().split(BEGIN)
    _, after = rest.split(END)
    README.write_text(f"{before}{BEGIN}\n{table(numbers)}\n{END}{after}")


def make_runs():
    """Train what the table tells of, draw the pictures of it and write the table."""
    from kvae.cli import plot, runs

    numbers = {}
    with tempfile.TemporaryDirectory() as folder:
        for i, (name, options) in enumerate(RUNS.items()):
            print(name, flush=True)
            out = Path(folder) / str(i)
            numbers[name], _ = runs.train(runs.DEMO if options == "DEMO" else options, out)
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
    """A VAE of 32 latent dimensions fills in the lower half of MNIST digits."""
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
    """Store a picture at the README's size, with one channel where there are no colours."""
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
