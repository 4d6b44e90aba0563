"""Python in a process of its own: a server imports Keras once and forks for each, which saves seconds every time."""

import atexit
import functools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import kvae

# For each line it forks a process, which forks the one that was asked for, and writes down how this one has ended.
SERVER = """
import gc, json, os, signal, sys
import keras
gc.collect(), gc.freeze()  # the garbage collector of a child need not look at, and so copy, what Keras has made
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for line in sys.stdin:
    if os.fork() == 0:
        break
else:
    sys.exit()
signal.signal(signal.SIGCHLD, signal.SIG_DFL)
job = json.loads(line)
child = os.fork()
if child:
    print(child, flush=True)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with open(job["ended"] + ".part", "w") as file:
        file.write(str(code))
    os.replace(job["ended"] + ".part", job["ended"])
    os._exit(0)
os.environ.clear()
os.environ.update(job["environment"])
os.chdir(job["cwd"])
for descriptor, path in enumerate([os.devnull, job["out"], job["err"]]):
    os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND), descriptor)
sys.argv = ["-c", *job["arguments"]]
exec(compile(job["code"], "<string>", "exec"), {"__name__": "__main__"})
"""
# For `Process`: the file `sys.argv[1]` as a script with the arguments that follow.
SCRIPT = """import os, runpy, sys
del sys.argv[0]
sys.path.insert(0, os.path.dirname(sys.argv[0]))
runpy.run_path(sys.argv[0], run_name="__main__")
"""
KVAE = "import sys; sys.argv[0] = 'kvae'; from kvae.cli.main import main; sys.exit(main())"
_asking = threading.Lock()


@functools.cache
def server():
    """Start the process that has imported Keras, and nothing of kvae."""
    paths = [str(Path(kvae.__file__).parents[1]), os.environ.get("PYTHONPATH")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    started = subprocess.Popen([sys.executable, "-c", SERVER], env=environment, **pipes)
    atexit.register(started.communicate)  # it ends at the end of its input
    return started


class Process:
    """`python -c code arguments`, with the methods of `subprocess.Popen` that tests use.

    Args:
        code: str, which finds Keras imported and imports everything else itself.
        *arguments: its `sys.argv[1:]`.
        cwd: its working folder.
        **environment: variables in addition to those of this process; Keras has been imported without them.
    """

    def __init__(self, code, *arguments, cwd=".", **environment):
        self.folder, self.returncode, self.printed = tempfile.TemporaryDirectory(), None, None
        self.out, self.err, self.ended = (Path(self.folder.name, name) for name in ("out", "err", "ended"))
        job = {"code": code, "arguments": list(map(str, arguments)), "cwd": str(cwd)}
        job |= {name: str(getattr(self, name)) for name in ("out", "err", "ended")}
        with _asking:
            print(json.dumps({**job, "environment": {**os.environ, **environment}}), file=server().stdin, flush=True)
            answer = server().stdout.readline()
        assert answer, "the server has ended"
        self.pid = int(answer)

    def poll(self):
        """Its exit code, or `None` while it runs."""
        if self.returncode is None and self.ended.is_file():
            self.returncode = int(self.ended.read_text())
        return self.returncode

    def communicate(self, timeout=None):
        """Wait for its end, and return what it has printed and its errors."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.poll() is None:
            if deadline is not None and time.monotonic() >= deadline:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
            time.sleep(0.005)
        if self.printed is None:
            self.printed = self.out.read_text(), self.err.read_text()
            self.folder.cleanup()
        return self.printed

    def send_signal(self, number):
        """Send it a signal, if it runs."""
        if self.poll() is None:
            os.kill(self.pid, number)


def python(code, *arguments, check=True, **options):
    """Run `python -c code arguments` to its end.

    Args:
        code: as in `Process`.
        *arguments: as in `Process`.
        check: whether it must end with code 0.
        **options: `cwd` and environment variables, as in `Process`.

    Returns:
        a `subprocess.CompletedProcess` with `returncode`, `stdout` and `stderr`.
    """
    process = Process(code, *arguments, **options)
    out, err = process.communicate()
    assert not check or process.returncode == 0, err
    return subprocess.CompletedProcess(["-c", *arguments], process.returncode, out, err)
