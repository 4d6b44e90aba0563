"""The arguments of the `kvae` command and its help, without a heavy import."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import Any

from kvae.cli import options
from kvae.cli import workshop as workshops
from kvae.cli.backends import BACKENDS

PICTURES = (
    "samples",
    "reconstructions",
    "scatter",
    "manifold",
    "traversal",
    "interpolation",
    "style",
    "transfer",
    "histograms",
)
TASKS = ("anomaly", "denoise", "inpaint", "super-resolve", "compress")
STRATEGIES = ("none", "mirrored", "multiworker", "dataparallel")


def parser(functions: dict[str, Callable[..., Any]]) -> argparse.ArgumentParser:
    """The command's `argparse` parser.

    Args:
        functions: dict from the commands' names to the functions that run them; their docstrings are the help.
    """
    top = _Parser(prog="kvae", description="Variational autoencoders in Keras 3, for teaching and practice.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    common = _Parser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")

    def command(name):
        text = functions[name].__doc__
        return commands.add_parser(name, help=text, description=text, parents=[common])

    def seed(sub):
        sub.add_argument("--seed", type=int, default=0, metavar="N", help="for a reproducible result; default: 0")

    def run_folder(sub, default):
        sub.add_argument("--out", default=default, metavar="DIR", help="run folder to write; default: %(default)s")
        sub.add_argument("--force", action="store_true", help="replace an existing run")

    def own_modules(sub):
        sub.add_argument(
            "--import",
            dest="modules",
            action="append",
            default=[],
            metavar="MODULE",
            help="Python module that registers your own model or layers, imported first; may be repeated",
        )

    sub = command("demo")
    seed(sub)
    run_folder(sub, "runs/demo")
    sub.set_defaults(resume=None, strategy="none")

    sub = command("train")
    sub.add_argument("--config", metavar="FILE", help="config.json of a run to repeat; other options override it")
    sub.add_argument("--resume", metavar="DIR", help="continue an interrupted run, with its original options")
    for option in options.TRAIN:
        option.add_to(sub)
    help = "of Keras; default: that of the run to resume, or KERAS_BACKEND, or that of the run to repeat"
    sub.add_argument("--backend", choices=BACKENDS, help=help)
    sub.add_argument("--strategy", choices=STRATEGIES, default="none", help="for several devices or machines")
    run_folder(sub, "runs/train")
    own_modules(sub)

    def model_argument(sub):
        sub.add_argument("model", metavar="MODEL", type=_model_file, help="a model.keras file, or its run's folder")
        own_modules(sub)

    def conversion(sub, default):
        help = f"{options.SIZE_HELP}; default: {default}"
        sub.add_argument("--image-size", type=int, nargs=2, metavar="N", help=help)
        sub.add_argument("--channels", type=int, metavar="C", help=f"{options.CHANNELS_HELP}; default: {default}")

    def dataset_argument(sub):
        sub.add_argument("--dataset", metavar="NAME", help=options.DATA_HELP + "; default: the one that the run used")
        conversion(sub, "as the run did")

    sub = command("generate")
    model_argument(sub)
    seed(sub)
    sub.add_argument("--label", type=int, nargs="+", metavar="Y", help="labels for a conditional model")
    help = "the numbers of one example, for a model of attribute vectors"
    sub.add_argument("--attributes", type=float, nargs="+", metavar="A", help=help)
    sub.add_argument("--count", type=int, default=16, metavar="N", help="images per label; default: %(default)s")
    help = "what the spread of the prior is multiplied by; default: %(default)s"
    sub.add_argument("--temperature", type=float, default=1.0, metavar="T", help=help)
    sub.add_argument("--out", metavar="FILE", help="a .png picture or an .npz array; default: next to the model")

    sub = command("evaluate")
    model_argument(sub)
    seed(sub)
    dataset_argument(sub)
    sub.add_argument(
        "--num-samples", type=int, default=20, metavar="L", help="posterior samples per example; default: %(default)s"
    )
    sub.add_argument("--doctor", action="store_true", help="also report what is wrong with the model, and what to try")
    sub.add_argument("--out", metavar="FILE", help="JSON file to write the numbers to")

    sub = command("plot")
    model_argument(sub)
    sub.add_argument("--kind", choices=(*PICTURES, "history"), nargs="+", help="default: all that fit the model")
    dataset_argument(sub)
    sub.add_argument("--label", type=int, metavar="Y", help="class of a manifold or traversal; default: 0")
    sub.add_argument("--out", metavar="DIR", help="folder for the pictures; default: next to the model")

    sub = command("explore")
    model_argument(sub)
    seed(sub)
    dataset_argument(sub)
    help = "hold decoded images instead of the decoder, for one with layers that a page cannot compute"
    sub.add_argument("--sheet", action="store_true", help=help)
    sub.add_argument("--out", metavar="FILE", help="HTML file to write; default: explore.html next to the model")

    def runs(sub):
        sub.add_argument("runs", nargs="+", metavar="RUN", help="a run folder")

    sub = command("report")
    runs(sub)
    own_modules(sub)
    sub.add_argument("--out", default="report.html", metavar="FILE", help="HTML file to write; default: %(default)s")

    runs(command("compare"))

    sub = command("ladder")
    seed(sub)
    sub.add_argument("--dataset", default="digits", metavar="NAME", help=options.DATA_HELP + "; default: %(default)s")
    conversion(sub, "their own")
    sub.add_argument("--latent-dim", type=int, default=2, metavar="K", help="latent dimensions; default: %(default)s")
    sub.add_argument("--epochs", type=int, default=40, metavar="N", help="for each network; default: %(default)s")
    sub.add_argument("--batch-size", type=int, default=32, metavar="N", help="default: %(default)s")
    sub.add_argument("--out", default="runs/ladder", metavar="DIR", help="folder to write to; default: %(default)s")

    sub = command("apply")
    sub.add_argument("task", choices=TASKS, metavar="TASK", help=", ".join(TASKS))
    model_argument(sub)
    seed(sub)
    dataset_argument(sub)
    sub.add_argument("--count", type=int, default=100, metavar="N", help="test images; default: %(default)s")
    methods = (
        "anomaly: elbo, importance, reconstruction, energy; "
        "denoise, inpaint, super-resolve: gibbs, metropolis, optimise"
    )
    sub.add_argument("--method", metavar="NAME", help=methods)
    sub.add_argument(
        "--sigma", type=float, default=0.5, metavar="S", help="noise level, for denoise; default: %(default)s"
    )
    sub.add_argument(
        "--factor", type=int, default=2, metavar="F", help="scale factor, for super-resolve; default: %(default)s"
    )
    sub.add_argument("--strange", metavar="NAME", help="anomalous data; default: the test images upside down")
    sub.add_argument("--out", metavar="FILE", help="picture to write; default: next to the model")

    sub = command("data")
    sub.add_argument("name", nargs="?", metavar="NAME", help=options.DATA_HELP)
    conversion(sub, "their own")
    sub.add_argument("--out", metavar="FILE", help="also draw the first images")

    workshops.add_arguments(command("workshop"))
    return top


def _model_file(path):
    """The model's file of a run whose folder is given."""
    return os.path.join(path, "model.keras") if os.path.isdir(path) else path


class _Parser(argparse.ArgumentParser):
    """Errors in one line; subparsers are of the same class."""

    def error(self, message):
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")
