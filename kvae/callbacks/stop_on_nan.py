"""Stop training when a loss or a weight becomes NaN or infinite."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import numpy as np
from keras import ops

from kvae.models.base import BaseModel


class StopOnNaN(keras.callbacks.Callback):
    """Stop training at the end of the epoch in which the loss or a weight became NaN or infinite, and say where.

    A `UserWarning` names the first term to fail, the step, the layers with lost weights, and what to try. The model and
    its optimizer are restored to their state at the end of the last good epoch, so that `fit` can continue from there
    with a smaller learning rate. Unlike `keras.callbacks.TerminateOnNaN`, it has no hook for each batch, so as many
    steps run per execution as without it.

    `fit` of kvae's models runs it before all other callbacks, wherever it is in the list, so that pictures and
    checkpoints see the restored model. With another Keras model, put it first.

    With a `LossScaleOptimizer` (`mixed_float16`), which skips steps whose gradient overflows, only non-finite weights
    stop training.

    Attributes:
        message: text of the warning; `None` if there was none.
        stopped_epoch: the epoch in which training was stopped, counted from 1; 0 if it was not.
        good_epochs: number of epochs before the state that was kept; 0 for an untrained model.

    Example:

    >>> history = model.fit(data.x_train, epochs=60, callbacks=[kvae.callbacks.StopOnNaN()])
    """

    runs_first = True

    def __init__(self) -> None:
        super().__init__()
        self.message: str | None = None
        self.stopped_epoch = 0
        self.good_epochs = 0
        self._steps: Any = None
        self._state: Any = None

    def set_model(self, model: keras.Model) -> None:
        super().set_model(model)
        if isinstance(model, BaseModel):
            model.count_finite_steps()

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.message, self.stopped_epoch, self._steps, self._state = None, 0, None, None

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self._state is None:  # only now has a checkpoint been restored
            self._keep(epoch)
        # A schedule may have reached 0 at the epoch's end.
        self._rate = float(ops.convert_to_numpy(self.model.optimizer.learning_rate))

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._read_steps()  # validation restarts the count

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._read_steps()
        steps, self._steps = self._steps, None
        layers = self._lost_layers()
        scaled = isinstance(self.model.optimizer, keras.optimizers.LossScaleOptimizer)
        if not layers and (scaled or np.isfinite(float((logs or {}).get("loss", 0.0)))):
            self._keep(epoch + 1)
            return
        lost = f"at its end, weights of {_listed(layers)} were not finite" if layers else "all weights stayed finite"
        state = f"its state after epoch {self.good_epochs}" if self.good_epochs else "its initial state"
        half = self.model.dtype_policy.name.endswith("float16")
        self.message = (
            f"Training stopped in epoch {epoch + 1}: {self._first_term(logs, steps)}; {lost}. The model was restored "
            f"to {state}. Try a learning rate well below {self._rate:.3g}, or clipnorm=1.0 in the optimizer"
            f"{', or the float32 policy' if half else ''}."
        )
        for variable, value in zip(self._all_variables(), self._state, strict=True):
            variable.assign(value)
        self.model.stop_training = True
        self.stopped_epoch = epoch + 1
        warnings.warn(self.message, UserWarning, stacklevel=2)

    def _first_term(self, logs, steps):
        """The first term to become NaN or infinite, in words."""
        loss = f"the loss is {logs['loss']:.3g}"
        if steps is None:
            return loss
        names = self.model.logged_terms
        terms = {name: int(n) for name, n in zip(names, steps, strict=True) if not np.isfinite(logs[name])}
        if not terms:
            return loss
        first = min(terms.values())
        firsts = [name for name, n in terms.items() if n == first]
        firsts = [name for name in firsts if name != "elbo"] or firsts  # it is the sum of the others
        return f"{loss} (first to fail: {' and '.join(firsts)}, in step {first + 1} of the epoch)"

    def _lost_layers(self):
        """Names of the layers with a weight that is not finite."""
        lost = [w.path.rsplit("/", 1)[0] for w in self.model.weights if not np.isfinite(ops.convert_to_numpy(w)).all()]
        return list(dict.fromkeys(lost))

    def _read_steps(self):
        if self._steps is None and isinstance(self.model, BaseModel):
            self._steps = np.array(ops.convert_to_numpy(self.model.finite_steps.steps))  # torch gives a view

    def _all_variables(self):
        return [*self.model.weights, *self.model.optimizer.variables]

    def _keep(self, epochs):
        if not self.model.optimizer.built:
            self.model.optimizer.build(self.model.trainable_variables)
        self.good_epochs = epochs
        self._state = [np.array(ops.convert_to_numpy(variable)) for variable in self._all_variables()]


def _listed(names):
    """At most three names, and how many more."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
