"""What each step of `fit` on arrays sees, compared with a NumPy account: rows, order, weights, conditions and averages.

Most other tests train eagerly, and Keras then feeds the arrays. Here `fit` is compiled, as users run it.
"""

import keras
import numpy as np
import pytest
from cases import cvae, vae
from keras import ops

from kvae.models.base import BaseModel
from kvae.models.batches import BatchResult
from kvae.models.conditions import Conditions, take
from kvae.training import fit_on_arrays, strategy
from kvae.training.pipelines import Rows, pipeline

N, VALIDATION, STEPS = 70, 10, 16  # rows to train on and to validate with; steps that can be recorded
RATE = 0.1


class Recorder(BaseModel):
    """Records what each step sees, and minimises f_i s + ½ s² by its weight s, where f_i is known for row i of a table.

    Every image and condition must be a row of the table, which identifies it; `worst` is the largest deviation.
    """

    term_names = ("value",)

    def __init__(self, x, y=None, conditions=None, seed=0):
        super().__init__()
        self.x, self.y, self.conditions = x, y, conditions
        self.seed_generator = strategy.SeedGenerator(seed)
        self.s = self.add_weight(shape=(), initializer="zeros", name="s")
        shapes = {"step": (2,), "places": (2, STEPS, len(x)), "sizes": (2, STEPS, len(x)), "worst": ()}
        for name, shape in shapes.items():
            setattr(self, name, self.add_weight(shape=shape, initializer="zeros", trainable=False, name=name))
        self.built = True

    @property
    def image_shape(self):
        return self.x.shape[1:]

    def run_batch(self, batch, training):
        distances = ops.sum(ops.square(batch.x[:, None] - ops.convert_to_tensor(self.x)), axis=(2, 3, 4))
        row = ops.one_hot(ops.argmin(distances, axis=1), len(self.x))  # (batch, rows)
        given, known = [batch.x], [self.x]
        if self.conditions is not None:
            given += batch.y if isinstance(batch.y, (tuple, list)) else [batch.y]
            known += self.y if isinstance(self.y, tuple) else [self.y]
        for each, table in zip(given, known, strict=True):
            table = ops.convert_to_tensor(table.reshape(len(table), -1).astype("float32"))
            each = ops.reshape(ops.cast(each, "float32"), (-1, table.shape[1]))
            self.worst.assign(ops.maximum(self.worst, ops.max(ops.abs(each - ops.matmul(row, table)))))
        place = ops.arange(1, ops.shape(batch.x)[0] + 1)
        weight = ops.ones_like(place) if batch.sample_weight is None else batch.sample_weight
        kind = ops.one_hot(0 if training else 1, 2)
        now = kind[:, None] * ops.one_hot(ops.cast(ops.sum(kind * self.step), "int32"), STEPS)  # (2, steps)
        for record, values in ((self.places, place), (self.sizes, weight)):
            record.assign_add(now[:, :, None] * ops.sum(row * ops.cast(values, "float32")[:, None], axis=0))
        self.step.assign_add(kind)
        loss = ops.matmul(row, ops.arange(len(self.x), dtype="float32")) / N * self.s + 0.5 * ops.square(self.s)
        return BatchResult(ops.zeros_like(batch.x), (loss,), {"value": loss})

    def batches(self, training=True):
        """For each recorded step, the rows in their order and their weights."""
        places, weights = (ops.convert_to_numpy(v)[0 if training else 1] for v in (self.places, self.sizes))
        orders = [np.flatnonzero(place)[np.argsort(place[place > 0])] for place in places if place.any()]
        return [(rows, weight[rows]) for rows, weight in zip(orders, weights, strict=False)]


def table(kind, rng):
    """N + VALIDATION different images: of any values, or multiples of 1/255, which are kept as bytes."""
    shape = (N + VALIDATION, 2, 3, 1)
    return (
        np.float32(rng.integers(256, size=shape) / np.float32(255))
        if kind == "greys"
        else np.float32(rng.random(shape))
    )


def conditions_of(kind, rng):
    """Conditions of all rows, and the `Conditions` that describe them."""
    labels, vectors = rng.integers(3, size=N + VALIDATION), np.float32(rng.normal(size=(N + VALIDATION, 4)))
    return {
        None: (None, None),
        "labels": (labels, Conditions.from_shapes([(3,)], 3)),
        "several": ((labels, vectors), Conditions.from_shapes([(3,), (4,)], (3, None))),
    }[kind]


def recorder(images="floats", condition=None, seed=0, **kwargs):
    rng = np.random.default_rng(1)
    x, weights = table(images, rng), np.float32(rng.uniform(0.1, 2.0, N + VALIDATION))
    y, conditions = conditions_of(condition, rng)
    model = Recorder(x, y, conditions, seed)
    model.compile(optimizer=keras.optimizers.SGD(RATE), **kwargs)
    return model, x, y, weights


# What NumPy says that the steps see and compute.


