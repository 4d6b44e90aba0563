"""How the time of training and evaluation grows with the data, the model and the machines.

Run it on an idle machine, from the repository's root:

    python benchmarks/growth.py [--rounds 2] [--short] [--only AXIS ...] [--out assets] [--again | --draw]

One table and one picture per quantity: the number of images (to a million, generated while they are read and never all
in memory), their size, the size of the code, the samples per image, the batch, the hidden layers, and the processes
that train together. A slope of 1 between two points of a log-log curve means that the time is proportional to the
quantity. `cluster` is a model on paper: bytes sent per step against seconds of arithmetic, which are measured, on 8 and
64 machines. Measured points are kept in `growth.json`. Two rounds of everything take about 20 minutes on two cores.
"""

import dataclasses
import json
import math
import os
import statistics
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from kvae import plots

import growth_report
import results as saved
import speed
import two_workers
from growth_report import EVALUATION, LIKELIHOOD, TRAINING
from peers import kvae_fit
from peers.common import Task
from results import columns
from speed_cases import BURDA, KVAE, KVAE_JAX, LOOP, SCAN, TENSORFLOW, shortened

HERE = Path(__file__).parent
FOUR, TWO = (KVAE, KVAE_JAX, SCAN, LOOP), (KVAE, KVAE_JAX)  # the peers neither stream nor evaluate


@dataclasses.dataclass(frozen=True)
class Axis:
    """A quantity with which the time grows.

    Attributes:
        title: str.
        label: axis label.
        training: dict from values to tasks, each with as many images as take about a second per epoch.
        evaluation: likewise; by default, `evaluate` on four times as many images.
        names: contestants of the training.
        unit: of the time.
        form: how the table shows times.
    """

    title: str
    label: str
    training: dict
    evaluation: dict | None = None
    names: tuple = FOUR
    unit: str = "µs per image"
    form: str = "{:,.1f}"

    def parts(self):
        """Dict from what is done to its tasks and contestants."""
        scoring = self.evaluation or {
            value: dataclasses.replace(task, what="evaluate", images=task.images * (1 if task.streamed else 4))
            for value, task in self.training.items()
        }
        kind = EVALUATION if self.evaluation is None else LIKELIHOOD
        return {TRAINING: (self.training, self.names), kind: (scoring, TWO)}


def _tasks(name, **images):
    """Tasks by the values of a field, from how many images each gets."""
    return {int(value[1:]): Task(**{name: int(value[1:]), "images": count}) for value, count in images.items()}


AXES = {
    "n": Axis(
        "Number of images, streamed",
        "images",
        {n: Task(images=n, streamed=True) for n in (1000, 10_000, 100_000, 1_000_000)},
        names=TWO,
        unit="seconds per epoch",
        form="{:,.3g}",
    ),
    "image": Axis(
        "Image size", "height and width in pixels", _tasks("side", _14=20_480, _28=12_800, _56=3840, _112=1280)
    ),
    "latent": Axis(
        "Latent size", "latent dimensions", _tasks("latent", _2=12_800, _20=12_800, _200=12_800, _2000=5120)
    ),
    "samples": Axis(
        "Samples",
        "posterior samples per image",
        _tasks("samples", _1=12_800, _5=5120, _20=1280, _50=640),
        {k: Task(what="likelihood", samples=k, images=6000, count=100, **BURDA) for k in (50, 500, 5000)},
    ),
    "batch": Axis("Batch size", "images per step", _tasks("batch", _32=8192, _128=16_384, _512=16_384, _2048=16_384)),
    "width": Axis(
        "Width of the layers",
        "units of the hidden layers",
        {n: Task(hidden=(n,), images=images) for n, images in ((100, 20_480), (400, 12_800), (1600, 3840))},
    ),
    "workers": Axis("Processes on this machine", "processes that train together", {1: None, 2: None, 4: None}),
}
TOGETHER = [Task(batch=batch, images=16_384) for batch in (128, 2048)]  # of all processes together
NETWORKS = {
    "MLP, 400 units": Task(images=12_800),
    "MLP, 1,600 units": Task(hidden=(1600,), images=3840),
    "MLP, 4 × 1,600 units": Task(hidden=(1600,) * 4, images=2560),
    "convolutions, 32 and 64 filters": Task(network="conv", hidden=(32, 64), images=5120),
}


def run(chosen, options, results, keep):
    """Measure what `results` does not contain yet; `keep()` saves it."""
    begin = time.perf_counter()

    def finished(key, record):
        results["records"][key] = record
        keep()
        print(f"{key}: done after {time.perf_counter() - begin:.0f} s", flush=True)

    def left(tasks):
        tasks = {key: task for key, task in tasks.items() if key not in results["records"]}
        return {key: shortened(task) if options.short else task for key, task in tasks.items()}

    for axis in chosen:
        if axis == "workers":
            tasks = [json.dumps(dataclasses.asdict(shortened(t) if options.short else t)) for t in TOGETHER]
            for count in AXES[axis].training:
                if f"{axis}={count}" not in results["records"]:
                    strategy = "multiworker" if count > 1 else "none"
                    command = ["-m", "peers.workers", strategy, str(options.rounds), *tasks]
                    first, *_ = two_workers.together(command, TENSORFLOW, strategy, count, HERE)
                    finished(f"{axis}={count}", {"rounds": first, "left_out": {}})
        elif axis == "cluster":
            tasks = left({f"{axis}={name}": task for name, task in NETWORKS.items()})
            if tasks:
                speed.measure(tasks, (KVAE,), options.rounds, finished)
        else:
            for kind, (tasks, names) in AXES[axis].parts().items():
                tasks = left({f"{axis}={value}, {kind}": task for value, task in tasks.items()})
                if tasks:
                    speed.measure(tasks, names, options.rounds, finished)


def networks(results):
    """Dict from the measured networks of the cluster to seconds per image and the number of trained weights."""
    found = {}
    for name, task in NETWORKS.items():
        rates = columns(results["records"].get(f"cluster={name}", {"rounds": []})).get(KVAE)
        if rates:
            weights = kvae_fit.compiled(task).trainable_variables
            found[name] = (1 / statistics.median(rates), sum(math.prod(weight.shape) for weight in weights))
    return found


def main():
    """Measure, print the tables and draw the pictures."""
    options = saved.arguments(__doc__, (*AXES, "cluster"), 2, "growth.json and the pictures")
    path = options.out / "growth.json"
    results = saved.opened(path, options)
    if not options.draw:
        run(options.only, options, results, lambda: saved.write_json(path, results))
    parts = saved.heading(results)
    for axis, about in AXES.items():
        if growth_report.curves(axis, results):
            parts.append(growth_report.table(axis, about, results))
            plots.save(growth_report.picture(axis, about, results), options.out / f"growth_{axis}.png")
    found = networks(results)
    if found:
        parts.append(growth_report.cluster_table(found))
        plots.save(growth_report.cluster_picture(found), options.out / "growth_cluster.png")
    print("\n\n".join(parts))


if __name__ == "__main__":
    main()
