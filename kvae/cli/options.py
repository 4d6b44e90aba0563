"""The options of `kvae train`: one table for the parser, the defaults, the help and the checks.

A new option is an entry in `TRAIN` here, and the place that uses it, mostly `kvae/cli/build.py`. Nothing heavy is
imported: `kvae --help` does not wait for Keras.
"""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

MODELS = ("autoencoder", "vae", "cvae")
VARIATIONAL = ("vae", "cvae")
DATA_HELP = "digits (no network needed), mnist, fashion_mnist, or a path to an .npz file"


@dataclasses.dataclass(frozen=True)
class Option:
    """An option of a training run, a key of its `config.json`.

    Attributes:
        name: key; the flag is `--name`, with dashes.
        default: its value where it is not given; `None` is then allowed.
        help: for `--help`; the default is added.
        kind: type of its value, or a tuple of types.
        metavar: what stands for the value in the help.
        choices: the values allowed; `None` for any.
        range: smallest and largest integer allowed; `None` for any.
        models: those that have the option.
        belongs_to: `(option, value)` that it must go with; `None` for none.
        shown: how the help words the default; `None` for the default itself.
    """

    name: str
    default: Any
    help: str
    kind: Any = str
    metavar: str | None = None
    choices: tuple[str, ...] | None = None
    range: tuple[int, int] | None = None
    models: tuple[str, ...] = MODELS
    belongs_to: tuple[str, str] | None = None
    shown: str | None = None

    @property
    def kinds(self) -> tuple[type, ...]:
        """The types of its value; an integer is a number too."""
        kinds = self.kind if isinstance(self.kind, tuple) else (self.kind,)
        return (int, *kinds) if float in kinds else (list, tuple) if list in kinds else kinds

    def add_to(self, parser: argparse.ArgumentParser) -> None:
        """Add the flag to a parser. A flag that is not given is `None`: a `--config` may hold its value."""
        shown = self.shown or ("none" if self.default is None else self.default)
        arguments: dict[str, Any] = {"help": f"{self.help}; default: {shown}" if self.help else f"default: {shown}"}
        if self.choices:
            arguments["choices"] = self.choices
        elif self.kind is list:
            arguments |= {"type": int, "nargs": "+", "metavar": self.metavar}
        else:
            convert = _number_or_word if isinstance(self.kind, tuple) else self.kind
            arguments |= {"type": convert, "metavar": self.metavar}
        parser.add_argument(f"--{self.name.replace('_', '-')}", **arguments)

    def check(self, value: Any) -> None:
        """Raise a `ValueError` unless `value`, perhaps from a file, is one that the option can have."""
        from kvae import checks

        if value is None and self.default is None:
            return
        of_a_kind: bool = isinstance(value, self.kinds)  # a variable, or a type checker takes `value` for an object
        if not of_a_kind or isinstance(value, bool):
            wanted = " or ".join(kind.__name__ for kind in self.kinds)
            raise ValueError(f"`{self.name}` must be of type {wanted}. Received: {str(value)[:80]!r}")
        if self.choices and value not in self.choices:
            raise ValueError(f"`{self.name}` must be one of {sorted(self.choices)}. Received: {value!r}")
        if self.range is not None and not self.range[0] <= value <= self.range[1]:
            low, high = self.range
            wanted = f"at least {low}" if value < low else f"at most {high}"
            raise ValueError(f"`{self.name}` must be an integer of {wanted}. Received: {value}")
        if self.kind is list:
            for each in value:
                checks.positive_integer(each, self.name)


