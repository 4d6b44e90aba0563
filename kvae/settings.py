"""Small objects that are nothing but their settings: compared, saved and checked alike."""

import dataclasses
import math

from kvae import checks


@dataclasses.dataclass(frozen=True)
class Settings:
    """Base of the frozen dataclasses that a model takes as an argument and saves in its configuration."""

    def get_config(self):
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config):
        return cls(**config)

    def _check_number(self, name, low=0.0, high=math.inf):
        """Raise a `ValueError` unless the setting `name` is a finite number from `low` to `high`."""
        value = getattr(self, name)
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not (is_number and abs(value) <= checks.LARGEST and low <= value <= high):
            wanted = f"of at least {low:g}" if high == math.inf else f"from {low:g} to {high:g}"
            raise ValueError(f"`{name}` must be a finite number {wanted}. Received: {name}={value!r}")
