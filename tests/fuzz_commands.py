"""Random command lines for `kvae`, with the paths of the seeds that `fuzz_files.py` writes to the working folder."""

import shlex

# `notes` is a file: as a run folder it is rejected before training. `small` is a run of about a second.
LINES = """
train --dataset digits --model vae --out notes/run
train --config config-0.json --out notes/run --epochs 3
train --model autoencoder --noise 0.5 --hidden 8 4 --out notes/run
train --dataset npz-1.npz --likelihood gaussian --sigma learned --prior mixture --out notes/run
train --bound renyi --alpha=-inf --num-samples 3 --gradient score_function --binarization static --out notes/run
train --model hierarchical --network ladder --latent-dims 3 2 --hidden 4 4 --out notes/run
train --dataset absent.npz --epochs 1 --hidden 4 --out run
demo --seed 3 --out notes/demo
ladder --dataset npz-0.npz --latent-dim 3 --out notes/ladder
ladder --dataset npz-9.npz --epochs 1 --batch-size 4
generate {model} --label 2 --count 3 --seed 1 --out out/x.npz
generate {model} --count 2 --out out/x.png
evaluate {model} --dataset npz-0.npz --num-samples 2
evaluate {model} --dataset npz-0.npz --doctor --out numbers.json
plot {model} --kind samples --dataset digits --out out
plot {model} --kind history manifold --dataset npz-0.npz
apply {task} {model} --dataset npz-0.npz --count 2 --out out/x.png
apply {task} {model} --count 1 --method gibbs --sigma 0.3 --factor 2
report run {input} --out out/x.html
compare run notes
data npz-0.npz
data {input}
evaluate {model} --dataset {input}
data digits --out out/x.png
data
workshop list
workshop copy 6 out
workshop copy 99 out --force
workshop zip 6 --out notes/course.zip
workshop check notes --seconds 1
workshop check absent.ipynb
workshop grade empty --out grades.csv --jobs 2
--help
train --help
""".strip().splitlines()
SMALL = "train --dataset npz-0.npz --model {kind} --hidden 4 --epochs 1 --batch-size 12 --out run-{number} --force"
# Mostly the tasks that do not take several seconds.
TASKS = (*["anomaly", "compress", "guess"] * 5, "denoise", "inpaint", "super-resolve")
MODELS = (
    *["keras-0.keras", "keras-3.keras", "keras-8.keras", "run/model.keras"] * 3, "keras-9.keras", "absent.keras",
    "notes", "npz-0.npz", ".",
)  # fmt: skip
INPUTS = (
    "npy-0.npy",
    "npy-1.npy",
    "raw.tfrecord",
    "image-0.png",
    "idx-0.gz",
    "classes",
    "checkpoint-0.npz",
    "/dev/zero",
)
WORDS = (
    "", "-1", "0", "1", "2", "7", "1e9", "nan", "inf", "-inf", "9" * 30, "x", "é", "\ud800", "--", "-",
    "--out", "--label", "--seed", "--help", "--count", "--dataset", "--model", "cvae", "vae", "digits",
    "mnits", "notes", ".", "..", "/dev/null", "a\0b", "x" * 300, "--epochs", "--debugx", "=", "config-0.json",
    "npz-3.npz", "npz-2.npz", "history-0.csv", "npy-0.npy", "image-0.png", "raw.tfrecord", "idx-0.gz", "classes",
)  # fmt: skip


def random_line(rng):
    """Generate a list of arguments: a line of `LINES`, usually with a word removed, added or replaced."""
    if rng.random() < 0.005:
        return SMALL.format(kind=rng.choice(("vae", "autoencoder", "cvae")), number=rng.randrange(3)).split()
    line = rng.choice(LINES).format(model=rng.choice(MODELS), task=rng.choice(TASKS), input=rng.choice(INPUTS))
    arguments = shlex.split(line)
    trains = arguments[0] in ("train", "demo", "ladder")
    for _ in range(rng.choice((0, 0, 1, 1, 2, 3))):
        at = rng.randrange(len(arguments) + 1)
        change = rng.randrange(4)
        if change == 0:
            arguments.insert(at, rng.choice(WORDS))
        elif change == 1:
            arguments[at : at + 1] = [rng.choice(WORDS)]
        elif change == 2:
            del arguments[at : at + 1]
        elif arguments:
            arguments.insert(at, rng.choice(arguments))
    if arguments[:1] and arguments[0] in ("train", "demo", "ladder"):
        trains = True
    if trains:
        arguments += ["--out", "notes/run"]  # the last occurrence wins: nothing is trained, whatever precedes it
    return arguments
