"""Python in a process of its own: a server imports Keras once and forks for each, which saves seconds every time."""

import atexit
import functools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import kvae

SERVER = """
import gc, json, os, sys
import keras
gc.collect(), gc.freeze()  # the garbage collector of a child need not look at, and so copy, what Keras has made
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        break
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
else:
    sys.exit()
job = json.loads(line)
os.environ.clear()
os.environ.update(job["environment"])
os.chdir(job["cwd"])
for descriptor, path in enumerate([os.devnull, job["out"], job["err"]]):
    os.dup2(os.open(path, os.O_RDWR | os.O_CREAT), descriptor)
sys.argv = ["-c", *job["arguments"]]
exec(compile(job["code"], "<string>", "exec"), {"__name__": "__main__"})
"""


@functools.cache
def server():
    """Start the process that has imported Keras, and nothing of kvae."""
    paths = [str(Path(kvae.__file__).parents[1]), os.environ.get("PYTHONPATH")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    started = subprocess.Popen([sys.executable, "-c", SERVER], env=environment, **pipes)
    atexit.register(started.communicate)  # it ends at the end of its input
    return started


def python(code, *arguments, cwd=".", check=True, **environment):
    """Run `python -c code arguments`.

    Args:
        code: str, which finds Keras imported and imports everything else itself.
        *arguments: its `sys.argv[1:]`.
        cwd: its working folder.
        check: whether it must end with code 0.
        **environment: variables in addition to those of this process; Keras has been imported without them.

    Returns:
        a `subprocess.CompletedProcess` with `returncode`, `stdout` and `stderr`.
    """
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        job = {"code": code, "arguments": list(map(str, arguments)), "cwd": str(cwd), "out": str(out), "err": str(err)}
        print(json.dumps({**job, "environment": {**os.environ, **environment}}), file=server().stdin, flush=True)
        answer = server().stdout.readline()
        assert answer, "the server has ended"
        done = subprocess.CompletedProcess(["-c", *arguments], int(answer), out.read_text(), err.read_text())
    assert not check or done.returncode == 0, done.stderr
    return done
