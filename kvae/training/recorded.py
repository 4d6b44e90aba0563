"""On PyTorch, the kernels of a step, recorded once and run again without the Python code that called them.

PyTorch runs an operation when Python asks for it. In a small network, what Keras and kvae do in Python between two
operations takes longer than these. TensorFlow and JAX run that code once, when they trace a step, and so does this
module: PyTorch's `TorchDispatchMode` shows every operation of the first step, those of the backward pass and of the
optimizer included. Later steps run the same operations in the same order on the same variables, to the same bits.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

from kvae.training import keras_internals
from kvae.training.pipelines import Rows

MOST = 8  # recordings of one function, for batches of different shapes
READS = {getattr(torch.Tensor, name) for name in ("numpy", "__array__", "tolist", "data_ptr", "__dlpack__")}
ALIASES = (torch.ops.aten.detach.default, torch.ops.aten.alias.default)  # without gradients, the same tensor
CONSTANT = torch.ops.aten.lift_fresh.default  # makes a tensor of a number


def recorded(function: Callable[[Any], Any], weights: list[keras.Variable]) -> Recorded:
    """A step as the operations that its first call ran.

    Args:
        function: the step, or what this function made of it.
        weights: those that it trains. After a change of `trainable`, it is recorded anew.
    """
    trained = [id(weight) for weight in weights]
    if isinstance(function, Recorded):
        return function if function.trained == trained else Recorded(function.function, trained)
    return Recorded(function, trained)


class Recorded:
    """A function of a batch as the operations that its first call ran; or, for `Rows` of several batches, of each.

    If Python reads the value of a tensor in that call, it might do something else at the next one: then nothing is
    recorded, and the function is called as it is. So it is for batches of new shapes after `MOST` recordings. Gradients
    are not kept in `grad` of the variables.

    Args:
        function: from a nested structure of tensors to a dict of tensors. What it does in Python must depend on the
            shapes of its inputs alone, and the only tensors that it may change in place are variables.
        trained: the identities of the weights that it trains.
    """

    def __init__(self, function: Callable[[Any], dict[str, torch.Tensor]], trained: list[int]) -> None:
        self.function = function
        self.trained = trained
        self.recordings: dict[tuple[Any, ...], Callable[..., dict[str, torch.Tensor]]] = {}
        self.refused = False

    def __call__(self, data: Any) -> dict[str, torch.Tensor]:
        first = data[0][0] if isinstance(data[0], (list, tuple)) else None
        if isinstance(first, Rows) and first.rows.ndim == 2:
            return [self.step([[Rows(rows, first.arrays)]]) for rows in first.rows][-1]
        return self.step(data)

    def step(self, data: Any) -> dict[str, torch.Tensor]:
        """Run the function on one batch."""
        key = _structure(data)
        if None in key:  # `train_on_batch` gives arrays
            return self.function(data)
        if key in self.recordings:
            with torch.no_grad():
                return self.recordings[key](*_tensors(data))
        if self.refused or len(self.recordings) >= MOST:
            return self.function(data)
        recorder = _Recorder(_tensors(data))
        with keras_internals.torch_generators(recorder.seeded), _Reads(recorder), recorder:
            result = self.function(data)
        self.refused = recorder.refused
        if not self.refused:
            self.recordings[key] = recorder.replay(result)
        return result


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    """The tensors in nested lists, tuples and dicts."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (list, tuple, dict)):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _tensors(each)


def _structure(data):
    """Flat tuple of all that is to know of nested lists and tuples but the tensors' values; `None` for other values."""
    if isinstance(data, (list, tuple)):
        return type(data), len(data), *(part for each in data for part in _structure(each))
    if isinstance(data, torch.Tensor):
        return data.shape, data.dtype, data.device
    return ("nothing",) if data is None else (None,)


def _mapped(function, value):
    """Nested lists, tuples and dicts with `function` applied to what they hold."""
    if isinstance(value, dict):
        return {key: _mapped(function, each) for key, each in value.items()}
    return [_mapped(function, each) for each in value] if isinstance(value, (list, tuple)) else function(value)


class _Slot(str):
    """The name of a tensor that each call computes anew."""


@dataclasses.dataclass
class _Constant:
    """A tensor that the step makes of numbers."""

    value: torch.Tensor


@dataclasses.dataclass
class _Call:
    """A call of an operation on slots, variables and constants; `needed` even if nothing uses its results."""

    function: Callable[..., Any]
    args: Any
    kwargs: dict[str, Any]
    results: Any = None
    needed: bool = True


class _Reads(TorchFunctionMode):
    """Refuses a recording if Python reads the values of a tensor where PyTorch calls no operation."""

    def __init__(self, recorder: _Recorder) -> None:
        super().__init__()
        self.recorder = recorder

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.recorder.refused |= function in READS
        return function(*args, **(kwargs or {}))


