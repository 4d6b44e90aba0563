"""Immutable configuration objects, with equality, serialization and validation."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

from kvae import checks

T = TypeVar("T", bound="Settings")


@dataclasses.dataclass(frozen=True)
class Settings:
    """Base class of the frozen dataclasses that a model takes as arguments and saves in its configuration."""

    def get_config(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls: type[T], config: dict[str, Any]) -> T:
        return cls(**config)

    def _check_number(self, name, low=0.0, high=None):
        """Raise a `ValueError` unless the field `name` is a finite number in [`low`, `high`]."""
        checks.number(getattr(self, name), name, at_least=low, at_most=high)
