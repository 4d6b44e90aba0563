"""The speed of kvae relative to other libraries: the same models on the same data, as ratios with their spread.

Run it on an idle machine, from the repository's root:

    python benchmarks/speed.py [--rounds 5] [--short] [--only CASE ...] [--out assets] [--again | --draw]

The contestants are in `benchmarks/peers/`; one whose package is missing is reported and skipped. Each has a process
that lives for all rounds of a case, compiles before the first, and runs only while the others wait: A B C, A B C, ...
Results are saved in `speed.json` and not measured again, so an interrupted run can be resumed; tables and a figure are
generated from that file. Five rounds of everything take about half an hour on two cores. How the times grow with the
sizes of a model and its data is measured by `growth.py`.
"""

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from kvae.training import onednn

import results as saved
import speed_report
from results import last_line
from speed_cases import CASES, CONTESTANTS, FRESH, STOCK_ONEDNN, left_out, shortened

HERE = Path(__file__).parent
PAUSE = 0.3  # seconds for the threads of the previous contestant to become idle


def environment(name):
    """The variables of a contestant's process: without what kvae sets here, so that others run as they are."""
    others = {key: value for key, value in os.environ.items() if key != onednn.VARIABLE}
    return {**others, onednn.VARIABLE: onednn.ON} if name == STOCK_ONEDNN else others


class Worker:
    """The process of a contestant, see `peers.common.serve`."""

    def __init__(self, name):
        module, backend, _ = CONTESTANTS[name]
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (open as long as the process runs)
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"peers.{module}", *([backend] if backend else [])],
            cwd=HERE,
            env=environment(name),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )

    def send(self, request):
        """Send a request."""
        with contextlib.suppress(BrokenPipeError):  # `receive` reports the reason
            print(json.dumps(request), file=self.process.stdin, flush=True)

    def receive(self):
        """Return the answer; raise a `RuntimeError` if it is an error or missing."""
        line = self.process.stdout.readline()
        reply = json.loads(line) if line else {"error": self._last_words()}
        if "error" in reply:
            raise RuntimeError(reply["error"])
        return reply

    def ask(self, request):
        """Send a request and return the answer."""
        self.send(request)
        return self.receive()

    def close(self):
        """End the process."""
        self.process.kill()
        self.process.communicate()

    def _last_words(self):
        code = self.process.wait()
        self.errors.seek(0)
        return f"ended with code {code}: {last_line(self.errors.read())}"


def measure(tasks, names, rounds, done):
    """Run contestants alternately on one task after another, in the same processes.

    Args:
        tasks: dict from names to tasks.
        names: the contestants.
        rounds: int.
        done: function called with the name and record of each finished task: `rounds`, a list of dicts from
            contestants to rates per second; `checks`; `left_out`, a dict from contestants to reasons.
    """
    missing = left_out(names)
    workers = {name: Worker(name) for name in names if name not in missing}
    try:
        for key, task in tasks.items():
            record = {"task": dataclasses.asdict(task), "rounds": [], "checks": {}, "left_out": dict(missing)}
            here = dict(workers)

            def attempt(name, function, *args, here=here, record=record):
                try:
                    return function(*args)
                except RuntimeError as error:
                    record["left_out"][name] = str(error)
                    del here[name]
                    print(f"  {name} is skipped: {error}", flush=True)
                    return None

            for worker in here.values():  # all compile at the same time, which is not timed
                worker.send({"task": record["task"]})
            for name, worker in workers.items():
                attempt(name, worker.receive)
            for _ in range(rounds):
                rates = {}
                for name in list(here):
                    time.sleep(PAUSE)
                    reply = attempt(name, here[name].ask, "run")
                    if reply:
                        rates[name] = reply["done"] / reply["seconds"]
                record["rounds"].append(rates)
            for name in list(here):
                reply = attempt(name, here[name].ask, "check")
                if reply:
                    record["checks"][name] = reply["check"]
            done(key, record)
    finally:
        for worker in workers.values():
            worker.close()


def measure_fresh(fresh, rounds):
    """A record as in `measure` for commands that terminate; its rounds contain seconds or megabytes."""
    record = {"rounds": [], "checks": {}, "left_out": {}}
    for _ in range(min(rounds, fresh.most_rounds) + fresh.warm_up):
        row = {}
        for name, (command, fields) in fresh.commands.items():
            if name in record["left_out"]:
                continue
            start = time.perf_counter()
            ended = subprocess.run(command, cwd=HERE, env=environment(name), capture_output=True, text=True)
            seconds = time.perf_counter() - start
            if ended.returncode:
                record["left_out"][name] = last_line(ended.stderr)
            elif fields is None:
                row[name] = seconds
            else:
                reply = json.loads(ended.stdout.splitlines()[-1])
                row.update({label: reply[field] for field, label in fields.items()})
        record["rounds"].append(row)
    del record["rounds"][: fresh.warm_up]
    return record


def run(chosen, rounds, short, results, keep):
    """Measure what `results` does not contain yet; `keep()` saves it."""
    begin = time.perf_counter()

    def finished(key, record):
        results["records"][key] = record
        keep()
        print(f"{key}: done after {time.perf_counter() - begin:.0f} s", flush=True)

    for name in chosen:
        if name in results["records"]:
            continue
        if name in CASES:
            task = shortened(CASES[name].task) if short else CASES[name].task
            measure({name: task}, CASES[name].contestants, rounds, finished)
        else:
            finished(name, measure_fresh(FRESH[name], rounds))


def main():
    """Measure, print the tables and draw the figure."""
    options = saved.arguments(__doc__, (*CASES, *FRESH), 5, "speed.json and the figure")
    path = options.out / "speed.json"
    results = saved.opened(path, options)
    if not options.draw:
        run(options.only, options.rounds, options.short, results, lambda: saved.write_json(path, results))
    print(speed_report.tables(results))
    speed_report.draw(results, options.out)


if __name__ == "__main__":
    main()
