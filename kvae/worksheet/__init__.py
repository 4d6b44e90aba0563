"""What a worksheet needs: `check` an answer, the worksheet's own (`reference`), `show` a picture.

Each worksheet's exercises stand in a module of their own, `w06` for number 6; nothing is imported before it is needed.

Example:

```python
kl = kvae.worksheet.check("6.2", kl)  # prints what is right or wrong, hands back an answer that later cells can use
```
"""

import importlib

_HOMES = {"check": "checking", "reference": "checking", "show": "checking", "Exercise": "exercise"}

__all__ = ["Exercise", "check", "reference", "show"]


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"module 'kvae.worksheet' has no attribute {name!r}")
    return getattr(importlib.import_module(f"kvae.worksheet.{_HOMES[name]}"), name)
