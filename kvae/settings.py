"""Small objects that are nothing but their settings: compared, saved and checked alike."""

import dataclasses

from kvae import checks


@dataclasses.dataclass(frozen=True)
class Settings:
    """Base of the frozen dataclasses that a model takes as an argument and saves in its configuration."""

    def get_config(self):
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config):
        return cls(**config)

    def _check_number(self, name, low=0.0, high=None):
        """Raise a `ValueError` unless the setting `name` is a finite number from `low` to `high`."""
        checks.number(getattr(self, name), name, at_least=low, at_most=high)