def epochs_of(rows, batch_size, epochs, shuffle=True, seed=0):
    """The batches of each epoch; the order is drawn from the seed and the number of steps taken before."""
    steps = -(-len(rows) // batch_size)
    for epoch in range(epochs):
        order = np.random.default_rng((seed, epoch * steps)).permutation(len(rows)) if shuffle else np.arange(len(rows))
        yield [rows[order[start : start + batch_size]] for start in range(0, len(rows), batch_size)]


def descend(s, batches, weights, rate=RATE):
    """The weight s after SGD on these batches, and the mean loss over their examples."""
    total = 0.0
    for rows in batches:
        total += np.sum(weights[rows] * (rows / N * s + 0.5 * s**2))
        s -= rate * np.mean(weights[rows] * (rows / N + s))
    return s, total / sum(map(len, batches))


def assert_saw(model, expected, weights, training=True):
    seen = model.batches(training)
    assert [len(rows) for rows, _ in seen] == [len(rows) for rows in expected]
    for (rows, given), wanted in zip(seen, expected, strict=True):
        np.testing.assert_array_equal(rows, wanted)
        np.testing.assert_allclose(given, weights[wanted], rtol=1e-6)
    as_bytes = np.allclose(np.rint(255 * model.x), 255 * model.x, atol=1e-3)
    assert ops.convert_to_numpy(model.worst) <= (1e-7 if as_bytes else 0.0)


class HearsBatches(keras.callbacks.Callback):
    heard = 0

    def on_train_batch_end(self, batch, logs=None):
        self.heard += 1


CLASS_WEIGHT = {0: 0.5, 1: 1.0, 2: 3.0}

# How the model is made, what `fit` is given, and what follows from it: arguments of `recorder`, of `fit`, and which of
# condition, weights and validation data to pass.
WAYS = {
    "default": ({}, {"epochs": 3}, ""),
    "one-epoch-after-another": ({"images": "greys"}, {"batch_size": 16, "epochs": 3}, "resumed"),
    "another-seed": ({"seed": 5}, {"epochs": 2}, ""),
    "in-order": ({"images": "greys"}, {"shuffle": False, "epochs": 2, "batch_size": 16}, "weighted"),
    "weights": ({}, {"epochs": 2}, "weighted"),
    "labels": ({"condition": "labels"}, {"epochs": 2, "validation_batch_size": 4}, "validated"),
    "several-conditions": ({"condition": "several"}, {"epochs": 2, "batch_size": 12}, "weighted validated"),
    "split": ({"condition": "several"}, {"validation_split": 0.2, "batch_size": 8}, "weighted"),
    "split-no-weights": ({"images": "greys"}, {"validation_split": 0.2, "epochs": 2}, ""),
    "steps-given": (
        {"images": "greys", "steps_per_execution": 1 if keras.backend.backend() == "torch" else 3},
        {"batch_size": 16, "epochs": 2},
        "weighted validated",
    ),
    "a-callback-per-batch": ({}, {"batch_size": 10, "callbacks": [HearsBatches()]}, ""),
    "validation-rather-than-split": ({}, {"validation_split": 0.5}, "validated"),
    "class-weight": ({"condition": "labels"}, {"class_weight": CLASS_WEIGHT, "shuffle": False}, ""),
    "one-step": ({}, {"batch_size": N, "epochs": 2}, ""),
}


@pytest.mark.parametrize("way", WAYS)
def test_each_step_of_fit_sees_what_it_should(way):
    make, arguments, given = WAYS[way]
    model, x, y, weights = recorder(**make)
    arguments = {"verbose": 0, "epochs": 1, **arguments}
    batch_size, epochs = arguments.get("batch_size", 32), arguments["epochs"]
    weights = weights if "weighted" in given else np.ones_like(weights)
    rows, held = np.arange(N), np.arange(N, N + VALIDATION)
    data = {"x": x[rows], "y": take(y, rows)}
    if "weighted" in given:
        data["sample_weight"] = weights[rows]
    if "validated" in given:
        parts = (x[held], take(y, held), weights[held])
        arguments["validation_data"] = parts if "weighted" in given else parts[: 1 if y is None else 2]
    elif "validation_split" in arguments:
        rows, held = rows[:56], rows[56:]  # the last fifth, in order
    else:
        held = None
    if "class_weight" in arguments:
        weights = np.float32([CLASS_WEIGHT[label] for label in y])
    if "resumed" in given:
        model.fit(**data, **{**arguments, "epochs": 1})
        arguments["initial_epoch"] = 1
    history = model.fit(**data, **arguments).history

    expected = list(epochs_of(rows, batch_size, epochs, arguments.get("shuffle", True), make.get("seed", 0)))
    assert_saw(model, [rows for epoch in expected for rows in epoch], weights)
    s, losses, val_losses = 0.0, [], []
    for epoch in expected:
        s, loss = descend(s, epoch, weights)
        losses.append(loss)
        if held is not None:
            val_losses.append(descend(s, [held], weights, rate=0.0)[1])
    assert ops.convert_to_numpy(model.s) == pytest.approx(s, rel=1e-5)
    losses = losses[arguments.get("initial_epoch", 0) :]
    assert set(history) == {"loss", "value"} | ({"val_loss", "val_value"} if val_losses else set())
    for name, values in {"loss": losses, "value": losses, "val_loss": val_losses, "val_value": val_losses}.items():
        np.testing.assert_allclose(history.get(name, []), values, rtol=1e-5)
    val_batches = []
    if held is not None:
        size = arguments.get("validation_batch_size", batch_size)
        val_batches = [held[start : start + size] for start in range(0, len(held), size)] * epochs
    assert_saw(model, val_batches, weights, training=False)
    for callback in arguments.get("callbacks", ()):
        assert callback.heard == len(expected[0])


def test_arrays_for_validation_beside_a_dataset():
    model, x, y, weights = recorder(condition="labels")
    held = np.arange(N, N + VALIDATION)
    validation = (x[held], y[held], weights[held])
    logs = model.fit(
        pipeline(x[:N], y[:N], batch_size=32, shuffle=False),
        epochs=2,
        validation_data=validation,
        validation_batch_size=4,
        verbose=0,
    ).history
    batches = [held[start : start + 4] for start in range(0, VALIDATION, 4)]
    assert_saw(model, batches * 2, weights, training=False)
    value = descend(float(ops.convert_to_numpy(model.s)), [held], weights, rate=0.0)[1]
    np.testing.assert_allclose(logs["val_loss"][-1], value, rtol=1e-5)


def test_the_orders_of_epochs_and_seeds_differ():
    """So that the account above is not the same for all of them."""
    orders = [np.concatenate(epoch) for seed in (0, 5) for epoch in epochs_of(np.arange(N), 32, 3, seed=seed)]
    assert all(sorted(order) == list(range(N)) for order in orders)
    assert len({tuple(order) for order in [np.arange(N), *orders]}) == 7


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="JAX's")
def test_an_execution_logs_its_last_step():
    images, rows = ops.convert_to_tensor(np.arange(6.0)), ops.convert_to_tensor(np.arange(6).reshape(3, 2))

    def step(state, batch):
        return {"loss": ops.sum(batch)}, state + ops.sum(batch)

    logs, state = fit_on_arrays.scan(step, ops.zeros((), "float32"), Rows(rows, (images, None, None)))
    assert (float(logs["loss"]), float(state)) == (9.0, 15.0)


