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
from kvae.training.keras_internals import BACKEND_MODULES, NETWORK_MODULES, OPERATION_MODULES
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
        config = limits.parse_json(archive.read(CONFIG))
        weights = archive.read(WEIGHTS)
    check_config(config)
    check_weights(weights)
    check_size(config, len(weights))


def check_config(config: Any) -> None:
    """Raise a `ValueError` if a configuration names an unknown class, or a shape of more than `limits.EXAMPLE`."""
    waiting: list[tuple[str, Any]] = [("", config)]
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, dict):
            if "class_name" in value:
                _check_class(value)
            waiting += value.items()
        elif isinstance(value, list):
            numbers = [abs(number) for number in value if isinstance(number, (int, float))]
            if "shape" in key and math.prod(numbers) > limits.EXAMPLE:
                raise ValueError(f"its `{key}` {str(value)[:60]} has more than {limits.EXAMPLE:,} numbers")
            waiting += [(key, each) for each in value]


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


def check_size(config: Any, most: int) -> None:
    """Raise a `ValueError` if the model of a configuration has more than `most` numbers, without allocating them.

    The model is built in a scope in which Keras's variables have a shape but no value, and in a separate thread:
    Keras's record of them, which it keeps to initialise them later, is discarded with the thread.
    """

    def build():
        with _Budget(most):
            # A copy, because Keras modifies a configuration while reading it.
            model = keras.saving.deserialize_keras_object({**copy.deepcopy(config), "compile_config": None})
            return sum(math.prod(variable.shape) for variable in model.variables)

    if not isinstance(config, dict):
        raise ValueError(f"its {CONFIG} is not that of a model")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        size = pool.submit(build).result()
    if size > most:
        raise _too_large(size, most)


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
    """Raise an `UnknownClassError` unless an object of a configuration is of a class that may be instantiated."""
    module, name, registered = (value.get(key) for key in ("module", "class_name", "registered_name"))
    # Keras acts on these names before it looks up module and registered name, and runs the code of a __lambda__.
    if name == "function" or str(name).startswith("__"):
        known = name in DATA and registered is None
    else:
        known = isinstance(name, str) and (_is_builtin(module, name, registered) or _is_registered(name, registered))
    if not known:
        asked = f"asks for {str(module)[:60]}.{str(name)[:60]}"
        if not isinstance(module, str) or module.split(".")[0] in ("keras", "builtins"):
            raise UnknownClassError(f"{asked}, which is not loaded from files: it could run code or read other files")
        raise UnknownClassError(
            f"{asked}, which is not registered: decorate the class with keras.saving.register_keras_serializable, and "
            "import its module first (--import MODULE)"
        )


def _is_registered(name, registered):
    """Whether `registered` is a class of that name, of kvae or derived from a base class of Keras's or kvae's.

    The name has to be that of the class: Keras looks at `class_name` before it looks up `registered_name`.
    """
    found = keras.saving.get_registered_object(registered) if isinstance(registered, str) else None
    if not isinstance(found, type) or found.__name__ != name:
        return False
    own = any(base.__module__.split(".")[0] == "kvae" for base in found.__mro__)
    return own or issubclass(found, (keras.layers.Layer, *KINDS.values()))


def _is_builtin(module, name, registered):
    """Whether it is a Keras class that only computes, and whose name no other class is registered under."""
    if not isinstance(module, str) or registered not in (None, name) or keras.saving.get_registered_object(name):
        return False
    if module == "keras.layers":
        return name in LAYERS
    if name in NETWORKS:
        return module in ("keras", "keras.models", *NETWORK_MODULES)
    if name == "DTypePolicy":
        return module in ("keras", "keras.dtype_policies")
    if module.startswith(f"{BACKEND_MODULES}torch.optimizers."):  # as Keras writes them under PyTorch
        module = "keras.optimizers"
    if module in OPERATION_MODULES:
        return name.isidentifier()
    found = getattr(operator.attrgetter(module.removeprefix("keras."))(keras), name, None) if module in KINDS else None
    return isinstance(found, type) and issubclass(found, KINDS[module])
