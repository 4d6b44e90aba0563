"""What the `kvae` command takes: its commands' options and their help, without a heavy import."""

import argparse

from kvae.cli import workshop as workshops

PICTURES = ("samples", "reconstructions", "scatter", "manifold", "traversal", "interpolation", "style", "transfer")
TASKS = ("anomaly", "denoise", "inpaint", "super-resolve", "compress")
STRATEGIES = ("none", "mirrored", "multiworker", "dataparallel")
PRIORS = ("standard", "learned", "mixture", "vamp")
GRADIENTS = ("reparameterized", "doubly_reparameterized", "score_function")
DATA_HELP = "digits (no network needed), mnist, fashion_mnist, or a path to an .npz file"


def parser(functions):
    """The command's `argparse` parser.

    Args:
        functions: dict from the commands' names to what runs them, whose docstrings are the help.
    """
    top = _Parser(prog="kvae", description="Variational autoencoders in Keras 3, for teaching and for use.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    common = _Parser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")

    def command(name):
        text = functions[name].__doc__
        return commands.add_parser(name, help=text, description=text, parents=[common])

    def seed(sub, default):
        sub.add_argument("--seed", type=int, default=default, metavar="N", help="for a reproducible result; default: 0")

    def run_folder(sub, default):
        sub.add_argument("--out", default=default, metavar="DIR", help="run folder to write (default: %(default)s)")
        sub.add_argument("--force", action="store_true", help="replace the run that is there")

    sub = command("demo")
    seed(sub, 0)
    run_folder(sub, "runs/demo")
    sub.set_defaults(resume=None, strategy="none")

    sub = command("train")
    seed(sub, None)
    sub.add_argument("--config", metavar="FILE", help="config.json of a run to repeat; further options override it")
    sub.add_argument("--resume", metavar="DIR", help="go on with a run that was cut off; its options are kept")
    sub.add_argument("--model", choices=("autoencoder", "vae", "cvae"), help="default: cvae")
    sub.add_argument("--dataset", metavar="NAME", help=DATA_HELP + "; default: digits")
    sub.add_argument("--network", choices=("mlp", "conv"), help="default: mlp")
    sub.add_argument("--latent-dim", type=int, metavar="K", help="latent dimensions; default: 2")
    sub.add_argument("--hidden", type=int, nargs="+", metavar="N", help="units or filters of the hidden layers")
    sub.add_argument("--epochs", type=int, metavar="N", help="default: 30")
    sub.add_argument("--batch-size", type=int, metavar="N", help="default: 128")
    sub.add_argument("--learning-rate", type=float, metavar="R", help="Adam's, at the start; default: 2e-3")
    sub.add_argument("--beta", type=float, metavar="B", help="weight of the KL; default: 1")
    sub.add_argument("--kl-warmup", type=int, metavar="N", help="epochs in which beta rises from 0; default: none")
    sub.add_argument("--likelihood", metavar="NAME", help="bernoulli or gaussian; default: bernoulli")
    sub.add_argument("--sigma", type=_sigma, metavar="S", help="a Gaussian's: learned (default), per_pixel, a number")
    sub.add_argument("--noise", type=float, metavar="S", help="standard deviation, for a denoising autoencoder")
    sub.add_argument("--posterior", metavar="NAME", help="family of q(z|x), such as laplace; default: normal")
    sub.add_argument("--prior", choices=PRIORS, help="learned p(z|y): of a cvae; vamp: of a vae; default: standard")
    sub.add_argument("--bound", metavar="NAME", help="elbo, importance_weighted or renyi; default: elbo")
    sub.add_argument("--num-samples", type=int, metavar="L", help="posterior samples an example; default: 1")
    sub.add_argument("--alpha", type=float, metavar="A", help="of renyi; --alpha=-inf for VR-max; default: 0.5")
    sub.add_argument("--free-bits", type=float, metavar="B", help="nats a latent dimension, of elbo; default: 0")
    sub.add_argument("--gradient", choices=GRADIENTS, help="its estimator; default: reparameterized")
    sub.add_argument("--binarization", choices=("static", "dynamic"), help="default: none, grey values as they are")
    sub.add_argument("--pictures-every", type=int, metavar="N", help="epochs between sample grids; default: a fifth")
    sub.add_argument("--strategy", choices=STRATEGIES, default="none", help="for several devices or machines")
    run_folder(sub, "runs/train")

    def model_argument(sub):
        sub.add_argument("model", metavar="MODEL", help="a model.keras file")

    sub = command("generate")
    model_argument(sub)
    seed(sub, 0)
    sub.add_argument("--label", type=int, nargs="+", metavar="Y", help="labels of a conditional model")
    sub.add_argument("--count", type=int, default=16, metavar="N", help="images, of each label (default: %(default)s)")
    sub.add_argument("--out", metavar="FILE", help="a .png picture or an .npz array; default: beside the model")

    sub = command("evaluate")
    model_argument(sub)
    seed(sub, 0)
    sub.add_argument("--dataset", metavar="NAME", help=DATA_HELP + "; default: the run's own")
    sub.add_argument("--num-samples", type=int, default=20, metavar="L", help="posterior samples; default: %(default)s")
    sub.add_argument("--doctor", action="store_true", help="also say what is wrong with the model, and what to try")
    sub.add_argument("--out", metavar="FILE", help="JSON file to write as well")

    sub = command("plot")
    model_argument(sub)
    sub.add_argument("--kind", choices=(*PICTURES, "history"), nargs="+", help="default: all that fit the model")
    sub.add_argument("--dataset", metavar="NAME", help=DATA_HELP + "; default: the run's own")
    sub.add_argument("--label", type=int, metavar="Y", help="condition of a manifold or traversal; default: 0")
    sub.add_argument("--out", metavar="DIR", help="folder for the pictures; default: beside the model")

    sub = command("ladder")
    seed(sub, 0)
    sub.add_argument("--dataset", default="digits", metavar="NAME", help=DATA_HELP + "; default: %(default)s")
    sub.add_argument("--latent-dim", type=int, default=2, metavar="K", help="latent dimensions; default: %(default)s")
    sub.add_argument("--epochs", type=int, default=40, metavar="N", help="of each network; default: %(default)s")
    sub.add_argument("--batch-size", type=int, default=32, metavar="N", help="default: %(default)s")
    sub.add_argument("--out", default="runs/ladder", metavar="DIR", help="folder to write to; default: %(default)s")

    sub = command("apply")
    sub.add_argument("task", choices=TASKS, metavar="TASK", help=", ".join(TASKS))
    model_argument(sub)
    seed(sub, 0)
    sub.add_argument("--dataset", metavar="NAME", help=DATA_HELP + "; default: the run's own")
    sub.add_argument("--count", type=int, default=100, metavar="N", help="test images (default: %(default)s)")
    sub.add_argument("--method", metavar="NAME", help="elbo, importance, reconstruction; gibbs, metropolis, optimise")
    sub.add_argument("--sigma", type=float, default=0.5, metavar="S", help="noise to take away; default: %(default)s")
    sub.add_argument("--factor", type=int, default=2, metavar="F", help="of super-resolution; default: %(default)s")
    sub.add_argument("--strange", metavar="NAME", help="data to tell from the test images; default: those upside down")
    sub.add_argument("--out", metavar="FILE", help="the picture to write; default: beside the model")

    sub = command("data")
    sub.add_argument("name", nargs="?", metavar="NAME", help=DATA_HELP)
    sub.add_argument("--out", metavar="FILE", help="also draw the first images")

    workshops.add_arguments(command("workshop"))
    return top


class _Parser(argparse.ArgumentParser):
    """Errors in one line; subparsers are of the same class."""

    def error(self, message):
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _sigma(text):
    return text if text in ("learned", "per_pixel") else float(text)
