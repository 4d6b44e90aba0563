"""Train the models that the README shows, draw its pictures and write its table of numbers.

Run it from the repository's root as `python assets/make.py`; it needs MNIST (KERAS_HOME, or a network) and some ten
minutes on two cores. `python assets/make.py --table` only writes the table anew from `assets/numbers.json`.
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


def main():
    """Train, draw and write."""
    from kvae import gallery, runs

    numbers = {}
    with tempfile.TemporaryDirectory() as folder:
        for i, (name, options) in enumerate(RUNS.items()):
            print(name, flush=True)
            out = Path(folder) / str(i)
            numbers[name], _ = runs.train(runs.DEMO if options == "DEMO" else options, out)
            for path in gallery.draw(
                out / "model.keras", PICTURES.get(name, ()) or ("history",), out=Path(folder) / "p"
            ):
                if name in PICTURES:
                    _shrink(path, ASSETS / path.name)
    (ASSETS / "numbers.json").write_text(json.dumps(numbers, indent=2) + "\n")
    write_table(numbers)


def _shrink(source, target):
    """Store a picture with a palette of 128 colours, which reads the same at a fifth of the size."""
    from PIL import Image  # matplotlib brings it

    image = Image.open(source).convert("RGB")
    image.thumbnail((1200, 1200))
    image.quantize(128, dither=Image.Dither.NONE).save(target, optimize=True)


if __name__ == "__main__":
    if "--table" in sys.argv:
        write_table(json.loads((ASSETS / "numbers.json").read_text()))
    else:
        main()
