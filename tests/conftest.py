"""Fixtures shared by several test files."""

import atexit
import functools
import gc
import os
import shutil
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as `import kvae` does where it comes before Keras
# With two threads each, two processes wait for each other's: PyTorch's contract takes 147 s, with one thread 75 s.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # compilation dominates the tests' run time there
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:  # compile a function once for all processes of a run
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="kvae-tests-")
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

import numpy as np
import pytest
from halves import half_of


def pytest_configure(config):
    """Prepare a process for tests: not the one that only hands them to others, which need not wait for its imports."""
    if hasattr(config, "workerinput") or not getattr(config.option, "numprocesses", None):
        if is_short(config):  # 5% less of a core; several workers, in the long tests, wait for each other in threads
            os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
        prepare()


def is_short(config):
    return "not long" in config.option.markexpr


def prepare():
    import cases  # noqa: F401 (and kvae, before the freeze)
    import keras
    from hypothesis import settings

    settings.register_profile("same examples in every run", derandomize=True, deadline=None, database=None)
    settings.load_profile("same examples in every run")
    if keras.backend.backend() == "tensorflow":  # tracing and optimising graphs takes longer than the short trainings
        import tensorflow as tf

        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    count_steps(keras.Model)

    # What TensorFlow and Keras have made at their import stays: the garbage collector need not look at it.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 10)


# The files that take longest, begun first: one begun last would leave the other process idle.
LONGEST = ["worksheet_notebooks", "reliability", "models", "strategy", "speed_benchmark", "docstrings"]
LONGEST += ["worksheet_grading", "paper_benchmarks", "cli", "likelihood", "doctor", "extremes", "gradients"]
LONGEST += ["applications", "adversaries", "extending", "stop_on_nan", "checkpoint", "optimizers", "callbacks"]
LONGEST = {f"test_{name}": place for place, name in enumerate(LONGEST)}

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: LONGEST.get(item.path.stem, len(LONGEST)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """With `--dist loadfile`: what one process runs is a file, or the tests of half of the models, which share fits."""
    from xdist.scheduler import LoadFileScheduling

    class HalvesOfModels(LoadFileScheduling):
        def _split_scope(self, nodeid):
            file, _, test = nodeid.partition("::")
            if not file.endswith("test_models.py"):
                return file
            return f"{file} {half_of(test.partition('[')[2].rstrip(']'))}"

    return HalvesOfModels(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    """Draw the same weights and noise in every run, so that a test which fails fails again."""
    import keras

    keras.utils.set_random_seed(0)


# Optimizer steps of all tests but the long ones. A test that wants more shares a trained model, or takes fewer steps.
MOST_STEPS = 5_000
steps_of = {"this process": 0}


def steps_taken(model):
    import keras

    if getattr(model, "optimizer", None) is None:
        return 0
    return int(keras.ops.convert_to_numpy(model.optimizer.iterations))  # which may be mirrored on several devices


def count_steps(cls):
    """Count the steps of `cls.fit`."""
    fit = cls.fit

    @functools.wraps(fit)
    def counted_fit(model, *args, **kwargs):
        before = steps_taken(model)
        history = fit(model, *args, **kwargs)
        steps_of["this process"] += steps_taken(model) - before
        return history

    cls.fit = counted_fit


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """Take the steps of one of several processes, unless it has crashed."""
    steps_of[node.gateway.id] = getattr(node, "workeroutput", {}).get("steps", 0)


def too_many_steps(config):
    return is_short(config) and sum(steps_of.values()) > MOST_STEPS


def pytest_sessionfinish(session):
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["steps"] = steps_of["this process"]
    elif too_many_steps(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter, config):
    taken = f"trained {sum(steps_of.values()):,} steps"
    terminalreporter.write_line(f"{taken}: more than MOST_STEPS in conftest.py" if too_many_steps(config) else taken)


@pytest.fixture(autouse=True)
def few_compiled_functions(request, _tests_so_far=[0]):  # noqa: B006
    """Clear JAX's caches regularly: a process crashes when it holds several thousand compiled functions."""
    yield
    import keras

    _tests_so_far[0] += 1
    if keras.backend.backend() == "jax" and _tests_so_far[0] % 20 == 0:
        import jax

        jax.clear_caches()


@pytest.fixture
def without_graphs():
    """Run what TensorFlow would trace, eagerly: for the few steps of a test, tracing takes longer than they do."""
    from cases import eagerly

    with eagerly():
        yield


@pytest.fixture
def small_pictures(monkeypatch):
    """Figures of a tenth of the pixels, which are written faster."""
    import kvae

    monkeypatch.setattr(kvae.plots.canvas, "DPI", 50)


@pytest.fixture(scope="session")
def digits():
    import kvae

    return kvae.load_data("digits")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def keras_home(tmp_path, monkeypatch):
    """A KERAS_HOME with MNIST for subprocesses, which does not write next to the shared file."""
    if not (SHARED_DATA / "datasets" / "mnist.npz").is_file():
        pytest.skip("MNIST is not there: ../shared/data/datasets/mnist.npz")
    (tmp_path / "keras" / "datasets").mkdir(parents=True)
    (tmp_path / "keras" / "datasets" / "mnist.npz").symlink_to(SHARED_DATA / "datasets" / "mnist.npz")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    return tmp_path / "keras"
