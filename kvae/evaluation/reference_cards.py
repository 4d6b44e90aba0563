"""Is my number good? Reference cards: what a command's number came to with several seeds, beside what was published.

`cards.json` is written by `benchmarks/cards.py`, which runs the commands; nothing in it is typed in but the source of a
published figure.
"""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

CARDS = Path(__file__).with_name("cards.json")
# Nats compare only between runs that score the same pixels, in the same way, given the same: p(x) or p(x|y).
SAME = ("model", "dataset", "binarization", "likelihood", "sigma")
ROUNDING = 0.005  # nats, what two decimals hide: a run on another machine meets its own card
IRRELEVANT = ("seed", "pictures_every")  # the seeds are what the band is made of


@dataclasses.dataclass(frozen=True)
class Card:
    """What one command's number came to.

    Attributes:
        command: what was run.
        options: dict, the run's options that are not `kvae train`'s defaults.
        metric: the number's name in `metrics.json`, in nats, lower being better.
        values: the number of each seed.
        published: dict with the `value` that was published and its `source`; or `None` and `why` none compares.
    """

    command: str
    options: dict[str, Any]
    metric: str
    values: tuple[float, ...]
    published: dict[str, Any]

    @property
    def mean(self):
        """Mean over seeds, nats."""
        return float(np.mean(self.values))

    @property
    def standard_error(self):
        """Standard error of the mean over seeds, nats; NaN for a single one."""
        return float(np.std(self.values, ddof=1) / math.sqrt(len(self.values))) if len(self.values) > 1 else math.nan


@dataclasses.dataclass(frozen=True)
class Placement:
    """A number on a card.

    Attributes:
        card: the `Card`.
        value: the number, nats.
        differs: names of the options in which the run and the card's differ.
    """

    card: Card
    value: float
    differs: tuple[str, ...] = ()

    @property
    def nats(self):
        """How far the number is from the band: below 0 better than it, 0 within, above 0 worse."""
        outside = min(self.value - min(self.card.values), 0.0) or max(self.value - max(self.card.values), 0.0)
        return outside if abs(outside) > ROUNDING else 0.0

    @property
    def text(self):
        """The placement in words."""
        card = self.card
        place = (
            "within" if self.nats == 0 else f"{abs(self.nats):.2f} nats {'better' if self.nats < 0 else 'worse'} than"
        )
        name = card.metric.replace("_", " ")
        words = (
            f"{name} {self.value:.2f} is {place} the band of `{card.command}`: {min(card.values):.2f} to "
            f"{max(card.values):.2f} nats, mean {card.mean:.2f} ± {card.standard_error:.2f}, {len(card.values)} seeds."
        )
        if self.differs:
            words += f" No card fits this run: from that one it differs in {', '.join(self.differs)}."
        published = card.published
        if published["value"] is None:
            return f"{words} No published figure compares: {published['why']}."
        return f"{words} Published: {published['value']:.2f} ({published['source']})."

    def summary(self):
        """The placement as a dict of JSON values."""
        card = self.card
        return {
            "command": card.command,
            "metric": card.metric,
            "value": self.value,
            "nats_from_band": self.nats,
            "band": [min(card.values), max(card.values)],
            "mean": card.mean,
            "standard_error": card.standard_error,
            "seeds": len(card.values),
            "differs": list(self.differs),
            "published": card.published,
            "text": self.text,
        }


def load(path=CARDS):
    """The cards in a file that `benchmarks/cards.py` wrote, a list of `Card` with two seeds or more each."""
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


def place(metrics, options, defaults, cards=None):
    """Put a run's number on the card that is nearest to it.

    Args:
        metrics: dict, as in a run's `metrics.json`.
        options: dict, the run's complete options, as in its `config.json`.
        defaults: dict of the same keys: what they are where a card says nothing.
        cards: list of `Card`; `None` for those of this project.

    Returns:
        A `Placement`, on the card with the fewest options that differ; `None` if no card scores the same data in the
        same way.

    Example:

    >>> placement = kvae.evaluation.reference_cards.place(metrics, options, kvae.cli.options.DEFAULTS)
    >>> placement.text, placement.nats
    """
    placements = []
    for card in load() if cards is None else cards:
        whole = {**defaults, **card.options}
        differs = [name for name in defaults if name not in IRRELEVANT and options[name] != whole[name]]
        comparable = card.metric in metrics and metrics["dataset"] == whole["dataset"] and not set(SAME) & set(differs)
        if comparable:
            placements.append(Placement(card, metrics[card.metric], tuple(differs)))
    return min(placements, key=lambda placement: len(placement.differs), default=None)
