"""Every route into a model checks shapes and values in the same way; on each backend, at least one fault of a kind."""

import keras
import numpy as np
import pandas
import pytest
from cases import parameters

import kvae

X = np.random.default_rng(0).random((6, 8, 8, 1)).astype("float32")
Y = np.array([0, 1, 2, 0, 1, 2])
WEIGHTS = np.array([0.0, 1, 2, 3, 1, 1], "float32")


@pytest.fixture(scope="module")
def cvae():
    keras.utils.set_random_seed(0)
    model = kvae.CVAE(
        *kvae.networks.mlp((8, 8, 1), 2, hidden=(8,), num_classes=3), num_classes=3, num_samples=64, seed=0
    )
    model.compile(optimizer=keras.optimizers.SGD(0.0))
    return model


# Routes: a function `route(model, x, y, sample_weight)` each, with `y` or `sample_weight` None where they are missing.


def packed(*parts):
    x, y, sample_weight = parts
    return (x, y, sample_weight) if sample_weight is not None else (x,) if y is None else (x, y)


def rows(batch, start, stop):
    return tuple(part[start:stop] for part in batch)


def lengths_differ(batch):
    return len({len(part) for part in batch}) > 1


def arrays(model, x, y, sample_weight):
    return model.fit(x, y, sample_weight=sample_weight, batch_size=3, verbose=0).history["loss"][0]


def frames(model, x, y, sample_weight):
    y = None if y is None else pandas.DataFrame(y, index=np.arange(len(y)) + 100)
    sample_weight = None if sample_weight is None else pandas.DataFrame(sample_weight)
    return arrays(model, x, y, sample_weight)


def dataset(model, x, y, sample_weight):
    import tensorflow as tf

    batch = packed(x, y, sample_weight)
    if lengths_differ(batch):
        return fit(model, tf.data.Dataset.from_tensors(batch))
    return fit(model, tf.data.Dataset.from_tensor_slices(batch).batch(3))


def dataset_of_unknown_shape(model, x, y, sample_weight):
    import tensorflow as tf

    batch = packed(x, y, sample_weight)
    signature = tuple(tf.TensorSpec(None, tf.as_dtype(part.dtype)) for part in batch)
    return fit(model, tf.data.Dataset.from_generator(lambda: halves(batch), output_signature=signature))


def py_dataset(model, x, y, sample_weight):
    batches = list(halves(packed(x, y, sample_weight)))

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return len(batches)

        def __getitem__(self, index):
            return batches[index]

    return fit(model, Batches())


def generator(model, x, y, sample_weight):
    return fit(model, halves(packed(x, y, sample_weight)))


def halves(batch):
    if lengths_differ(batch):
        yield batch
    else:
        yield rows(batch, 0, 3)
        yield rows(batch, 3, 6)


def data_loader(model, x, y, sample_weight):
    torch = pytest.importorskip("torch")
    batch = tuple(torch.as_tensor(part) for part in packed(x, y, sample_weight))
    if lengths_differ(batch):
        return fit(model, torch.utils.data.DataLoader([batch], batch_size=None))
    return fit(model, torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*batch), batch_size=3))


def fit(model, data):
    return model.fit(data, verbose=0).history["loss"][0]


def train_on_batch(model, x, y, sample_weight):
    return model.train_on_batch(x, y, sample_weight=sample_weight, return_dict=True)["loss"]


def test_on_batch(model, x, y, sample_weight):
    return model.test_on_batch(x, y, sample_weight=sample_weight, return_dict=True)["loss"]


test_on_batch.__test__ = False


def call(model, x, y, sample_weight):
    return model(x if y is None else (x, y))


FIT = [arrays, frames, dataset, dataset_of_unknown_shape, py_dataset, generator, data_loader]
ROUTES = [*FIT, train_on_batch, test_on_batch, call]


def with_nan(x):
    x = x.copy()
    x[4, 3, 3, 0] = np.nan
    return x


