"""Rules of the package: import order, which parts may import a backend, and side effects of importing."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import fresh
import pytest

import kvae

PACKAGE = Path(kvae.__file__).parent
# From bottom to top: a module may import from its own line and from the lines before it.
LAYERS = [
    ["checks", "io", "settings", "training", "types"],
    ["distributions"],
    ["bounds", "corruption", "data", "flows", "layers", "networks", "outputs", "penalties", "priors", "quantization"],
    ["models", "objectives"],
    ["baselines", "energy", "evaluation"],
    ["applications", "sklearn"],
    ["ladder", "plots"],
    ["callbacks"],
    ["explorer", "worksheet"],
    ["cli"],
]
BACKENDS = {"tensorflow", "jax", "torch"}
# Where a module is not named like the distribution that it comes from.
DISTRIBUTIONS = {"PIL": "pillow", "google": "protobuf", "google_crc32c": "google-crc32c", "sklearn": "scikit-learn"}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{name.name}" for name in node.names)


def imports_at_once(path):
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


def part(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


MODULES = [path for path in sorted(PACKAGE.rglob("*.py")) if part(path) not in ("__init__", "__main__")]


def test_every_part_has_its_layer():
    assert {part(path) for path in MODULES} == {name for layer in LAYERS for name in layer}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_one_way(path):
    height = {name: i for i, layer in enumerate(LAYERS) for name in layer}
    for name in imports(path):
        root, *rest = name.split(".")
        if root == "kvae" and rest and rest[0] in height:
            assert height[rest[0]] <= height[part(path)], f"{path.name} imports {name}"
        assert root not in BACKENDS or part(path) in ("data", "training"), f"{path.name} imports {name}"
        assert not name.startswith("matplotlib.pyplot"), f"{path.name} imports pyplot"


def declared(*groups):
    return {re.match(r"[\w-]+", each)[0].lower() for group in groups for each in group}


@pytest.mark.long
def test_every_imported_package_is_declared():
    """What a module needs to be imported is a dependency; what a function imports may come with an extra for users."""
    tomllib = pytest.importorskip("tomllib")  # Python 3.11
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    core, users = project["dependencies"], [extras[name] for name in ("jax", "torch", "tensorboard", "worksheets")]

    def needed(names):
        roots = {name.split(".")[0] for name in names} - {"kvae", *sys.stdlib_module_names}
        return {DISTRIBUTIONS.get(root, root).lower() for root in roots}

    everywhere = needed(name for path in PACKAGE.rglob("*.py") for name in imports(path))
    always = (path for path in PACKAGE.rglob("*.py") if path.name != "recorded.py")  # imported on PyTorch alone
    at_once = needed(name for path in always for name in imports_at_once(path))
    assert {"keras", "scipy", "wrapt"} <= at_once < everywhere
    assert at_once <= declared(core)
    assert everywhere <= declared(core, *users)


def test_files_stay_short():
    lengths = {path: len(path.read_text().splitlines()) for path in MODULES}
    # The modules wNN of the worksheets contain tables of wrong answers.
    most = {path: 420 if re.fullmatch(r"w\d\d", path.stem) else 330 for path in MODULES}
    assert not {path.name: lengths[path] for path in MODULES if lengths[path] > most[path]}


def test_importing_kvae_registers_the_models_and_loads_little_else():
    registered, *loaded = fresh.python(
        "import sys, keras; before = set(sys.modules); import kvae\n"
        "models = {'kvae>VAE', 'kvae>CVAE', 'kvae>Autoencoder'}\n"
        "print(models <= set(keras.saving.get_custom_objects()), *set(sys.modules) - before)"
    ).stdout.split()
    assert registered == "True"
    assert all(name.split(".")[0] == "kvae" for name in loaded)
    assert not {"kvae.plots", "kvae.callbacks", "kvae.baselines"} & set(loaded)


@pytest.mark.parametrize("module", ["kvae.bounds", "kvae.training.keras_internals"])
def test_a_module_that_the_models_need_may_be_imported_first(module):
    code = f"import {module}, sys; print('kvae>VAE' in sys.modules['keras'].saving.get_custom_objects())"
    assert fresh.python(code).stdout.split() == ["True"]


def test_the_commands_help_needs_no_keras():
    code = (
        "import sys; from kvae.cli.main import main\n"
        "code = main(['--help']); print('END', code, 'keras' in sys.modules, 'numpy' in sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert loaded[loaded.index("END") :] == ["END", "0", "False", "False"]


def test_public_names_are_there():
    for name in kvae.__all__:
        assert getattr(kvae, name) is not None
        assert name in dir(kvae)
    with pytest.raises(AttributeError, match="no attribute 'vae'"):
        kvae.vae  # noqa: B018
