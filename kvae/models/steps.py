"""The functions that Keras calls for each batch: how many steps one runs, and without Python code on PyTorch."""

from __future__ import annotations

from typing import Any

import keras


class Steps(keras.Model):
    """A Keras model that may run many steps per execution, and records them on PyTorch (`kvae.training.recorded`)."""

    train_function: Any
    test_function: Any
    steps_per_execution: int
    steps_given = False  # whether `compile` was given `steps_per_execution`

    def make_train_function(self, force: bool = False) -> Any:
        """Like Keras's; on PyTorch, unless `run_eagerly`, steps run the operations of the first without its Python."""
        super().make_train_function(force)
        self.train_function = self._recorded(self.train_function)
        return self.train_function

    def make_test_function(self, force: bool = False) -> Any:
        """Like `make_train_function`."""
        super().make_test_function(force)
        self.test_function = self._recorded(self.test_function)
        return self.test_function

    def take_steps(self, steps: int) -> None:
        """Run `steps` steps per execution, unless `compile` was given a number."""
        if not self.steps_given and self.steps_per_execution != steps:
            self.steps_per_execution: int = steps
            # Compiled functions keep the old number, and `fit` reuses them without asking `compile`, as after a first
            # `fit` with other callbacks. Only they are dropped: compiling anew would reset the optimizer and metrics.
            self.train_function = self.test_function = None

    def _recorded(self, function):
        if keras.backend.backend() != "torch" or self.run_eagerly or self.jit_compile:
            return function
        from kvae.training.recorded import recorded

        return recorded(function, self.trainable_weights)