# Faults: what is given, and the error. Wrong values are in the second half, so in the second batch where there are two.
FAULTS = {
    "no channel": (
        (X[..., 0], Y, None),
        r"`x` must have shape \(n, 8, 8, 1\): add the channel axis with x\[..., None\]",
    ),
    "another size": ((np.zeros((6, 9, 9, 1), "float32"), Y, None), r"`x` must have shape \(n, 8, 8, 1\). Received"),
    "0..255": ((np.where(np.arange(6)[:, None, None, None] < 3, X, 255 * X), Y, None), r"\[0, 1\].*divide by 255"),
    "NaN": ((with_nan(X), Y, None), "`x` must be finite"),
    "no labels": ((X, None, None), r"labels"),
    "one-hot": ((X, np.eye(3, dtype="int64")[Y], None), r"`labels` must be one integer per example.*np.argmax"),
    "floats": ((X, Y + 0.5, None), r"`labels` must be integers"),
    "out of range": ((X, np.where(np.arange(6) < 3, Y, Y + 1), None), "`labels` must be in 0..2"),
    "NaN weight": ((X, Y, np.array([1, 1, 1, 1, np.nan, 1])), "`sample_weight` must be finite"),
    "two weights each": ((X, Y, np.ones((6, 2))), r"`sample_weight` must have one number per example.*\(.*, 2\)"),
    "other weights": ((X, Y, np.ones(5)), "`sample_weight` must have one entry per example: 6. Received: 5"),
    "other labels": ((X, Y[:5], None), "`labels` must have one entry per example: 6. Received: 5"),
}


ONE_OF_A_KIND = ("no channel", "NaN", "out of range", "NaN weight", "other labels")  # shape, values, labels, weights


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("fault", parameters(FAULTS, ONE_OF_A_KIND))
def test_a_fault_is_an_error_of_one_line(cvae, fault, route):
    (x, y, sample_weight), message = FAULTS[fault]
    if route is call and sample_weight is not None:
        pytest.skip("`model(x)` takes no weights")
    with pytest.raises(ValueError, match=message) as caught:
        route(cvae, x, y, sample_weight)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("route", [*FIT, train_on_batch, test_on_batch])
def test_a_column_of_weights_or_labels_is_a_vector(cvae, route):
    losses = np.concatenate([-cvae.elbo(X[[i]], Y[[i]], num_samples=1000, seed=0) for i in range(6)])
    loss = float(route(cvae, X, Y[:, None], WEIGHTS[:, None]))
    assert loss == pytest.approx(np.mean(WEIGHTS * losses), rel=0.01)  # the mean weight times the mean loss: 4% more


def test_a_table_of_one_column_needs_its_axis():
    model = kvae.VAE(*kvae.networks.mlp((1,), 1, hidden=(4,), likelihood="gaussian"), likelihood="gaussian")
    model.compile()
    column = np.linspace(-1, 1, 6, dtype="float32")
    for feed in (model.fit, model.train_on_batch, model, lambda x: model.fit(iter_once(x))):
        with pytest.raises(ValueError, match=r"`x` must have shape \(n, 1\): add the channel axis with x\[..., None\]"):
            feed(column)


def iter_once(x):
    yield (x,)


def test_class_weights_need_labels(cvae):
    vae = kvae.VAE(*kvae.networks.mlp((8, 8, 1), 2, hidden=(8,)))
    vae.compile()
    for feed in (vae.fit, vae.train_on_batch):
        with pytest.raises(ValueError, match=r"`class_weight` needs the labels.*Received: no labels"):
            feed(X, class_weight={0: 1.0, 1: 2.0})
    weighted = cvae.fit(X, Y, class_weight={0: 0.0, 1: 0.0, 2: 0.0}, verbose=0).history["loss"][0]
    assert weighted == 0
    assert vae.fit(X, Y, class_weight={0: 0.0, 1: 0.0, 2: 0.0}, verbose=0).history["loss"][0] == 0


def test_an_empty_generator(cvae):
    with pytest.raises(ValueError, match="at least one batch"):
        cvae.fit(batch for batch in ())
