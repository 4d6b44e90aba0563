"""Measure the reference cards: run each command with several seeds, and write kvae/evaluation/cards.json.

Run `python benchmarks/cards.py` from the repository's root. Arguments select the commands or data sets that contain one
of them (`python benchmarks/cards.py digits`), `--seeds 3` sets the number of seeds. Existing measurements are kept
unless the command's options have changed, so the program can be interrupted and restarted. MNIST is loaded through
Keras (from KERAS_HOME, or downloaded).
"""

import argparse
import json
import tempfile
from pathlib import Path

from kvae.cli import options as run_options
from kvae.cli import parser as command_line
from kvae.cli import runs
from kvae.cli.main import COMMANDS as KVAE_COMMANDS
from kvae.evaluation import reference_cards
from kvae.io import atomic

import keras

DIGITS = "scikit-learn's 8x8 digits, with cross-entropy on grey pixels, are not an established benchmark"
MNIST = "that is −log p(x) of binarized digits, this −ELBO of grey pixels with 2 latent dimensions"
NOTHING = {"value": None, "source": None, "why": DIGITS}
BURDA = {"value": 86.76, "source": "Burda et al. 2016, Table 1, VAE with 50 latent dimensions", "why": MNIST}
COMMANDS = {  # the metric of each, and the nearest published figure
    "kvae demo": ("negative_elbo", NOTHING),
    "kvae train": ("negative_elbo", NOTHING),
    "kvae train --model vae": ("negative_elbo", NOTHING),
    "kvae train --model semisupervised": ("accuracy", NOTHING),
    "kvae train --model auxiliary": ("accuracy", NOTHING),
    "kvae train --model gan": ("frechet_distance", NOTHING),
    "kvae train --model vaegan": ("frechet_distance", NOTHING),
    "kvae train --model introvae": ("frechet_distance", NOTHING),
    "kvae train --model adversarial_autoencoder": ("frechet_distance", NOTHING),
    "kvae train --dataset mnist --epochs 10": ("negative_elbo", BURDA),
    "kvae train --model vae --dataset mnist --epochs 10": ("negative_elbo", BURDA),
}


def options_of(command):
    """The complete options of a command."""
    arguments = command_line.parser(KVAE_COMMANDS).parse_args(command.split()[1:])
    if arguments.command == "demo":
        return run_options.DEMO
    given = {name: getattr(arguments, name) for name in run_options.DEFAULTS}
    return run_options.complete({name: value for name, value in given.items() if value is not None})


def measure(options, metric, seed):
    """One run: a dict of its seed, its number, and the number's standard error over test images, if there is one."""
    with tempfile.TemporaryDirectory() as folder:
        metrics, interrupted = runs.train(options | {"seed": seed}, Path(folder) / "run", verbose=False)
    if interrupted:
        raise KeyboardInterrupt
    error = metrics.get(f"{metric}_standard_error")
    return {"seed": seed, "value": round(metrics[metric], 4)} | ({"standard_error": round(error, 4)} if error else {})


def main():
    """Measure what is missing, and print the band of each card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*", help="measure commands, or data sets, that contain one of these")
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    content = json.loads(reference_cards.CARDS.read_text()) if reference_cards.CARDS.is_file() else {}
    for command, (metric, published) in COMMANDS.items():
        options = options_of(command)
        if arguments.words and not any(word in f"{command} {options['dataset']}" for word in arguments.words):
            continue
        own = {name: value for name, value in options.items() if value != run_options.DEFAULTS[name]}
        known = content.get(command, {})
        done = known.get("runs", []) if known.get("options") == own else []
        content[command] = card = {
            "options": own,
            "metric": metric,
            "published": published,
            "backend": keras.backend.backend(),
            "runs": done,
        }
        for seed in range(arguments.seeds):
            if seed in [run["seed"] for run in done]:
                continue
            run = measure(options, metric, seed)
            done.append(run)
            with atomic.replacing(reference_cards.CARDS) as aside:
                aside.write_text(json.dumps(content, indent=1) + "\n")
            print(f"{command}, seed {seed}: {metric} {run['value']}", flush=True)
        values = [run["value"] for run in card["runs"]]
        if len(values) > 1:
            measured = reference_cards.Card(command, own, metric, tuple(values), published)
            print(reference_cards.Placement(measured, measured.mean).text, flush=True)


if __name__ == "__main__":
    main()