class _Recorder(TorchDispatchMode):
    """The calls of a step, in which it tells tensors apart by their identity.

    It does not keep them: backward passes copy a gradient that something else refers to.
    """

    def __init__(self, inputs: Iterable[torch.Tensor]) -> None:
        super().__init__()
        self.refused = self.paused = False
        self.calls: list[_Call] = []
        self.references: Any = WeakTensorKeyDictionary()  # to the slot of a tensor, or the constant that it is
        self.num_slots = 0
        self.inputs = [self._new(tensor) for tensor in inputs]

    def seeded(self, generator: torch.Generator, seed: torch.Tensor) -> None:
        """Seed a generator with a tensor, in this step and in the later ones."""
        self.calls.append(_Call(_seed, [generator, self._reference(seed)], {}))
        self.paused = True
        _seed(generator, seed)
        self.paused = False

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        if self.paused:
            return result
        if isinstance(result, (bool, int, float, complex)):  # `item`, `if tensor:`, `float(tensor)`, `equal`
            self.refused = True
        elif function is CONSTANT:
            self.references[result] = _Constant(result)
        elif function in ALIASES and isinstance(self._reference(args[0]), (_Slot, _Constant, torch.nn.Parameter)):
            self.references[result] = self._reference(args[0])
        else:
            self._record(function, args, kwargs, result)
        return result

    def _record(self, function, args, kwargs, result):
        given = list(_tensors((args, kwargs)))
        changed = keras_internals.written(function, args, kwargs)
        random = torch.Tag.nondeterministic_seeded in function.tags
        if given and changed == [] and not random and all(isinstance(self._reference(x), _Constant) for x in given):
            for each in _tensors(result):
                self.references[each] = _Constant(each)
            return
        self.refused |= changed is None
        for each in _tensors(changed):  # a constant would keep the change
            self.refused |= not isinstance(self._reference(each), (_Slot, torch.nn.Parameter))
        args, kwargs = _mapped(self._reference, (args, kwargs))
        call = _Call(function, args, kwargs, needed=bool(changed) or random)
        old = {id(each) for each in given}
        call.results = _mapped(lambda each: self._reference(each) if id(each) in old else self._new(each), result)
        self.calls.append(call)

    def _new(self, value):
        if not isinstance(value, torch.Tensor):
            return None
        self.references[value] = slot = _Slot(f"v{self.num_slots}")
        self.num_slots += 1
        return slot

    def _reference(self, value):
        return self.references.get(value, value) if isinstance(value, torch.Tensor) else value

    def replay(self, result: Any) -> Callable[..., Any]:
        """A function of the inputs that makes the calls again and returns what `result`, a dict of tensors, was."""
        names: dict[str, Any] = {}

        def text(value):
            """Python code for a nested structure of slots and other values, which get a name."""
            if isinstance(value, _Slot):
                return str(value)
            if isinstance(value, dict):
                return f"{{{', '.join(f'{key!r}: {text(each)}' for key, each in value.items())}}}"
            if isinstance(value, list):
                return f"[{', '.join(map(text, value))}]"
            names[f"k{len(names)}"] = value.value if isinstance(value, _Constant) else value
            return f"k{len(names) - 1}"

        result = _mapped(self._reference, result)
        used = set(_slots(result))
        lines = [f"  return {text(result)}"]
        for call in reversed(self.calls):
            made = set(_slots(call.results))
            if not call.needed and not made & used:
                continue
            dead = (made | set(_slots((call.args, call.kwargs)))) - used  # after this call: frees their memory
            used |= dead
            if dead:
                lines.append(f"  del {', '.join(sorted(dead))}")
            arguments = [*map(text, call.args), *(f"{name}={text(each)}" for name, each in call.kwargs.items())]
            results = call.results if isinstance(call.results, list) else [call.results]
            left = ", ".join(each if isinstance(each, _Slot) else "_" for each in results)
            left = f"[{left}] = " if isinstance(call.results, list) else f"{left} = "
            lines.append(f"  {left}{text(call.function)}({', '.join(arguments)})")
        code = f"def replay({', '.join(self.inputs)}):\n" + "\n".join(reversed(lines))
        exec(code, names)  # in the order of the calls, with names made above: faster than a loop over them
        return names["replay"]


def _seed(generator, seed):
    generator.manual_seed(int(seed) & 0xFFFFFFFF)  # as Keras does


def _slots(value: Any) -> Iterator[_Slot]:
    if isinstance(value, _Slot):
        yield value
    elif isinstance(value, (list, tuple, dict)):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _slots(each)
