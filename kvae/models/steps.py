"""The functions that Keras calls for each batch: compiled anew if the model changes, without Python code on PyTorch."""

from __future__ import annotations

import inspect
from typing import Any

import keras

from kvae.training import kept


class Steps(keras.Model):
    """A Keras model that may run many steps per execution, and records them on PyTorch (`kvae.training.recorded`)."""

    train_function: Any
    test_function: Any
    steps_per_execution: int
    steps_given = False  # whether `compile` was given `steps_per_execution`
    _settings: frozenset[str] = frozenset()  # arguments of the constructor, and attributes that users may set later

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        names = inspect.signature(cls.__init__).parameters.keys() - {"self", "args", "kwargs"}
        # Not β, a variable that compiled steps read: it is assigned to, which costs no compilation.
        cls._settings = cls._settings | names - {"name", "dtype", "trainable", "beta"}

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if isinstance(value, keras.layers.Layer) or name in self._settings:
            kept.forget(self)
            self.compile_steps_anew()

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
            self.compile_steps_anew()

    def compile_steps_anew(self) -> None:
        """Make `fit`, `evaluate` and `predict` follow a change of what is compiled into them, from the next step on.

        Keras would reuse what an earlier call has compiled until `compile` is called, which also resets the metrics.
        """
        for name in ("train", "test", "predict"):
            if getattr(self, f"{name}_function", None) is not None:
                getattr(self, f"make_{name}_function")(force=True)

    def _recorded(self, function):
        if keras.backend.backend() != "torch" or self.run_eagerly or self.jit_compile:
            return function
        from kvae.training.recorded import recorded

        return recorded(function, self.trainable_weights)