def _number_or_word(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


LARGEST_SEED = 2**32 - 1
COUNT = (1, LARGEST_SEED)

TRAIN = (
    Option("model", "cvae", "", choices=MODELS),
    Option("dataset", "digits", DATA_HELP, metavar="NAME"),
    Option("network", "mlp", "", choices=("mlp", "conv")),
    Option("latent_dim", 2, "latent dimensions", int, "K", range=COUNT),
    Option("hidden", None, "units or filters of the hidden layers", list, "N", shown="the network's own"),
    Option("epochs", 30, "", int, "N", range=COUNT),
    Option("batch_size", 128, "", int, "N", range=COUNT),
    Option("learning_rate", 2e-3, "Adam's, at the start", float, "R"),
    Option("beta", 1.0, "weight of the KL", float, "B", models=VARIATIONAL),
    Option("kl_warmup", 0, "epochs in which beta rises from 0", int, "N", range=(0, LARGEST_SEED), models=VARIATIONAL),
    Option("likelihood", "bernoulli", "bernoulli or gaussian", metavar="NAME"),
    Option("noise", 0.0, "standard deviation, for a denoising autoencoder", float, "S", models=("autoencoder",)),
    Option(
        "sigma",
        None,
        "a Gaussian's: learned, per_pixel, or a number",
        (float, str),
        "S",
        models=VARIATIONAL,
        belongs_to=("likelihood", "gaussian"),
        shown="learned",
    ),
    Option("posterior", "normal", "family of q(z|x), such as laplace", metavar="NAME", models=VARIATIONAL),
    Option(
        "prior",
        "standard",
        "learned p(z|y) is for a cvae, vamp for a vae",
        choices=("standard", "learned", "mixture", "vamp"),
        models=VARIATIONAL,
    ),
    Option("bound", "elbo", "elbo, importance_weighted or renyi", metavar="NAME", models=VARIATIONAL),
    Option("num_samples", 1, "posterior samples per example", int, "L", range=COUNT, models=VARIATIONAL),
    Option(
        "alpha",
        None,
        "of renyi; --alpha=-inf for VR-max",
        float,
        "A",
        models=VARIATIONAL,
        belongs_to=("bound", "renyi"),
        shown="0.5",
    ),
    Option(
        "free_bits",
        0.0,
        "nats per latent dimension, of elbo",
        float,
        "B",
        models=VARIATIONAL,
        belongs_to=("bound", "elbo"),
    ),
    Option(
        "gradient",
        "reparameterized",
        "how the bound's gradient is estimated",
        choices=("reparameterized", "doubly_reparameterized", "score_function"),
        models=VARIATIONAL,
    ),
    Option("binarization", None, "", choices=("static", "dynamic"), shown="none, grey values as they are"),
    Option("seed", 0, "for a reproducible result", int, "N", range=(0, LARGEST_SEED)),
    Option("pictures_every", None, "epochs between sample grids", int, "N", range=COUNT, shown="a fifth of them"),
)
UNFIT_PRIOR = {"vae": "learned", "cvae": "vamp"}  # p(z|y) needs a condition, and VampPrior is not made for one
DEFAULTS = {option.name: option.default for option in TRAIN}
DEMO = {**DEFAULTS, "epochs": 60, "batch_size": 32, "num_samples": 5}


def complete(options: dict[str, Any]) -> dict[str, Any]:
    """Return `options` with the defaults filled in, or raise a `ValueError` on an unknown key or a wrong value."""
    from kvae import checks

    unknown = sorted(set(options) - set(DEFAULTS))
    if unknown:
        raise ValueError(f"Options must be among {sorted(DEFAULTS)}. Received: {unknown}")
    options = {**DEFAULTS, **options}
    for option in TRAIN:
        option.check(options[option.name])
    checks.positive_number(options["learning_rate"], "learning_rate")
    model = options["model"]
    given = [option for option in TRAIN if options[option.name] != option.default]
    for option in given:
        if option.belongs_to and options[option.belongs_to[0]] != option.belongs_to[1]:
            other, value = option.belongs_to
            raise ValueError(f"`{option.name}` must go with {other}={value}. Received: {other}={options[other]}")
    unused = [option.name for option in given if model not in option.models]
    if unused:
        having = " or ".join(next(option.models for option in TRAIN if option.name == unused[0]))
        raise ValueError(f"A model={model} does not take {unused}: use {having}. Received: {options[unused[0]]}")
    if options["prior"] == UNFIT_PRIOR.get(model):
        raise ValueError(f"`prior` of a {model} must be another. Received: {options['prior']!r}")
    return options
