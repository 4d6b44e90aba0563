"""The options of `kvae train`: one table for the parser, its help, the defaults and the checks.

To add an option, add an entry to `TRAIN`, and use it where it takes effect, mostly in `kvae/cli/build.py`. The flag,
the default and the checks of values, from the command line or a `config.json`, follow from the entry. Nothing heavy is
imported: `kvae --help` does not wait for Keras.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

DATA_HELP = (
    "digits, shapes (no network needed), mnist, fashion_mnist, or the path of your own data: a folder of images, or of "
    "one subfolder per class; a .tfrecord file, or a folder of them; an .npz or .npy file; a folder of IDX files"
)
SIZE_HELP = "resize image files and TFRecords to this height and width"
CHANNELS_HELP = "convert them to 1 (grey) or 3 (colour) channels"
LARGEST = 2**32 - 1  # of an integer: seeds have 32 bits

Needs: TypeAlias = Mapping[str, tuple[str, ...]]
FEW_LABELS = ("semisupervised", "auxiliary")
VARIATIONAL: Needs = {"model": ("vae", "cvae", *FEW_LABELS)}
WITH_PIXEL_DENSITY: Needs = {"model": (*VARIATIONAL["model"], "introvae")}
WITH_POSTERIOR: Needs = {"model": (*WITH_PIXEL_DENSITY["model"], "vaegan")}
ADVERSARIAL = ("gan", "vaegan", "introvae", "adversarial_autoencoder")
WITH_CONV = ("autoencoder", "vae", "cvae", "semisupervised", "vqvae", *ADVERSARIAL)
VQVAE: Needs = {"model": ("vqvae",)}


@dataclasses.dataclass(frozen=True)
class Option:
    """An option of a training run, a key of its `config.json`.

    Attributes:
        name: key in `config.json`; the flag is `--name`, with dashes.
        default: value if it is not given. If it is `None`, the option may be `None`.
        help: for `--help`; the default is added.
        kind: type of the value: `str`, `int`, `float`, `list` (of positive integers), or a tuple of types.
        metavar: placeholder of the value in the help.
        choices: the values allowed; empty for any.
        least: smallest number allowed; `None` for no limit, which for an integer is 0.
        above: number that the value must exceed; `None` for no limit.
        needs: other options, and the values of theirs without which this one has no meaning.
        choice_needs: the same for some of `choices`.
        shown: the default as the help words it; `None` for the value itself.
    """

    name: str
    default: Any
    help: str
    kind: Any = str
    metavar: str | None = None
    choices: tuple[str, ...] = ()
    least: float | None = None
    above: float | None = None
    needs: Needs = dataclasses.field(default_factory=dict)
    choice_needs: Mapping[str, Needs] = dataclasses.field(default_factory=dict)
    shown: str | None = None

    @property
    def kinds(self) -> tuple[Any, ...]:
        """The types that a value may have; an integer is accepted for a float."""
        kinds = self.kind if isinstance(self.kind, tuple) else (self.kind,)
        return (int, *kinds) if float in kinds else (list, tuple) if list in kinds else kinds

    def add_to(self, parser: argparse.ArgumentParser) -> None:
        """Add the flag to a parser. If it is not given, its value is `None`, so that `--config` can provide it."""
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
        """Raise a `ValueError` unless `value`, which may come from a file, is of the right type and within limits."""
        from kvae import checks

        if value is None and self.default is None:
            return
        if not isinstance(value, self.kinds) or isinstance(value, bool):
            wanted = " or ".join(kind.__name__ for kind in self.kinds)
            raise ValueError(f"`{self.name}` must be of type {wanted}. Received: {str(value)[:80]!r}")
        if self.choices and value not in self.choices:
            raise ValueError(f"`{self.name}` must be one of {sorted(self.choices)}. Received: {value!r}")
        if self.kind is list:
            for each in value:
                checks.positive_integer(each, self.name)
        elif self.kind is int:
            least = self.least or 0
            if not least <= value <= LARGEST:
                wanted = f"at least {least}" if value < least else f"at most {LARGEST}"
                raise ValueError(f"`{self.name}` must be an integer of {wanted}. Received: {value}")
        elif self.least is not None or self.above is not None:
            checks.number(value, self.name, at_least=self.least, above=self.above)

    def needed(self, value: Any) -> Iterator[tuple[str, str, tuple[str, ...]]]:
        """What else must be set for the option to be `value`: tuples of how to call it, an option and its values."""
        if value != self.default:
            yield from ((f"`{self.name}`", *need) for need in self.needs.items())
            for choice, needs in self.choice_needs.items():
                if choice == value:
                    yield from ((f"`{self.name}` {choice}", *need) for need in needs.items())


def _number_or_word(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


TRAIN = (
    Option("model", "cvae", "", choices=("autoencoder", *VARIATIONAL["model"], "vqvae", *ADVERSARIAL)),
    Option("dataset", "digits", DATA_HELP, metavar="NAME"),
    Option("image_size", None, SIZE_HELP, list, "N", shown="their own, if all have the same"),
    Option("channels", None, CHANNELS_HELP, int, "C", least=1, shown="their own"),
    Option("network", "mlp", "", choices=("mlp", "conv"), choice_needs={"conv": {"model": WITH_CONV}}),
    Option("latent_dim", 2, "latent dimensions; of a vqvae, numbers in each vector", int, "K", least=1),
    Option("hidden", None, "units or filters of the hidden layers", list, "N", shown="the network's own"),
    Option("epochs", 30, "", int, "N", least=1),
    Option("batch_size", 128, "", int, "N", least=1),
    Option("learning_rate", 2e-3, "initial learning rate of Adam", float, "R", above=0),
    Option(
        "adversary_learning_rate",
        None,
        "initial learning rate of a discriminator, or of an introvae's encoder",
        float,
        "R",
        above=0,
        needs={"model": ADVERSARIAL},
        shown="learning_rate",
    ),
    Option("gamma", 0.1, "weight of a vaegan's feature loss", float, "G", least=0, needs={"model": ("vaegan",)}),
    Option(
        "margin",
        None,
        "KL up to which generated images are told from others, in nats: the hard margin of the first introvae",
        float,
        "M",
        above=0,
        needs={"model": ("introvae",)},
        shown="none, Soft-IntroVAE",
    ),
    Option("num_codes", 512, "codes in the codebook of a vqvae", int, "K", least=2, needs=VQVAE),
    Option("num_quantizers", 1, "codebooks, each for what those before it leave over", int, "Q", least=1, needs=VQVAE),
    Option(
        "num_vectors",
        8,
        "vectors in the code of a vqvae whose network is mlp; that of conv has a grid",
        int,
        "N",
        least=1,
        needs={**VQVAE, "network": ("mlp",)},
    ),
    Option(
        "codebook",
        "gradient",
        "how the codes of a vqvae are learned",
        choices=("gradient", "moving_average"),
        needs=VQVAE,
    ),
    Option("beta", 1.0, "weight of the KL", float, "B", least=0, needs=WITH_POSTERIOR),
    Option("kl_warmup", 0, "epochs in which beta rises from 0", int, "N", needs=WITH_POSTERIOR),
    Option(
        "likelihood",
        "bernoulli",
        "bernoulli; gaussian, laplace or student_t; continuous_bernoulli; discretized_logistic; categorical; "
        "poisson or negative_binomial",
        metavar="NAME",
    ),
    Option(
        "noise",
        0.0,
        "standard deviation of the noise that a denoising autoencoder removes",
        float,
        "S",
        least=0,
        needs={"model": ("autoencoder", "adversarial_autoencoder")},
    ),
    Option(
        "sigma",
        None,
        "standard deviation of a Gaussian likelihood: learned, per_pixel, or a number",
        (float, str),
        "S",
        needs={"likelihood": ("gaussian",), "model": (*WITH_PIXEL_DENSITY["model"], "vqvae")},
        shown="learned",
    ),
    Option(
        "posterior",
        "normal",
        "family of q(z|x), such as laplace or von_mises_fisher; or a flow: planar, radial or iaf",
        metavar="NAME",
        needs=WITH_POSTERIOR,
    ),
    Option(
        "prior",
        "standard",
        "p(z); learned, p(z|y), is for a cvae, semisupervised or auxiliary, vamp for a vae",
        choices=("standard", "learned", "mixture", "vamp", "flow"),
        needs=VARIATIONAL,
        choice_needs={"learned": {"model": ("cvae", *FEW_LABELS)}, "vamp": {"model": ("vae",)}},
    ),
    Option(
        "fit_prior",
        None,
        "density fitted to the codes after training, from which the model then generates",
        choices=("gaussian_mixture", "flow", "two_stage", "autoregressive"),
        needs={"model": ("autoencoder", "vae", "cvae", "vqvae"), "prior": ("standard",)},
        choice_needs={"autoregressive": VQVAE},
    ),
    Option("bound", "elbo", "elbo, importance_weighted or renyi", metavar="NAME", needs=VARIATIONAL),
    Option("num_samples", 1, "posterior samples per example", int, "L", least=1, needs=VARIATIONAL),
    Option(
        "alpha",
        None,
        "order of the renyi bound; --alpha=-inf for VR-max",
        float,
        "A",
        needs={"bound": ("renyi",), **VARIATIONAL},
        shown="0.5",
    ),
    Option(
        "free_bits",
        0.0,
        "nats per latent dimension that the elbo does not penalise",
        float,
        "B",
        least=0,
        needs={"bound": ("elbo",), **VARIATIONAL},
    ),
    Option(
        "gradient",
        "reparameterized",
        "how the gradient of the bound is estimated",
        choices=(
            "reparameterized",
            "doubly_reparameterized",
            "sticking_the_landing",
            "score_function",
            "wake_sleep",
            "reweighted_wake_sleep",
        ),
        needs=VARIATIONAL,
        # The importance-weighted bound of one sample is the ELBO.
        choice_needs={
            "doubly_reparameterized": {"bound": ("importance_weighted", "renyi")},
            "reweighted_wake_sleep": {"bound": ("importance_weighted", "renyi")},
        },
    ),
    Option(
        "labels_per_class",
        10,
        "labels of each class that a semisupervised or auxiliary model is told; the others are hidden from it",
        int,
        "N",
        least=1,
        needs={"model": FEW_LABELS},
    ),
    Option("binarization", None, "", choices=("static", "dynamic"), shown="none, grey values as they are"),
    Option("seed", 0, "for a reproducible result", int, "N"),
    Option("pictures_every", None, "epochs between sample grids", int, "N", least=1, shown="a fifth of all epochs"),
)
DEFAULTS = {option.name: option.default for option in TRAIN}
DEMO = {**DEFAULTS, "epochs": 60, "batch_size": 32, "num_samples": 5}


def complete(options: Mapping[str, Any]) -> dict[str, Any]:
    """Check the options of a run, and fill in the defaults.

    Args:
        options: from names of `TRAIN` to values, from the command line or a `config.json`.

    Returns:
        A dict with all options of `TRAIN`.

    Raises:
        ValueError: for an unknown option, a value of the wrong type or out of range, and an option that needs another.
    """
    unknown = sorted(set(options) - set(DEFAULTS))
    if unknown:
        raise ValueError(f"Options must be among {sorted(DEFAULTS)}. Received: {unknown}")
    completed = {**DEFAULTS, **options}
    for option in TRAIN:
        option.check(completed[option.name])
    for option in TRAIN:
        for called, other, fitting in option.needed(completed[option.name]):
            if completed[other] not in fitting:
                raise ValueError(
                    f"{called} requires {other}={' or '.join(fitting)}. Received: {other}={completed[other]}"
                )
    return completed
