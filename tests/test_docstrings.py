"""The examples in kvae's docstrings: every `>>>` line and every fenced block of Python, run as they stand."""

import ast
import doctest
import functools
import inspect
import re
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

import kvae
from kvae.models.base import BaseModel

PACKAGE = Path(kvae.__file__).parent
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
BLOCK = re.compile(r"^ *```python\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
EPOCHS = re.compile(r"epochs=\d+")
SKIPPED = {
    "data/streaming.py stream": "needs a folder of photos",
    "ladder.py climb": "trains five models, as tests/test_ladder.py does",
    "plots/ladder.py ladder": "trains five models, as tests/test_ladder.py does",
}


# What an example may use without defining it, as the docstring of kvae says. Made when an example first asks for it.


@functools.cache
def data():
    digits = kvae.load_data("digits")
    train, test = slice(128), slice(32)
    return kvae.data.Dataset(
        digits.x_train[train], digits.y_train[train], digits.x_test[test], digits.y_test[test], 10, "digits"
    )


def networks(**kwargs):
    return kvae.networks.mlp((8, 8, 1), latent_dim=2, hidden=(32,), **kwargs)


@functools.cache
def pair():
    """Networks for the models that examples build, which may train them further."""
    return networks()


def trained(model, *labels):
    model.compile(optimizer=keras.optimizers.Adam(1e-2), run_eagerly=False)  # once, for many examples
    model.fit(data().x_train, *labels, epochs=1, verbose=0)
    return model


@functools.cache
def semisupervised():
    judge = kvae.networks.classifier((8, 8, 1), num_classes=10, hidden=(8,))
    model = kvae.SemiSupervisedVAE(*networks(num_classes=10), judge, num_classes=10)
    return trained(model, kvae.data.few_labels(data().y_train, per_class=5))


NAMES = {
    "np": lambda: np,
    "keras": lambda: keras,
    "ops": lambda: ops,
    "kvae": lambda: kvae,
    "data": data,
    "x": lambda: data().x_test,
    "encoder": lambda: pair()[0],
    "decoder": lambda: pair()[1],
    "model": functools.cache(lambda: trained(kvae.VAE(*networks(), seed=0))),
    "cvae": functools.cache(lambda: trained(kvae.CVAE(*networks(num_classes=10), num_classes=10), data().y_train)),
    "semisupervised": lambda: semisupervised(),
    "pca": functools.cache(lambda: kvae.baselines.PCA(latent_dim=2).fit(data().x_train)),
}


def within(node):
    """A module or class, and all classes and functions in it, except those inside a function."""
    yield node
    for inner in [] if isinstance(node, ast.FunctionDef) else node.body:
        if isinstance(inner, ast.ClassDef | ast.FunctionDef):
            yield from within(inner)


def documented():
    """Name, file, first line and source of each docstring with examples."""
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if ">>>" not in text and "```python" not in text:
            continue
        lines = text.splitlines(keepends=True)
        for node in within(ast.parse(text)):
            if ast.get_docstring(node):
                first, last = node.body[0].lineno, node.body[0].end_lineno
                source = "".join(lines[first - 1 : last])
                if ">>>" in source or BLOCK.search(source):
                    where = path.relative_to(PACKAGE).as_posix()
                    name = f"{where} {getattr(node, 'name', '')}".strip()
                    yield pytest.param(name, path, first, source, id=f"{name.replace(' ', ':')}:{first}")


def names_in(source):
    """The names above that a docstring's examples use."""
    return {name: make() for name, make in NAMES.items() if re.search(rf"\b{name}\b", source)}


@pytest.fixture(autouse=True)
def quiet_and_in_a_folder(tmp_path, monkeypatch, small_pictures):
    """Examples may write files, and `fit` prints no progress that would be taken for an example's output."""
    monkeypatch.chdir(tmp_path)
    keras.utils.set_random_seed(0)
    keras.config.disable_interactive_logging()
    yield
    keras.config.enable_interactive_logging()


@pytest.mark.long
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="once is enough: on TensorFlow")
@pytest.mark.filterwarnings("ignore:(Diagnosis|KLWarmup|CapacityWarmup)")  # one epoch is little
@pytest.mark.parametrize(("name", "path", "line", "source"), documented())
def test_examples(name, path, line, source, monkeypatch):
    if name in SKIPPED:
        pytest.skip(SKIPPED[name])
    monkeypatch.setattr(BaseModel, "compile", functools.partialmethod(BaseModel.compile, run_eagerly=True))
    source = EPOCHS.sub("epochs=2" if "Film" in source else "epochs=1", source)
    if BLOCK.search(source):  # these train: few steps on few images take less time than a graph
        few = data()
        monkeypatch.setattr(kvae, "load_data", lambda name: few)
    code = "\n".join([*BLOCK.findall(source), *re.findall(r"^ *(?:>>>|\.\.\.)(.*)", source, re.MULTILINE)])
    names = names_in(code)
    for block in BLOCK.finditer(source):
        above = "\n" * (line - 1 + source.count("\n", 0, block.start(1)))  # for the line numbers of tracebacks
        exec(compile(above + inspect.cleandoc("\n" + block[1]), path, "exec"), dict(names))
    examples = doctest.DocTestParser().get_doctest(source.replace('"""', "   "), names, name, str(path), line - 1)
    report = []
    doctest.DocTestRunner(verbose=False, optionflags=FLAGS).run(examples, out=report.append)
    assert not report, "".join(report)


def test_skipped_examples_are_there():
    assert set(SKIPPED) <= {parameter.values[0] for parameter in documented()}
