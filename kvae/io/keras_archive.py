"""Checks of an untrusted `.keras` file before Keras reads it.

Keras builds whatever `config.json` asks for, and allocates its memory before it looks at the weights.
"""

from __future__ import annotations

import concurrent.futures
import copy
import io
import math
import operator
import zipfile
from typing import Any

import keras

from kvae.io import limits
from kvae.training.keras_internals import (
    BACKEND_MODULES,
    NETWORK_MODULES,
    OPERATION_MODULES,
    deferred_variables,
    layers_of,
)
from kvae.types import PathLike

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
MEMBERS = {"metadata.json", CONFIG, WEIGHTS}
NETWORKS = {"Functional", "Sequential"}
LAYERS = set(  # those that only compute: they neither run code from the file nor read other files
    """
    InputLayer Identity Masking Dense EinsumDense Embedding Activation ReLU LeakyReLU PReLU ELU Softmax
    Rescaling Conv1D Conv2D Conv3D Conv1DTranspose Conv2DTranspose Conv3DTranspose DepthwiseConv1D
    DepthwiseConv2D SeparableConv1D SeparableConv2D MaxPooling1D MaxPooling2D MaxPooling3D AveragePooling1D
    AveragePooling2D AveragePooling3D GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D
    GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D BatchNormalization LayerNormalization
    GroupNormalization UnitNormalization RMSNormalization SpectralNormalization Dropout AlphaDropout
    SpatialDropout1D SpatialDropout2D SpatialDropout3D GaussianDropout GaussianNoise ActivityRegularization Add
    Subtract Multiply Average Maximum Minimum Concatenate Dot Flatten Reshape Permute RepeatVector Cropping1D
    Cropping2D Cropping3D ZeroPadding1D ZeroPadding2D ZeroPadding3D UpSampling1D UpSampling2D UpSampling3D
    SimpleRNN LSTM GRU SimpleRNNCell LSTMCell GRUCell RNN Bidirectional TimeDistributed Attention
    AdditiveAttention MultiHeadAttention
    """.split()  # noqa: SIM905
)
DATA = {"__keras_tensor__", "__slice__", "__ellipsis__"}  # Keras's notation for values that are not objects
ARRAYS = {"__numpy__", "__tensor__"}  # constants of a network
NUMBERS = {"bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "bfloat16",
           "float32", "float64"}  # fmt: skip
METRIC_STATE = {"num_thresholds": 1, "thresholds": 1, "num_labels": 1, "num_classes": 2}  # powers in a metric's state
KINDS = {
    "keras.initializers": keras.initializers.Initializer,
    "keras.regularizers": keras.regularizers.Regularizer,
    "keras.constraints": keras.constraints.Constraint,
    "keras.optimizers": keras.optimizers.Optimizer,
    "keras.optimizers.schedules": keras.optimizers.schedules.LearningRateSchedule,
    "keras.metrics": keras.metrics.Metric,
}


class UnknownClassError(ValueError):
    """A file asks for a class that is neither kvae's, nor one of Keras's that only compute, nor registered."""


def check(path: PathLike) -> None:
    """Raise unless a `.keras` file is safe to load: it runs no code and needs no more memory than its size suggests.

    Args:
        path: path of a zip archive.

    Raises:
        UnknownClassError: if the configuration names anything but kvae's classes, Keras's that only compute, and those
            that have been registered in this process.
        ValueError: if the archive has unexpected members, is too large, or unpacks to too much; if weights are missing;
            or if the model would have more numbers than the weights have bytes.
    """
    with zipfile.ZipFile(path) as archive:
        members = {member.filename: member for member in limits.archive_members(archive)}
        if not {CONFIG, WEIGHTS} <= set(members) <= MEMBERS:
            raise ValueError(f"its members must be {sorted(MEMBERS)}, but are {str(sorted(members))[:120]}")
        if members[CONFIG].file_size > limits.CONFIG:
            raise ValueError(f"its {CONFIG} has more than {limits.CONFIG:,} bytes")
        if members[WEIGHTS].file_size > limits.WEIGHTS * members[WEIGHTS].compress_size:
            raise ValueError(f"its weights unpack to more than {limits.WEIGHTS} times their size")
        config = limits.parse_json(archive.read(CONFIG))
        weights = archive.read(WEIGHTS)
    state = check_config(config)
    check_weights(weights)
    check_size(config, len(weights), state)


