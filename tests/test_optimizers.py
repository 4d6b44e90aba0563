"""Several optimizers in one model: each trains its own networks, and the surrounding tools handle all of them."""

from pathlib import Path

import fresh
import keras
import numpy as np
import pytest
from adversarial import Adversarial, adversarial, compiled, images
from cases import QUICKLY
from keras import ops

import kvae
from kvae.callbacks import Checkpoint, StopOnNaN
from kvae.training.optimizers import GroupedOptimizer

FIT = {"batch_size": 8, "verbose": 0}
tensorflow_only = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's")
# In a separate process, which only knows the model from its file.
LOAD = """
import sys
sys.path.insert(0, sys.argv[1])
import adversarial, keras, numpy as np
folder = sys.argv[2]
model = keras.saving.load_model(f"{folder}/model.keras")
np.savez(f"{folder}/loaded.npz", model.predict(adversarial.images(), verbose=0), *model.optimizer.variables)
print(type(model.optimizer).__name__, *(type(each).__name__ for each in model.optimizer.members()))
"""
# Two replicas, whose gradients each optimizer must sum, compared with one replica and the whole batch.
MIRRORED = """
import sys
sys.path.insert(0, sys.argv[1])
import adversarial, keras, numpy as np, tensorflow as tf
halves = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], halves)
class Plain(adversarial.Adversarial):
    def judge(self, x, training):  # without dropout, whose masks differ between the replicas
        return super().judge(x, False)
def trained():
    model = adversarial.compiled(of=Plain)
    model.fit(adversarial.images(), batch_size=8, epochs=2, shuffle=False, verbose=0)
    return np.concatenate([np.ravel(v) for v in [*model.get_weights(), *model.optimizer.variables]])
alone = trained()
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    mirrored = trained()
print(alone.shape == mirrored.shape, np.allclose(alone, mirrored, rtol=1e-3, atol=1e-5))
"""


def weights(*networks):
    return [np.array(ops.convert_to_numpy(v)) for network in networks for v in network.trainable_variables]


def state(model):
    return [np.array(ops.convert_to_numpy(v)) for v in [*model.variables, *model.optimizer.variables]]


def equal(some, others):
    return [bool(np.array_equal(a, b)) for a, b in zip(some, others, strict=True)]


@pytest.mark.long
@pytest.mark.parametrize("rates", [(1e-2, 0.0), (0.0, 1e-1)])
def test_each_network_moves_by_its_own_optimizer_alone(rates):
    model = compiled(*rates)
    parts = [(model.encoder, model.decoder), (model.discriminator,)]
    before = [weights(*part) for part in parts]
    logs = model.fit(images(), epochs=2, **FIT).history
    for part, then, rate in zip(parts, before, rates, strict=True):
        assert equal(weights(*part), then) == [rate == 0.0] * len(then)
    assert {"fooling_loss", "judging_loss"} <= set(logs)
    assert int(model.optimizer.iterations) == 6
    assert float(model.optimizer.learning_rate) == pytest.approx(rates[0])


