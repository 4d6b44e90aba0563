"""An option of `kvae train`: its flag, its help, and the checks of its values. Nothing heavy is imported."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

LARGEST = 2**32 - 1  # of an integer: seeds have 32 bits

Needs: TypeAlias = Mapping[str, tuple[str, ...]]


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
                if self.least != 0 or each != 0:
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
