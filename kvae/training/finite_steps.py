"""How far into an epoch each logged term stayed finite: what tells the first one that did not."""

import keras
from keras import ops


class FiniteSteps(keras.metrics.Metric):
    """Counts for each of a model's trackers the steps of an epoch before a value that is no finite number.

    Such a value stays in the tracker's sum until the epoch's end, so the count stops there. Nothing is logged.

    Args:
        num_terms: int, how many trackers.
    """

    def __init__(self, num_terms, **kwargs):
        super().__init__(**kwargs)
        self.steps = self.add_variable(  # each replica counts the same steps
            shape=(num_terms,), initializer="zeros", dtype="int32", aggregation="only_first_replica", name="steps"
        )

    def update_state(self, trackers):
        finite = ops.stack([ops.isfinite(tracker.total) for tracker in trackers])
        self.steps.assign_add(ops.cast(finite, "int32"))

    def result(self):
        return {}
