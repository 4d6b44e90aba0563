"""Networks held constant: no gradient for their weights, the usual gradients elsewhere, and no state lost."""

import keras
import numpy as np
import pytest
from cases import QUICKLY
from keras import ops

from kvae.priors import Autoregressive
from kvae.training.held import freeze, held


class Pair(keras.Model):
    """Two networks in sequence, either of which a loss may hold constant."""

    def __init__(self, *names):
        super().__init__()
        keras.utils.set_random_seed(0)
        self.first, self.second = network(seed=1), network(seed=2)
        self.names = names
        self.built = True

    def call(self, x, training=False):
        with held(*(getattr(self, name) for name in self.names)):
            y = self.second(self.first(x, training=training), training=training)
        self.add_loss(ops.sum(y**2) + 0.0 * sum(ops.sum(v) for v in self.trainable_variables))  # no gradient is None
        return y


def network(seed):
    layers = keras.layers.Dense(3, "tanh"), keras.layers.BatchNormalization(), keras.layers.Dropout(0.5, seed=seed)
    return keras.Sequential([keras.Input((3,)), *layers])


def changes(*names):
    """The change of both networks' variables in one SGD step, and the values of the other variables afterwards."""
    model = Pair(*names)
    model.compile(optimizer=keras.optimizers.SGD(1.0), **QUICKLY)
    before = [np.array(v) for v in model.trainable_variables]
    model.fit(np.linspace(-1, 1, 12, dtype="float32").reshape(4, 3), batch_size=4, shuffle=False, verbose=0)
    moved = [ops.convert_to_numpy(v) - then for v, then in zip(model.trainable_variables, before, strict=True)]
    others = [ops.convert_to_numpy(v) for part in (model.first, model.second) for v in part.non_trainable_variables]
    return moved[: len(moved) // 2], moved[len(moved) // 2 :], others


@pytest.mark.parametrize("names", [("second",), ("first",), ("first", "second")])
def test_only_the_weights_of_held_networks_have_no_gradient(names):
    *free, others = changes()
    *partly, others_too = changes(*names)
    for name, expected, moved in zip(("first", "second"), free, partly, strict=True):
        for a, b in zip(expected, moved, strict=True):
            if name in names:
                assert not b.any()
            else:
                assert a.any()
                np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-6)
    for a, b in zip(others, others_too, strict=True):  # seeds and moving averages keep changing
        np.testing.assert_allclose(b, a, rtol=1e-6)


def test_a_scope_can_be_inside_another_and_is_left_after_an_error():
    first, second = network(seed=1), network(seed=2)
    x = np.ones((2, 3), "float32")
    expected = ops.convert_to_numpy(second(first(x)))
    with held(first), held(second):
        np.testing.assert_allclose(ops.convert_to_numpy(second(first(x))), expected, rtol=1e-6)
    with pytest.raises(ZeroDivisionError), held(first):
        1 / 0  # noqa: B018
    count = int(ops.convert_to_numpy(first.layers[-1].seed_generator.state)[1])
    with held(second):
        first(x, training=True)
    assert int(ops.convert_to_numpy(first.layers[-1].seed_generator.state)[1]) > count


def test_a_layer_that_says_it_is_frozen_is_frozen_with_its_parts():
    layer = Autoregressive((2, 1), 3, hidden=2, num_blocks=1, trainable=False)  # as read from a file
    freeze(layer)
    assert layer.variables
    assert not any(variable.trainable for variable in layer.variables)
