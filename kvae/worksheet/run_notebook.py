"""Run a notebook's code cells in this process: `python -m kvae.worksheet.run_notebook NOTEBOOK MEGABYTES`.

What happens is told, line by line, to the file that `KVAE_REPORT` names: `{"cell": 3}` at a cell's start, an error if
it raises one, `{"done": true}` at the end; the checks write their verdicts there too. Not for use by hand:
`kvae.worksheet.grading` starts it.
"""

import linecache
import re
import sys

from kvae.worksheet import notebooks
from kvae.worksheet.checking import reference, report
from kvae.worksheet.exercise import describe

GIVEN_BACK = re.compile(r"^(\w+) = .*\bcheck\(\s*[\"'](\d+\.\d+)[\"']", re.MULTILINE)
MAGIC = re.compile(r"^(\s*)[%!].*$", re.MULTILINE)


def main(path, megabytes):
    """Run the notebook at `path`; a cell that raises does not stop the ones below."""
    limit_memory(int(megabytes) * 2**20)
    namespace = {"__name__": "__main__", "display": lambda *args, **kwargs: None}
    for number, source in notebooks.read(path).cells:
        report(cell=number)
        try:
            run_cell(number, source, namespace)
        except (Exception, SystemExit) as error:
            report(cell=number, error=describe(error))
            # What the cell's checks would have handed back, so that the cells below can be judged on their own.
            namespace.update({name: reference(exercise) for name, exercise in GIVEN_BACK.findall(source)})
    report(done=True)


def run_cell(number, source, namespace):
    """Run one cell's code; notebook commands (`%pip`, `!ls`) are left out where Python alone cannot read it."""
    name = f"<cell {number}>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)  # for tracebacks and AutoGraph
    try:
        code = compile(source, name, "exec")
    except SyntaxError:
        code = compile(MAGIC.sub(r"\1pass", source), name, "exec")
    exec(code, namespace)


def limit_memory(size):
    """Let no allocation take this process beyond `size` bytes of data; Unix only."""
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_DATA, (size, size))
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**30, 2**30))  # nor let it fill the disk


if __name__ == "__main__":
    main(*sys.argv[1:])