@pytest.mark.parametrize("condition", [None, "labels", "several"])
def test_evaluate_on_arrays_sees_all_rows_with_their_weights(condition):
    model, x, y, weights = recorder(condition=condition)
    model.s.assign(0.7)
    logs = model.evaluate(x, y, sample_weight=weights, batch_size=32, verbose=0, return_dict=True)
    every = np.arange(N + VALIDATION)
    assert_saw(model, [every[:32], every[32:64], every[64:]], weights, training=False)
    assert logs == pytest.approx(dict.fromkeys(("loss", "value"), descend(0.7, [every], weights)[1]), rel=1e-5)


class Batches(keras.utils.PyDataset):
    """Consecutive batches of arrays, which Keras feeds by itself."""

    def __init__(self, *arrays):
        super().__init__()
        self.arrays = arrays

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return tuple(array[8 * index : 8 * (index + 1)] for array in self.arrays)


@pytest.mark.long
def test_a_conditional_model_takes_the_steps_that_keras_would():
    """The noise too: the same draws in the same steps, also where many of them run at once."""
    rng = np.random.default_rng(0)
    x, y, weights = np.float32(rng.random((21, 8, 8, 1))), rng.integers(3, size=21), np.float32(rng.uniform(0, 2, 21))
    one, other = cvae(prior="learned"), cvae(prior="learned")
    start = one.get_weights()
    other.set_weights(start)
    for model in (one, other):
        model.compile(optimizer=keras.optimizers.SGD(1e-2))
    one.fit(x, y, sample_weight=weights, batch_size=8, shuffle=False, epochs=2, verbose=0)
    other.fit(Batches(x, y, weights), shuffle=False, epochs=2, verbose=0)
    for before, a, b in zip(start, one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
        assert before.size == 1 or not np.array_equal(before, a)  # one number: β


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the iterators of TensorFlow's trainer")
@pytest.mark.parametrize("fed", ["arrays", "dataset"])
def test_an_epoch_makes_one_iterator(fed, monkeypatch):
    """Left to itself, Keras makes two for each epoch and uses one of them."""
    import tensorflow as tf

    model, x = vae(), np.zeros((64, 8, 8, 1), "float32")
    model.compile()
    made, iterate = [], tf.data.Dataset.__iter__
    monkeypatch.setattr(tf.data.Dataset, "__iter__", lambda self: made.append(self) or iterate(self))
    given = {"x": x, "batch_size": 32} if fed == "arrays" else {"x": pipeline(x, batch_size=32)}
    model.fit(**given, epochs=3, verbose=0)
    assert len(made) == 3 + 1  # the last one is not used
