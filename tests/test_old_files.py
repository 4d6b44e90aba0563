"""Models saved by earlier releases load on every backend and reproduce their outputs."""

import keras
import numpy as np
import pytest
from saved import make

import kvae

FOLDERS = sorted(path.parent for path in make.SAVED.glob("*/*/values.npz"))
FILES = [path for folder in FOLDERS for path in sorted(folder.glob("*.keras"))]


def test_this_release_has_saved_its_models():
    saved = {folder.relative_to(make.SAVED).parts for folder in FOLDERS}
    assert {(kvae.__version__, backend) for backend in ("tensorflow", "jax", "torch")} <= saved, (
        "a new release saves its models: tests/saved/make.py, with each KERAS_BACKEND"
    )
    latest = [path for path in FILES if path.parts[-3] == kvae.__version__]
    assert {path.stem for path in latest} == set(make.MODELS)
    assert max(path.stat().st_size for path in FILES) < 50_000
    assert sum(path.stat().st_size for path in latest) < 600_000


@pytest.mark.long
@pytest.mark.parametrize("path", FILES, ids=lambda path: "-".join(path.relative_to(make.SAVED).with_suffix("").parts))
def test_values(path):
    model = kvae.load_model(path)
    with np.load(path.with_name("values.npz")) as table:
        expected = {key.split()[1]: table[key] for key in table.files if key.split()[0] == path.stem}
    assert {"encode", "decode"} <= set(expected)
    if path.parent.name != keras.backend.backend():  # noise of a different backend
        expected.pop("elbo", None)
    found = make.values(model)
    for key, value in expected.items():
        assert np.ptp(value) > 0.01  # values that do not differ between models would prove nothing
        np.testing.assert_allclose(found[key], value, rtol=1e-5, atol=1e-5, err_msg=f"{path} {key}")
    if path.stem in make.TRAINED:
        assert int(model.optimizer.iterations.value) == 2
