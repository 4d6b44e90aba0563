"""Every command answers every model: with what was asked for, or in one line."""

import numpy as np
import pytest
from cases import CASES

from kvae.cli.main import main

CODES = {"anomaly", "denoise", "inpaint", "super-resolve", "compress", "explore"}
WORK = {  # what must work for a model; the labelled one is told a label. The rest of the cases are like these.
    "autoencoder-sampled": CODES | {"evaluate", "plot", "generate"},
    "auxiliary": CODES | {"evaluate", "plot", "generate"},
    "energy-noise": {"evaluate", "plot", "generate", "anomaly"},
    "gan": {"evaluate", "doctor", "plot", "generate", "explore"},
    "vaegan": CODES | {"evaluate", "doctor", "plot", "generate"},
    "vqvae": {"evaluate", "doctor", "plot", "anomaly", "explore"},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory, digits):
    """The path of a few digits of three classes, as the labelled cases have."""
    path = tmp_path_factory.mktemp("data") / "three.npz"
    (train, test) = (np.flatnonzero(y < 3) for y in (digits.y_train, digits.y_test))
    arrays = {"x_train": digits.x_train[train[:30]], "y_train": digits.y_train[train[:30]]}
    np.savez(path, **arrays, x_test=digits.x_test[test[:12]], y_test=digits.y_test[test[:12]])
    return str(path)


@pytest.mark.parametrize(
    "name", [name if name == "energy-noise" else pytest.param(name, marks=pytest.mark.long) for name in WORK]
)
def test_every_command_works_or_says_why_not(name, data, tmp_path, monkeypatch, capsys, small_pictures):
    monkeypatch.chdir(tmp_path)
    CASES[name].build().save("model.keras")
    few = ["--dataset", data, "--num-samples", "2"]
    asked = {
        "evaluate": ["evaluate", "model.keras", *few],
        "doctor": ["evaluate", "model.keras", *few, "--doctor"],
        "generate": ["generate", "model.keras", *(["--label", "1"] if name == "auxiliary" else []), "--count", "2"],
        "plot": ["plot", "model.keras", "--dataset", data],
        "explore": ["explore", "model.keras", "--dataset", data],
    }
    for task in CODES - {"explore"}:
        asked[task] = ["apply", task, "model.keras", "--dataset", data, "--count", "3"]
    worked = set()
    for word, arguments in asked.items():
        code = main(arguments)
        shown = capsys.readouterr()
        if code == 0:
            worked.add(word)
        else:
            (line,) = shown.err.splitlines()
            assert line.startswith(f"kvae {arguments[0]}: `")
    assert worked == WORK[name]
