"""After a first `fit` that fails, the same model trains: no state is left behind, and its weights are still there."""

import numpy as np
import pytest

import kvae

X = np.random.default_rng(0).random((32, 8, 8, 1), dtype="float32")


class Fails(kvae.VAE):
    """Fails while the first step is traced, as any error in a user's own method does."""

    failing = True

    def inference(self, x, condition=(), training=False):
        if self.failing:
            raise RuntimeError("a mistake in a method")
        return super().inference(x, condition, training)


@pytest.mark.parametrize("route", ["fit", "train_on_batch"])
def test_a_model_trains_after_a_failed_first_step(route):
    model = Fails(*kvae.networks.mlp((8, 8, 1), 2, hidden=(8,)), seed=0)
    model.compile()
    train = (lambda: model.fit(X, epochs=1, verbose=0)) if route == "fit" else (lambda: model.train_on_batch(X))
    before = model.get_weights()
    with pytest.raises(RuntimeError, match="a mistake"):
        train()
    for value, after in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(after, value)
    model.failing = False
    train()
    train()
    assert int(model.optimizer.iterations) == 2
    assert not np.array_equal(model.encoder.get_weights()[0], before[0])