@pytest.mark.long
def test_equal_optimizers_train_as_one_does():
    class One(Adversarial):
        optimizer_groups = {}

    two, one = adversarial(), adversarial(One)
    two.compile(keras.optimizers.Adam(1e-2), discriminator_optimizer=keras.optimizers.Adam(1e-2), **QUICKLY)
    one.compile(keras.optimizers.Adam(1e-2), **QUICKLY)
    for model in (two, one):
        model.fit(images(), **FIT)
    for a, b in zip(two.get_weights(), one.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


@pytest.mark.long
def test_a_saved_model_brings_its_optimizers_back_in_a_fresh_process(tmp_path):
    model = compiled()
    model.fit(images(), **FIT)
    model.save(tmp_path / "model.keras")
    done = fresh.python(LOAD, Path(__file__).parent, tmp_path)
    assert done.stdout.split() == ["GroupedOptimizer", "Adam", "SGD"]
    with np.load(tmp_path / "loaded.npz") as file:
        predictions, *optimizer = file.values()
    np.testing.assert_allclose(predictions, model.predict(images(), verbose=0), rtol=1e-5, atol=1e-6)
    assert all(equal(optimizer, [ops.convert_to_numpy(v) for v in model.optimizer.variables]))
    assert len(optimizer) == len(model.optimizer.main.variables) + len(model.optimizer.named["discriminator"].variables)


@pytest.mark.long
def test_a_checkpoint_goes_on_to_the_bit(tmp_path):
    whole = compiled()
    whole.fit(images(), epochs=3, **FIT)
    for epochs in (1, 3):
        resumed = compiled()
        resumed.fit(images(), epochs=epochs, callbacks=[Checkpoint(tmp_path / "checkpoint.npz")], **FIT)
    assert all(equal(state(whole), state(resumed)))


@pytest.mark.long
def test_stop_on_nan_brings_all_of_them_back():
    model, guard = compiled(**QUICKLY), StopOnNaN()
    model.fit(images(), callbacks=[guard], **FIT)
    good = state(model)
    model.optimizer.named["discriminator"].learning_rate = float("inf")
    with pytest.warns(UserWarning, match="restored to its initial state"):
        model.fit(images(), callbacks=[guard], **FIT)
    model.optimizer.named["discriminator"].learning_rate = 1e-1
    trained = [*model.trainable_variables, *model.optimizer.variables]
    assert all(np.isfinite(ops.convert_to_numpy(v)).all() for v in trained)
    assert all(equal(weights(model), [good[i] for i, v in enumerate(model.variables) if v.trainable]))


@pytest.mark.long
def test_mixed_precision_scales_the_loss_of_all_of_them():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = compiled(discriminator_rate=0.0)
    finally:
        keras.config.set_dtype_policy("float32")
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert isinstance(model.optimizer.inner_optimizer, GroupedOptimizer)
    before = weights(model.decoder, model.discriminator)
    logs = model.fit(images(), epochs=2, **FIT).history
    assert np.isfinite(logs["loss"]).all()
    held = len(model.discriminator.trainable_variables)
    assert equal(weights(model.decoder, model.discriminator), before)[-held:] == [True] * held
    assert not any(equal(weights(model.decoder, model.discriminator), before)[:-held])


@pytest.mark.long
@tensorflow_only
def test_each_adam_is_fused():
    import tensorflow as tf

    model = adversarial()
    model.compile(optimizer=keras.optimizers.AdamW(), discriminator_optimizer="adam")
    model.optimizer.build(model.trainable_variables)
    step = tf.function(model.train_step).get_concrete_function(tf.zeros((2, 8, 8, 1)))
    kinds = [operation.type for operation in step.graph.get_operations()]
    assert kinds.count("ResourceApplyAdam") == len(model.trainable_variables)


@pytest.mark.long
@tensorflow_only
def test_two_replicas_train_as_one_device_does():
    done = fresh.python(MIRRORED, Path(__file__).parent)
    assert done.stdout.split() == ["True", "True"]


# Errors


@pytest.mark.parametrize("given", [{}, {"discriminator_optimizer": None}, {"critic_optimizer": "adam"}])
def test_missing_and_superfluous_optimizers_are_named(given):
    expected = r"optimizers of Adversarial must be \['optimizer', 'discriminator_optimizer'\].*Received: "
    received = str(["optimizer", *(name for name, value in given.items() if value)])
    with pytest.raises(ValueError, match=expected) as caught:
        adversarial().compile(**given)
    assert str(caught.value).endswith(received)
    with pytest.raises(ValueError, match=r"must be \['optimizer'\].*Received: .*'critic_optimizer'"):
        kvae.VAE(*kvae.networks.mlp((8, 8, 1), 2, hidden=(8,))).compile(critic_optimizer="adam")


def grouped(main, named, groups):
    return GroupedOptimizer(main, named, groups.__getitem__)


def test_what_cannot_be_shared_is_said_in_a_line():
    adam, variables = keras.optimizers.Adam, [keras.Variable([1.0], name=name) for name in "ab"]
    scaled = keras.optimizers.LossScaleOptimizer(adam())
    with pytest.raises(ValueError, match=r"share its loss .* Received: critic=LossScaleOptimizer"):
        GroupedOptimizer(adam(), {"critic": scaled})
    with pytest.raises(ValueError, match="`variables_of` must be given"):
        GroupedOptimizer(adam(), {"critic": adam()}).build(variables)
    with pytest.raises(ValueError, match="Received: a in 'one' and 'two'"):
        grouped(adam(), {"one": adam(), "two": adam()}, {"one": variables[:1], "two": variables[:1]}).build(variables)
    with pytest.raises(ValueError, match=r"`optimizer` must have a variable to train.*Received: all 2"):
        grouped(adam(), {"one": adam()}, {"one": variables}).build(variables)
    fine = grouped(adam(), {"one": adam()}, {"one": variables[:1]})
    fine.build(variables)
    with pytest.raises(ValueError, match=r"networks that `one_optimizer` trains.*no gradient for any of their 1"):
        fine.apply([None, ops.ones((1,))], variables)
    with pytest.raises(ValueError, match=r"Variables must be those .* Received: c"):
        fine.apply([ops.ones((1,))], [keras.Variable([1.0], name="c")])


def test_members_keep_what_they_do_beside_the_update():
    main, named = keras.Variable([1.0], name="a"), keras.Variable([1.0], name="b")
    averaged = keras.optimizers.SGD(0.5, use_ema=True, ema_momentum=0.0)
    optimizer = grouped(keras.optimizers.SGD(1.0), {"one": averaged}, {"one": [named]})
    optimizer.apply([ops.ones((1,))] * 2, [named, main])  # in a different order
    averaged.learning_rate = 0.0
    named.assign([7.0])
    optimizer.finalize_variable_values([main, named])
    assert [ops.convert_to_numpy(v).item() for v in (main, named)] == [0.0, 0.5]
    optimizer.learning_rate = 0.25
    assert float(optimizer.main.learning_rate) == 0.25
    again = GroupedOptimizer.from_config(optimizer.get_config())
    assert again.get_config() == optimizer.get_config()
