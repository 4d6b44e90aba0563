"""Keras's private names are used in one file only, and results are the same without any of them."""

import ast
import re
from pathlib import Path

import keras
import numpy as np
import pytest
from cases import QUICKLY, vae

from kvae.callbacks import Checkpoint
from kvae.training import fit_on_arrays, keras_internals
from kvae.training.adam import fuse_adam
from kvae.training.held import held

ROOT = Path(__file__).parents[1]
WALL = "keras_internals.py"
FILES = [
    path
    for folder in ("kvae", "tests", "benchmarks", "workshops")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if WALL not in path.name
]
MODULES = re.compile(r"keras\.src|tf\.__internal__|tensorflow\.python|torch\._|jax\._src")


def private_attributes(tree):
    """Attributes with a leading underscore: those read from other objects, and those that the code itself defines."""
    read, made = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            made.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            made.add(node.id)
        elif isinstance(node, ast.Attribute) and re.match("_[a-z]", node.attr):
            (made if isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self" else read).add(node.attr)
    return read, made


def test_no_other_file_has_a_private_name():
    named = re.compile("|".join(rf"(?<!\w){re.escape(name)}(?!\w)" for name in keras_internals.NAMES))
    found = {
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in FILES
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if named.search(line) or MODULES.search(line)
    }
    assert not found


@pytest.mark.long
def test_private_attributes_are_the_projects_own():
    """A private name that is read is defined here, and is not one that Keras defines too; the exceptions are listed."""
    trees = {path: private_attributes(ast.parse(path.read_text())) for path in FILES}
    made = {"_replace", "_fields", "_asdict", "_exit"}.union(*(own for _, own in trees.values()))
    bases = keras.Model, keras.layers.Layer, keras.optimizers.Adam, keras.metrics.Mean, keras.callbacks.Callback
    theirs = {name for base in bases for name in dir(base()) if re.match("_[a-z]", name)}
    package = {path.name: names for path, names in trees.items() if path.is_relative_to(ROOT / "kvae")}
    strange = {name: (read - made) | ((read | own) & theirs) for name, (read, own) in package.items()}
    assert not {name: names for name, names in strange.items() if names}


# Each name removed


@pytest.fixture
def without(monkeypatch):
    """A function that removes a name from Keras."""
    private = keras_internals._private

    def without(name):
        def gone(owner, asked):
            return keras_internals._GONE if asked == name else private(owner, asked)

        monkeypatch.setattr(keras_internals, "_private", gone)

    return without


def updated(fuse):
    optimizer, weight = keras.optimizers.Adam(0.1), keras.Variable([1.0, 2.0])
    if fuse:
        fuse_adam(optimizer)
    for step in (1.0, 2.0):
        optimizer.apply([keras.ops.convert_to_tensor([step, -step])], [weight])
    return keras.ops.convert_to_numpy(weight)


def test_nobody_is_then_told_of_slow_convolutions(without):
    without("IsMklEnabled")
    assert keras_internals.tensorflow_uses_onednn()


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="kernels of TensorFlow and PyTorch")
@pytest.mark.parametrize("name", ["_get_variable_index", "_momentums", "_velocities"])
def test_adam_is_then_updated_by_keras(without, name):
    without(name)
    np.testing.assert_array_equal(updated(fuse=True), updated(fuse=False))


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="PyTorch's kernels")
@pytest.mark.parametrize("name", ["_parallel_update_step", "_fused_adam_", "_schema", "torch_seed_generator"])
def test_steps_are_then_run_by_python(without, name):
    def fitted():
        keras.utils.set_random_seed(0)
        model = vae(hidden=(4,))
        model.compile("adam")
        model.fit(np.zeros((4, 8, 8, 1), "float32"), batch_size=2, verbose=0)
        return model

    expected = fitted().get_weights()
    without(name)
    model = fitted()
    assert model.train_function.refused == (name in ("_schema", "torch_seed_generator"))
    for ours, theirs in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def test_layers_are_then_found_by_public_names(without):
    models = [vae(hidden=(4,)), vae((28, 20, 1), "conv", (4, 8))]
    expected = [{id(layer) for layer in keras_internals.layers_of(model)} for model in models]
    without("_flatten_layers")
    for model, layers in zip(models, expected, strict=True):
        assert {id(layer) for layer in keras_internals.layers_of(model)} <= layers
    assert [bool(fit_on_arrays.convolutions(model)) for model in models] == [False, True]


@pytest.mark.long
def test_a_checkpoint_then_asks_for_the_epoch(without, tmp_path):
    def fit(epochs, path="checkpoint.npz", **kwargs):
        keras.utils.set_random_seed(0)
        model = vae(hidden=(4,))
        model.compile("adam", **QUICKLY)
        history = model.fit(x, epochs=epochs, verbose=0, callbacks=[Checkpoint(tmp_path / path)], **kwargs)
        return model.get_weights(), history.history["loss"]

    x = np.random.default_rng(0).random((32, 8, 8, 1), dtype="float32")
    whole, losses = fit(2, "whole.npz")
    without("_initial_epoch")
    fit(1)
    with pytest.raises(ValueError, match="call it with initial_epoch=1,"):
        fit(2)
    parts, losses_too = fit(2, initial_epoch=1)
    assert losses == losses_too
    assert all(np.array_equal(a, b) for a, b in zip(whole, parts, strict=True))


@pytest.mark.long
def test_validation_data_are_then_checked_again(monkeypatch):
    def logs():
        keras.utils.set_random_seed(0)
        model = vae(hidden=(4,))
        model.compile("adam", **QUICKLY)
        return model.fit(x, epochs=2, validation_data=(x,), verbose=0).history

    x = np.random.default_rng(0).random((32, 8, 8, 1), dtype="float32")
    expected = logs()
    monkeypatch.setattr(keras_internals, "is_validation_in_fit", lambda arguments: False)
    assert logs() == expected


def test_a_scope_needs_no_more_than_to_be_told(monkeypatch):
    dropout = keras.Sequential([keras.Input((2,)), keras.layers.Dropout(0.5, seed=1)])
    before = np.array(keras.ops.convert_to_numpy(dropout.variables[0]))
    monkeypatch.delattr(keras.StatelessScope, "add_update")
    with held(dropout):
        dropout(np.ones((1, 2)), training=True)
    assert not np.array_equal(keras.ops.convert_to_numpy(dropout.variables[0]), before)


def test_optimizers_are_named_as_everybody_can_load_them():
    theirs = {"module": f"{keras_internals.BACKEND_MODULES}torch.optimizers.torch_adam", "class_name": "Adam"}
    public = {"module": "keras.optimizers", "class_name": "Adam"}
    for config in (theirs, public):
        nested = {"optimizer": {"named": [config]}, "loss": None}
        assert keras_internals.with_public_optimizers(nested) == {"optimizer": {"named": [public]}, "loss": None}
