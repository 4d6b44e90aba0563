"""What is checked of a `.keras` file before Keras sees it, because somebody else may have written it.

Keras builds whatever `config.json` asks for, and takes its memory before it looks at the weights.
"""

import concurrent.futures
import copy
import io
import math
import operator
import zipfile

import keras

from kvae.io import limits
from kvae.training.keras_internals import BACKEND_MODULES, NETWORK_MODULES, OPERATION_MODULES

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
MEMBERS = {"metadata.json", CONFIG, WEIGHTS}
NETWORKS = {"Functional", "Sequential"}
LAYERS = set(  # those that compute, and neither run code of the file's nor read other files
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
DATA = {"__keras_tensor__", "__slice__", "__ellipsis__"}  # not objects of a class, in Keras's notation
KINDS = {
    "keras.initializers": keras.initializers.Initializer,
    "keras.regularizers": keras.regularizers.Regularizer,
    "keras.constraints": keras.constraints.Constraint,
    "keras.optimizers": keras.optimizers.Optimizer,
    "keras.optimizers.schedules": keras.optimizers.schedules.LearningRateSchedule,
    "keras.metrics": keras.metrics.Metric,
}


def check(path):
    """Raise unless a `.keras` file is one that kvae could have written, and asks for no more than it brings.

    Args:
        path: of a zip archive.

    Raises:
        ValueError: if it has other members, is too large or unpacks to too much; if its configuration names anything
            but kvae's own classes and Keras's that compute; if its weights are not all there; or if the model would
            have more numbers than the weights have bytes.
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


def check_config(config):
    """Raise a `ValueError` if a configuration names what is not allowed, or a shape of more than `reading.EXAMPLE`."""
    waiting = [("", config)]
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, dict):
            if "class_name" in value:
                _check_class(value)
            waiting += value.items()
        elif isinstance(value, list):
            numbers = [abs(number) for number in value if isinstance(number, (int, float))]
            if "shape" in key and math.prod(numbers) > limits.EXAMPLE:
                raise ValueError(f"its `{key}` {str(value)[:60]} is of more than {limits.EXAMPLE:,} numbers")
            waiting += [(key, each) for each in value]


def check_weights(content):
    """Raise a `ValueError` unless every array of an HDF5 file, given as bytes, is in the file itself and whole."""
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
                raise ValueError(f"its weights hold {name[:80]!r}, which is no array of numbers")
            elif item.is_virtual or item.external or item.chunks is not None:
                raise ValueError(f"its weights hold {name[:80]!r}, packed or in another place")
            elif item.size * item.dtype.itemsize != item.id.get_storage_size():
                raise ValueError(f"its weights hold {name[:80]!r}, of another size than its shape {item.shape}")

    seen: set = set()
    with h5py.File(io.BytesIO(content), "r") as file:
        look(file)


def check_size(config, most):
    """Raise a `ValueError` if the model of a configuration has more than `most` numbers; none of them is made for that.

    The model is built in a scope in which Keras's variables have a shape but no value, and in a thread of its own: what
    Keras notes of them, to give them values later, is forgotten with the thread.
    """

    def build():
        with _Budget(most):
            # A copy, because Keras takes a configuration apart as it reads it.
            model = keras.saving.deserialize_keras_object({**copy.deepcopy(config), "compile_config": None})
            return sum(math.prod(variable.shape) for variable in model.variables)

    if not isinstance(config, dict):
        raise ValueError(f"its {CONFIG} is no model's")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        size = pool.submit(build).result()
    if size > most:
        raise _too_large(size, most)


class _Budget(keras.StatelessScope):
    """A scope that refuses to look at a variable of more than `most` numbers: it would be made to be looked at."""

    def __init__(self, most):
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
    """Raise a `ValueError` unless an object of a configuration is of a class that may be made."""
    module, name, registered = (value.get(key) for key in ("module", "class_name", "registered_name"))
    if not _is_known(module, name, registered):
        raise ValueError(
            f"it asks for {str(module)[:60]}.{str(name)[:60]}, which is not registered: first import the module that "
            "registers it (kvae COMMAND --import MODULE)"
        )


def _is_known(module, name, registered):
    if not isinstance(name, str):
        return False
    if name in DATA and registered is None:
        return True
    if isinstance(registered, str) and registered != name:
        # A class of kvae's, or one that the user registered in this process: of the name that the file gives it.
        found = keras.saving.get_registered_object(registered)
        return isinstance(found, type) and found.__name__ == name
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
