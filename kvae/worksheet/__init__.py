"""Functions that the worksheets call: `check` an answer, look up the `reference` answer, `show` a figure or `progress`.

The exercises of each worksheet are in a module of their own, `w06` for worksheet 6; `w11_answers` has
the functions from which those of worksheet 11 are built. Nothing is imported before it is needed.

Example:

```python
def kl(z_mean, z_log_var):
    return 0.5 * ops.sum(ops.exp(z_log_var) + z_mean**2 - z_log_var - 1, axis=-1)


kl = kvae.worksheet.check("6.2", kl)  # prints the verdict and returns an answer that later cells can use
```
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kvae.worksheet.checking import check, reference, show
    from kvae.worksheet.exercise import Exercise
    from kvae.worksheet.start import quiet
    from kvae.worksheet.training import progress

_HOMES = {
    "check": "checking",
    "reference": "checking",
    "show": "checking",
    "Exercise": "exercise",
    "progress": "training",
    "quiet": "start",
}

__all__ = ["Exercise", "check", "progress", "quiet", "reference", "show"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'kvae.worksheet' has no attribute {name!r}")
    return getattr(importlib.import_module(f"kvae.worksheet.{_HOMES[name]}"), name)
