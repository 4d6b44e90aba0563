"""The means of the logged terms, and how many steps of an epoch each stayed finite, which shows the first to fail."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


def guards_first(callbacks: Any) -> Any:
    """Move the callbacks that repair the model, those with `runs_first`, before the others, which see the result.

    Args:
        callbacks: the argument of `fit`: a callback or a nested list of them; anything else is returned as it is.
            `None` is an empty list, to which a wrapper of Keras's `fit` may append, such as MLflow's autologging.
    """
    if callbacks is None:
        return []
    if not isinstance(callbacks, (list, tuple)):
        return callbacks
    return sorted(keras.tree.flatten(callbacks), key=lambda each: not getattr(each, "runs_first", False))


class TermMean(keras.metrics.Mean):
    """The mean of a logged term over the examples that have it: NaN, rather than 0, if there were none."""

    def result(self) -> Any:
        return ops.where(self.count > 0, super().result(), float("nan"))


class FiniteSteps(keras.metrics.Metric):
    """Count, for each of a model's trackers, the steps of an epoch before its first NaN or infinite value.

    Such a value stays in the tracker's sum until the end of the epoch, so the count stops there. Nothing is logged.

    Args:
        num_terms: number of trackers.
        **kwargs: as in `keras.metrics.Metric`.
    """

    def __init__(self, num_terms: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.steps = self.add_variable(  # each replica counts the same steps
            shape=(num_terms,), initializer="zeros", dtype="int32", aggregation="only_first_replica", name="steps"
        )

    def update_state(self, trackers: list[keras.metrics.Mean]) -> None:
        finite = ops.stack([ops.isfinite(tracker.total) for tracker in trackers])
        self.steps.assign_add(ops.cast(finite, "int32"))

    def result(self) -> dict[str, Any]:
        return {}