def check_config(config: Any) -> int:
    """Check every object of a configuration, in whichever part of it, before any is made.

    Returns:
        int, how many numbers the state of its metrics takes. It is allocated when a model is compiled, and is not among
        its weights.

    Raises:
        UnknownClassError: if it names an unknown class.
        ValueError: if a shape has more than `limits.EXAMPLE` numbers, the metrics more than `limits.METRICS`, a layer
            would compute something while the model is built, or the compilation has layers.
    """
    state = 0
    waiting: list[tuple[str, Any, bool]] = [("", config, False)]
    while waiting:
        key, value, compiling = waiting.pop()
        compiling = compiling or key == "compile_config"
        if isinstance(value, dict):
            if "class_name" in value:
                found = _check_class(value)
                state += _metric_state(value) if issubclass(found, keras.metrics.Metric) else 0
                if compiling and issubclass(found, keras.layers.Layer):
                    raise ValueError(f"its compile_config has a layer, {found.__name__}, which would not be counted")
            if value.get("unroll"):
                raise ValueError("it unrolls a recurrent layer: save it with unroll=False")
            waiting += ((name, each, compiling) for name, each in value.items())
        elif isinstance(value, list):
            numbers = [abs(number) for number in value if isinstance(number, (int, float))]
            if "shape" in key and math.prod(numbers) > limits.EXAMPLE:
                raise ValueError(f"its `{key}` {str(value)[:60]} has more than {limits.EXAMPLE:,} numbers")
            if key == "inbound_nodes" and not all(map(_is_symbolic, value)):
                raise ValueError("it calls a layer on numbers, which would compute something, instead of on a layer")
            waiting += ((key, each, compiling) for each in value)
    if state > limits.METRICS:
        raise ValueError(f"its metrics hold at least {state:,} numbers, more than {limits.METRICS:,}")
    return state


def check_weights(content: bytes) -> None:
    """Raise a `ValueError` unless every array of an HDF5 file is stored in the file itself, uncompressed and whole."""
    import h5py

    def look(group):
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise ValueError(f"its weights hold a link, {name[:80]!r}")
            item = group[name]
            if item in seen:
                raise ValueError(f"its weights hold {name[:80]!r} twice")
            seen.add(item)
            if isinstance(item, h5py.Group):
                look(item)
            elif not isinstance(item, h5py.Dataset) or item.dtype.hasobject or item.dtype.kind not in "fiubV":
                raise ValueError(f"its weights hold {name[:80]!r}, which is not an array of numbers")
            elif item.is_virtual or item.external or item.chunks is not None:
                raise ValueError(f"its weights hold {name[:80]!r}, compressed or in another file")
            elif item.size * item.dtype.itemsize != item.id.get_storage_size():
                raise ValueError(f"its weights hold {name[:80]!r}, whose size does not fit its shape {item.shape}")

    seen: set = set()
    with h5py.File(io.BytesIO(content), "r") as file:
        look(file)


def check_size(config: Any, most: int, metric_state: int = 0) -> None:
    """Raise a `ValueError` if a configuration asks for more than `most` numbers, without allocating them.

    The model is built in a scope in which Keras's variables have a shape but no value, and in a separate thread:
    Keras's record of them, which it keeps to initialise them later, is discarded with the thread. All variables count,
    also those of layers that no output depends on, or that nothing holds.

    Args:
        config: dict, the configuration of a model. Its classes are those of `check_config`.
        most: int.
        metric_state: int, what `check_config` returned. When a model is compiled, its metrics compare images, each
            threshold with each pixel: the product is limited, too.
    """

    def build():
        with _Budget(most):
            _check_steps(config)
            # A copy, because Keras modifies a configuration while reading it.
            model = keras.saving.deserialize_keras_object({**copy.deepcopy(config), "compile_config": None})
            pixels = math.prod(getattr(model, "image_shape", ()))
            if pixels * metric_state > limits.EXAMPLE:
                raise ValueError(f"its metrics make {pixels * metric_state:,} comparisons, over {limits.EXAMPLE:,}")
            created = deferred_variables()
            return sum(math.prod(variable.shape) for variable in (model.variables if created is None else created))

    if not isinstance(config, dict):
        raise ValueError(f"its {CONFIG} is not that of a model")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        size = pool.submit(build).result()
    most += 4 * metric_state  # the most that a metric keeps of each threshold, and that is not among the weights
    if size > most:
        raise _too_large(size, most)


def _check_steps(config):
    """Raise a `ValueError` if TimeDistributed layers of a configuration would loop over more than `limits.STEPS` steps.

    How many steps there are is known once the networks have been built, which takes none of them. The model that holds
    the networks is not built before: its constructor runs their last layers.
    """
    steps, waiting = 0, [config]
    while waiting:
        value = waiting.pop()
        if not isinstance(value, (dict, list)):
            continue
        if isinstance(value, list) or value.get("class_name") not in NETWORKS:
            waiting += value if isinstance(value, list) else value.values()
        elif "'TimeDistributed'" in str(value):
            network = keras.saving.deserialize_keras_object({**copy.deepcopy(value), "compile_config": None})
            for layer in layers_of(network):
                if not isinstance(layer, keras.layers.TimeDistributed):
                    continue
                if any(isinstance(inner, keras.layers.TimeDistributed) for inner in layers_of(layer.layer)):
                    raise ValueError("it has a TimeDistributed layer inside another one")
                steps += layer.input.shape[1] or 0
    if steps > limits.STEPS:
        raise ValueError(f"its TimeDistributed layers take {steps:,} steps, more than {limits.STEPS:,}")


