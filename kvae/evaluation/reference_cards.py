"""Reference cards: results of commands over several seeds, to judge a result by.

`cards.json` is written by `benchmarks/cards.py`, which runs the commands. The nearest published figure is entered
there by hand, with the reason where it is not comparable.
"""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from kvae.types import PathLike

CARDS = Path(__file__).with_name("cards.json")
# Nats are comparable only between runs that score the same pixels in the same way, under p(x) or under p(x|y).
SAME = ("model", "dataset", "binarization", "likelihood", "sigma", "labels_per_class")
IRRELEVANT = ("seed", "pictures_every")  # the band is for any seed
COVERAGE = 0.95  # of the prediction interval: the share of healthy runs that it holds


@dataclasses.dataclass(frozen=True)
class Metric:
    """How a result of `metrics.json` is read.

    Attributes:
        unit: as it follows a number, with a space in front.
        digits: decimals shown.
        higher_is_better: whether it is.
    """

    unit: str = ""
    digits: int = 2
    higher_is_better: bool = False


METRICS = {
    "negative_elbo": Metric(" nats"),
    "frechet_distance": Metric(),
    "accuracy": Metric(digits=3, higher_is_better=True),
    "label_agreement": Metric(digits=3, higher_is_better=True),
    "reconstruction_mse": Metric(digits=4),
}


@dataclasses.dataclass(frozen=True)
class Card:
    """The results of one command.

    Attributes:
        command: the command line.
        options: dict, the options that differ from the defaults of `kvae train`.
        metric: name of the result in `metrics.json`, a key of `METRICS`.
        values: the result for each seed.
        published: dict with the nearest published `value` and its `source`, `None` without one; `why` gives the
            reason if it is not comparable, and is `None` otherwise.
    """

    command: str
    options: dict[str, Any]
    metric: str
    values: tuple[float, ...]
    published: dict[str, Any]

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return float(np.mean(self.values))

    @property
    def band(self) -> tuple[float, float]:
        """Prediction interval for the result of another seed: mean ± t · s · √(1 + 1/n).

        t is the quantile of Student's t with n − 1 degrees of freedom: another seed's result lies inside with a
        probability of `COVERAGE`, if results are normally distributed over seeds (Hahn & Meeker 1991, section 4.7).
        """
        from scipy.special import stdtrit  # much faster than scipy.stats

        n = len(self.values)
        half = stdtrit(n - 1, 0.5 + 0.5 * COVERAGE) * np.std(self.values, ddof=1) * math.sqrt(1.0 + 1.0 / n)
        return float(self.mean - half), float(self.mean + half)

    @property
    def standard_error(self) -> float:
        """Standard error of the mean over seeds; NaN for a single seed."""
        return float(np.std(self.values, ddof=1) / math.sqrt(len(self.values))) if len(self.values) > 1 else math.nan


@dataclasses.dataclass(frozen=True)
class Placement:
    """A result compared with a card.

    Attributes:
        card: the `Card`.
        value: the result.
        differs: names of the options in which the run differs from the card.
    """

    card: Card
    value: float
    differs: tuple[str, ...] = ()

    @property
    def distance(self) -> float:
        """Distance from the card's band: negative if better, 0 if within, positive if worse."""
        metric, (low, high) = METRICS[self.card.metric], self.card.band
        outside = min(self.value - low, 0.0) or max(self.value - high, 0.0)
        if abs(outside) <= 0.5 * 10.0**-metric.digits:  # half a unit of the last decimal: machines differ
            return 0.0
        return -outside if metric.higher_is_better else outside

    @property
    def text(self) -> str:
        """The comparison in words."""
        card, metric = self.card, METRICS[self.card.metric]

        def number(value):
            return f"{value:.{metric.digits}f}"

        low, high = map(number, card.band)
        better = "better" if self.distance < 0 else "worse"
        place = "within" if self.distance == 0 else f"{number(abs(self.distance))}{metric.unit} {better} than"
        words = (
            f"{card.metric.replace('_', ' ')} {number(self.value)} is {place} the band of `{card.command}`: "
            f"{low} to {high}{metric.unit} ({COVERAGE:.0%} of runs), mean {number(card.mean)} ± "
            f"{number(card.standard_error)}, {len(card.values)} seeds."
        )
        if self.differs:
            words += f" No card matches this run's options; it differs from this one in {', '.join(self.differs)}."
        published = card.published
        if published["value"] is None:
            return f"{words} No published figure is comparable: {published['why']}."
        why = "" if published["why"] is None else f", which is not comparable: {published['why']}"
        return f"{words} Published: {number(published['value'])} ({published['source']}){why}."

    def summary(self) -> dict[str, Any]:
        """The comparison as a dict of JSON values."""
        card = self.card
        return {
            "command": card.command,
            "metric": card.metric,
            "value": self.value,
            "distance_from_band": self.distance,
            "band": list(card.band),
            "mean": card.mean,
            "standard_error": card.standard_error,
            "seeds": len(card.values),
            "differs": list(self.differs),
            "published": card.published,
            "text": self.text,
        }


def load(path: PathLike = CARDS) -> list[Card]:
    """Read a file written by `benchmarks/cards.py`; cards with a single seed are left out."""
    cards = [
        Card(
            command,
            content["options"],
            content["metric"],
            tuple(run["value"] for run in content["runs"]),
            content["published"],
        )
        for command, content in json.loads(Path(path).read_text()).items()
    ]
    return [card for card in cards if len(card.values) > 1]


def place(
    metrics: dict[str, Any], options: dict[str, Any], defaults: dict[str, Any], cards: list[Card] | None = None
) -> Placement | None:
    """Compare the result of a run with the most similar card.

    Args:
        metrics: dict, as in the run's `metrics.json`.
        options: dict, the run's complete options, as in its `config.json`.
        defaults: dict with the same keys: the values of options that a card does not list.
        cards: list of `Card`; `None` for those of this project.

    Returns:
        A `Placement` on the card with the fewest differing options; `None` if no card scores the same data in the same
        way.

    Example:

    >>> from kvae.cli.options import DEFAULTS
    >>> from kvae.evaluation import reference_cards
    >>> card = reference_cards.load()[0]
    >>> options = {**DEFAULTS, **card.options}
    >>> metrics = {"dataset": options["dataset"], card.metric: card.values[0]}
    >>> reference_cards.place(metrics, options, DEFAULTS).distance
    0.0
    """
    placements = []
    for card in load() if cards is None else cards:
        whole = {**defaults, **card.options}
        differs = [name for name in defaults if name not in IRRELEVANT and options[name] != whole[name]]
        comparable = card.metric in metrics and metrics["dataset"] == whole["dataset"] and not set(SAME) & set(differs)
        if comparable:
            placements.append(Placement(card, metrics[card.metric], tuple(differs)))
    return min(placements, key=lambda placement: len(placement.differs), default=None)
