"""At most eight minutes on a machine with a GPU and JAX or PyTorch, without a network.

    python benchmarks/gpu.py --backend jax --wheels > wheels.txt    # where there is a network
    pip download -r wheels.txt -d wheels
    pip install --no-index --find-links wheels -r wheels.txt        # where there is a GPU
    python benchmarks/gpu.py --backend jax --minutes 8

Each part runs in a process of its own for at most its share of the time, and one that fails or is stopped does not stop
the others:

- contract: the tests that every model passes on every backend, with exact float32 products;
- speed: kvae, stock Keras and a hand-written loop on this backend, as in `speed.py`;
- bfloat16: mixed precision beside float32;
- burda: the row `--row` of Burda et al. 2016, with the paper's batches of 20 and its schedule, scaled to the time left.

Results are written to `gpu.json` and `gpu.md` as they come, what a part prints to `PART.log`. MNIST is read from
KERAS_HOME; without it, its digits in kvae are used. Without a GPU, everything runs on the CPU; `--short` tries it.
"""

import argparse
import contextlib
import importlib.metadata
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # several processes share the memory of the GPU
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")

import results as saved
from gpu_parts import PEERS, update

HERE = Path(__file__).resolve().parent
SHARES = {"contract": 0.25, "speed": 0.3, "bfloat16": 0.15, "burda": 0.3}
ENDING = 5  # seconds of `--minutes` for the last table
FOUND = {  # prints the GPU of a backend, or an empty line
    "jax": "import jax; d = jax.devices()[0]; print(d.device_kind if d.platform != 'cpu' else '')",
    "torch": "import torch; print(torch.cuda.get_device_name(0) if torch.cuda.is_available() else '')",
}


def wheels(backend):
    """The packages to bring, as lines of a requirements file. Without TensorFlow, tests that need it are told apart."""
    try:
        requirements = importlib.metadata.requires("kvae-workshop")
    except importlib.metadata.PackageNotFoundError:
        sys.exit("kvae must be installed for the list of what it needs: pip install -e .")
    needed = [line for line in requirements if "extra ==" not in line and not line.startswith("tensorflow")]
    wanted = rf"(hypothesis|pandas|pytest|pytest-xdist|{backend})[<>=]"
    others = [line.partition(";")[0] for line in requirements if re.match(wanted, line)]
    return [line.replace("jax", "jax[cuda12]") for line in (*needed, *others)]


def limit(part, parts, total, left):
    """Seconds that `part` may take: its share of the `total` among `parts`; the last may take all that is left."""
    share = SHARES[part] / sum(SHARES[each] for each in parts)
    return left if part == parts[-1] else min(left, total * share)


def table(content):
    """All that was measured so far, in Markdown."""
    about = ", ".join(f"{key} {value}" for key, value in content["machine"].items())
    where = content["gpu"] or "no GPU: the CPU"
    rows = []
    for part, found in content["parts"].items():
        rows.append((part, found["state"], f"{found.get('seconds', 0):.0f} s"))
        rows += [(part, *row) for row in found["rows"]]
    head = f"{where}; {content['backend']}; {about}."
    notes = [saved.SHORT_NOTE] if content["short"] else []
    cells = [[str(cell).replace("|", "\\|") for cell in row] for row in rows]
    return "\n\n".join([head, *notes, saved.markdown(("part", "what", "measured"), cells)]) + "\n"


def run(part, seconds, options, path):
    """Run a part in a process of its own, and write down how it ended."""
    log, begin, state = options.out / f"{part}.log", time.monotonic(), "interrupted"
    given = {**vars(options), "out": str(options.out), "part": part, "seconds": seconds}
    command = [sys.executable, str(HERE / "gpu_parts.py"), json.dumps(given)]
    roots = os.pathsep.join([str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "KERAS_BACKEND": options.backend, "PYTHONPATH": roots}
    process = None
    try:
        update(path, part, state="running", rows=[])
        with log.open("w") as output:
            together = {"stdout": output, "stderr": subprocess.STDOUT, "start_new_session": True}
            process = subprocess.Popen(command, env=environment, **together)
        code = process.wait(seconds)
        state = "done" if code == 0 else f"failed with code {code}: {saved.last_line(log.read_text())}"
    except subprocess.TimeoutExpired:
        state = f"stopped after {seconds:.0f} s"
    finally:
        with contextlib.suppress(ProcessLookupError):
            if process:
                os.killpg(process.pid, signal.SIGKILL)  # with the processes that it started
        content = update(path, part, state=state, seconds=time.monotonic() - begin)
        path.with_suffix(".md").write_text(table(content))
    print(f"{part}: {state}", flush=True)


def main():
    """Run the parts, print the table, and return 1 if something failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    installed = "jax" if importlib.util.find_spec("jax") else "torch"
    parser.add_argument("--backend", choices=list(PEERS), default=installed)
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--only", nargs="+", choices=list(SHARES), default=list(SHARES), metavar="PART")
    rows = [f"{layers}-{bound}-{k}" for layers in (1, 2) for bound in ("vae", "iwae") for k in (1, 5, 50)]
    parser.add_argument("--row", choices=rows, default="1-iwae-50", metavar="ROW", help="such as 2-vae-5")
    parser.add_argument("--short", action="store_true", help="tiny sizes, to check that it works")
    parser.add_argument("--wheels", action="store_true", help="print the requirements to bring, and end")
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"))
    options, begin = parser.parse_args(), time.monotonic()
    options.out = options.out.resolve()
    path = options.out / "gpu.json"
    if options.wheels:
        print("\n".join(wheels(options.backend)))
        return 0
    looked = subprocess.run([sys.executable, "-c", FOUND[options.backend]], capture_output=True, text=True)
    if looked.returncode:
        sys.exit(f"{options.backend} must be installed. Received: {saved.last_line(looked.stderr)}")
    options.gpu = saved.last_line(looked.stdout)
    if not options.gpu:
        print(f"{options.backend} sees no GPU: everything runs on the CPU.", flush=True)
    about = {"machine": saved.machine(), "backend": options.backend, "gpu": options.gpu, "short": options.short}
    saved.write_json(path, {**about, "parts": {}})
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    for part in options.only:
        left = 60 * options.minutes - (time.monotonic() - begin) - ENDING
        run(part, max(1, limit(part, options.only, 60 * options.minutes, left)), options, path)
    content = json.loads(path.read_text())
    print(table(content))
    parts = content["parts"].values()
    return int(any(found["state"].startswith("failed") or found.get("failed") for found in parts))


if __name__ == "__main__":
    sys.exit(main())
