"""On PyTorch, steps run the operations of the first one: to the same bits as without, or not at all."""

import keras
import numpy as np
import pytest
from cases import vae, vaegan
from keras import ops

if keras.backend.backend() != "torch":
    pytest.skip("PyTorch's steps", allow_module_level=True)

from kvae.training.recorded import MOST, Recorded

X = (np.random.default_rng(0).random((10, 8, 8, 1)) > 0.7).astype("float32")


def state(model):
    return [np.array(ops.convert_to_numpy(each)) for each in [*model.variables, *model.optimizer.variables]]


def fitted(make, optimizer="adam", **kwargs):
    """A model after six steps, two of them on a short batch, and what `fit` logged; recorded or, if `eagerly`, not."""
    keras.utils.set_random_seed(0)
    model = make()
    model.compile(keras.optimizers.get(optimizer), **kwargs)
    return model, model.fit(X, batch_size=4, epochs=2, validation_data=(X[:3],), verbose=0).history


MODELS = {
    "mlp": lambda: vae(hidden=(4,)),
    "convolutions": lambda: vae((8, 8, 1), "conv", (2, 3)),  # with moving averages
    "many samples": lambda: vae(hidden=(4,), bound="importance_weighted", num_samples=3),
    "mixture": lambda: vae(hidden=(4,), prior="mixture", posterior="laplace"),
    "adversarial": vaegan,
}


@pytest.mark.parametrize("name", MODELS)
def test_gives_the_bits_of_eager_steps(name):
    others = {"discriminator_optimizer": "adam"} if name == "adversarial" else {}
    (recorded, logs), (eager, expected) = (fitted(MODELS[name], **others, run_eagerly=way) for way in (False, True))
    assert len(recorded.train_function.recordings) == 2  # of full batches and short ones
    assert len(recorded.test_function.recordings) == 1
    assert logs == expected
    for ours, theirs in zip(state(recorded), state(eager), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_schedules_and_assigned_rates_are_followed():
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)
    models = [fitted(MODELS["mlp"], keras.optimizers.AdamW(schedule), run_eagerly=eager)[0] for eager in (False, True)]
    assert all(map(np.array_equal, *map(state, models)))
    model = fitted(MODELS["mlp"], keras.optimizers.Adam(0.1))[0]
    before = model.decoder.get_weights()
    model.optimizer.learning_rate = 0.0
    model.fit(X, batch_size=4, verbose=0)
    assert all(map(np.array_equal, before, model.decoder.get_weights()))


def test_what_reads_values_is_not_recorded():
    model = fitted(MODELS["mlp"], keras.optimizers.Nadam())[0]  # computes with NumPy
    assert model.train_function.refused
    assert not model.train_function.recordings
    assert int(model.optimizer.iterations) == 6


def test_weights_that_are_frozen_or_freed_are_seen():
    model = fitted(MODELS["mlp"])[0]
    first = model.train_function
    model.encoder.trainable = False
    before = model.encoder.get_weights()
    model.fit(X, batch_size=4, verbose=0)
    assert model.train_function is not first
    assert all(map(np.array_equal, before, model.encoder.get_weights()))


def test_many_steps_run_without_keras_between_them(monkeypatch):
    model = fitted(MODELS["mlp"])[0]
    calls, call = [], Recorded.__call__
    monkeypatch.setattr(Recorded, "__call__", lambda self, data: calls.append(self) or call(self, data))
    model.fit(X, batch_size=4, verbose=0)
    assert calls == [model.train_function] * 2  # for two full batches, and for the short one
    assert int(model.optimizer.iterations) == 6 + 3


def test_recorded_functions():
    """Each is called with new values: what is recorded must follow them, the rest is run by Python."""
    import torch

    weight, buffer = torch.nn.Parameter(torch.ones(2)), torch.zeros(2)
    generator = keras.random.SeedGenerator(1)

    def added(x):
        with torch.no_grad():
            weight.add_(x)
        return {"y": (weight * 2).sum() + torch.tensor(1.0)}

    def changed_buffer(x):
        return {"y": buffer.add_(x).clone()}

    def changed_constant(x):
        return {"y": torch.tensor([1.0, 1.0]).add_(x)}

    functions = {
        "changes a variable": (added, True),
        "draws": (lambda x: {"y": x + keras.random.uniform((2,), seed=generator)}, True),
        "splits": (lambda x: {"y": torch.stack(torch.split(x, 1)[::-1])}, True),
        "changes what is no variable": (changed_buffer, False),
        "changes a constant": (changed_constant, False),
        "branches": (lambda x: {"y": x if x.sum() > 3 else -x}, False),
        "compares": (lambda x: {"y": x * torch.equal(x, x)}, False),
        "leaves PyTorch": (lambda x: {"y": torch.as_tensor(np.cumsum(x.numpy()))}, False),
    }
    for name, (function, kept) in functions.items():
        weight.data.fill_(1.0), buffer.fill_(0.0), generator.state.assign([1, 0])
        step = Recorded(function, [])
        ours = [step(torch.full((2,), float(i)))["y"].detach().clone() for i in range(4)]
        weight.data.fill_(1.0), buffer.fill_(0.0), generator.state.assign([1, 0])
        theirs = [function(torch.full((2,), float(i)))["y"].detach().clone() for i in range(4)]
        assert all(map(torch.equal, ours, theirs)), name
        assert len(step.recordings) == kept, name
    sizes = Recorded(lambda x: {"y": x.sum()}, [])
    assert [float(sizes(torch.ones(n))["y"]) for n in range(1, MOST + 4)] == list(range(1, MOST + 4))
    assert len(sizes.recordings) == MOST