class _Budget(keras.StatelessScope):
    """A scope that refuses to read a variable of more than `most` numbers, because reading it would allocate it."""

    def __init__(self, most: int) -> None:
        super().__init__(initialize_variables=False)
        self.most = most

    def get_current_value(self, variable):
        size = math.prod(variable.shape)
        if size > self.most:
            raise _too_large(size, self.most)
        return super().get_current_value(variable)


def _too_large(size, most):
    return ValueError(f"it asks for a model of at least {size:,} numbers, and its weights have {most:,} bytes")


def _check_class(value):
    """Return the class of an object in a configuration.

    Raises an `UnknownClassError` unless it is one that may be instantiated.
    """
    module, name, registered = (value.get(key) for key in ("module", "class_name", "registered_name"))
    # Keras acts on these names before it looks up module and registered name, and runs the code of a __lambda__.
    if name == "function" or str(name).startswith("__"):
        data = name in DATA or (name in ARRAYS and _is_array(value.get("config")))
        found = object if data and registered is None else None
    else:
        found = (_builtin(module, name, registered) or _registered(name, registered)) if isinstance(name, str) else None
    if found is not None:
        return found
    asked = f"asks for {str(module)[:60]}.{str(name)[:60]}"
    if not isinstance(module, str) or module.split(".")[0] in ("keras", "builtins"):
        raise UnknownClassError(f"{asked}, which is not loaded from files: it could run code or read other files")
    raise UnknownClassError(
        f"{asked}, which is not registered: decorate the class with keras.saving.register_keras_serializable, and "
        "import its module first (--import MODULE)"
    )


def _registered(name, registered):
    """The class `registered`, if it has that name and is of kvae, or derived from a base class of Keras's or kvae's.

    The name has to be that of the class: Keras looks at `class_name` before it looks up `registered_name`.
    """
    found = keras.saving.get_registered_object(registered) if isinstance(registered, str) else None
    if not isinstance(found, type) or found.__name__ != name:
        return None
    own = any(base.__module__.split(".")[0] == "kvae" for base in found.__mro__)
    return found if own or issubclass(found, (keras.layers.Layer, *KINDS.values())) else None


def _builtin(module, name, registered):
    """The Keras class, if it only computes, and no other class is registered under its name."""
    if not isinstance(module, str) or registered not in (None, name) or keras.saving.get_registered_object(name):
        return None
    if module.startswith(f"{BACKEND_MODULES}torch.optimizers."):  # as Keras writes them under PyTorch
        module = "keras.optimizers"
    if name in NETWORKS:
        known = module in ("keras", "keras.models", *NETWORK_MODULES)
        return getattr(keras, name, keras.Model) if known else None
    if name == "DTypePolicy":
        return keras.DTypePolicy if module in ("keras", "keras.dtype_policies") else None
    if module in OPERATION_MODULES:  # private modules: Keras looks in them for subclasses of Operation
        return keras.Operation if name.isidentifier() else None
    if module == "keras.layers":
        return getattr(keras.layers, name) if name in LAYERS else None
    found = getattr(operator.attrgetter(module.removeprefix("keras."))(keras), name, None) if module in KINDS else None
    return found if isinstance(found, type) and issubclass(found, KINDS[module]) else None


def _is_array(config):
    """Whether a constant is written as numbers: its type could be text of any length, which is padded with zeros."""
    if not isinstance(config, dict) or set(config) != {"value", "dtype"} or str(config["dtype"]) not in NUMBERS:
        return False
    level = [config["value"]]
    while any(isinstance(each, list) for each in level):
        level = [each for group in level if isinstance(group, list) for each in group]
    return all(isinstance(each, (int, float)) for each in level)


def _is_symbolic(node):
    """Whether the call of a layer has the output of a layer among its arguments. If not, Keras runs the layer."""
    waiting = [node] if isinstance(node, dict) else []
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if value.get("class_name") == "__keras_tensor__":
                return True
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return False


def _metric_state(value):
    """How many numbers a metric holds: a threshold or a class is one, a confusion matrix the square of its classes."""
    config = value.get("config")
    state = 1
    for key, power in METRIC_STATE.items() if isinstance(config, dict) else ():
        number = config.get(key)
        number = len(number) if isinstance(number, list) else number
        if isinstance(number, (int, float)) and not abs(number) <= 1:  # NaN counts as too large
            state *= int(min(abs(number), limits.METRICS + 1) if number == number else limits.METRICS + 1) ** power
    return state
