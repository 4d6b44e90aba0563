"""TensorFlow uses oneDNN's kernels where kvae is imported first, and users are told where it was not."""

import os
import platform
import subprocess
import sys
import warnings

import keras
import pytest

import kvae
from kvae.training import keras_internals, onednn

IN_GRAPHS = keras.backend.backend() == "tensorflow"
X86 = platform.machine().lower() in ("x86_64", "amd64")


@pytest.mark.backend_independent
@pytest.mark.parametrize(
    ("machine", "before", "after"),
    [("x86_64", None, "1"), ("AMD64", None, "1"), ("x86_64", "0", "0"), ("arm64", None, None)],
)
def test_it_is_switched_on_where_users_have_not_chosen(monkeypatch, machine, before, after):
    monkeypatch.delenv(onednn.VARIABLE, raising=False)
    if before is not None:
        monkeypatch.setenv(onednn.VARIABLE, before)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    onednn.use_onednn()
    assert os.environ.get(onednn.VARIABLE) == after


@pytest.mark.skipif(not IN_GRAPHS, reason="TensorFlow's kernels")
@pytest.mark.parametrize(
    ("network", "on", "chosen", "told"),
    [("conv", False, "1", True), ("conv", True, "1", False), ("conv", False, "0", False), ("mlp", False, "1", False)],
)
def test_users_are_told_of_slow_convolutions(monkeypatch, network, on, chosen, told):
    monkeypatch.setattr(keras_internals, "tensorflow_uses_onednn", lambda: on)
    monkeypatch.setenv(onednn.VARIABLE, chosen)
    pair = getattr(kvae.networks, network)((4, 4, 1), 2, hidden=(2,))
    model = kvae.VAE(*pair)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.compile()
    assert any("`import kvae` comes before `import keras`" in str(each.message) for each in caught) == told


@pytest.mark.long
@pytest.mark.skipif(not (IN_GRAPHS and X86), reason="TensorFlow's kernels for x86 processors")
def test_tensorflow_uses_them():
    code = "import kvae, keras; from kvae.training import keras_internals as k; print(k.tensorflow_uses_onednn())"
    environment = {name: value for name, value in os.environ.items() if name != onednn.VARIABLE}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "True"
