"""Run a notebook's code cells in this process: `python -m kvae.worksheet.run_notebook NOTEBOOK MEGABYTES`.

Progress is written, line by line, to the file named by `KVAE_REPORT`: `{"cell": 3}` at the start of a cell, its error
if it raises one, `{"done": true}` at the end; the checks write their verdicts there too. Not meant to be run by hand:
`kvae.worksheet.grading` starts it.
"""

import linecache
import re
import sys
from typing import Any

from kvae.types import PathLike
from kvae.worksheet import checking, notebooks
from kvae.worksheet.checking import exercises, find, report
from kvae.worksheet.messages import describe

RETURNED = re.compile(r"^(\w+) = .*\bcheck\(\s*[\"'](\d+\.\d+)[\"']", re.MULTILINE)
MAGIC = re.compile(r"^(\s*)[%!].*$", re.MULTILINE)


def main(path: PathLike, megabytes: int | str) -> None:
    """Run the notebook at `path`; a cell that raises does not stop the cells below."""
    limit_memory(int(megabytes) * 2**20)
    namespace: dict[str, Any] = {"__name__": "__main__", "display": lambda *args, **kwargs: None}
    notebook = notebooks.read(path)
    checks = _checks(notebook) | {"kvae": sys.modules["kvae"]}
    for number, source in notebook.cells:
        report(cell=number)
        try:
            run_cell(number, source, namespace)
        except (Exception, SystemExit) as error:
            report(cell=number, error=describe(error))
            # What the checks of this cell would have returned, so that the cells below can be judged.
            namespace.update({name: find(exercise).reference for name, exercise in RETURNED.findall(source)})
        now = _checks(notebook) | {"kvae": namespace.get("kvae", sys.modules["kvae"])}
        for name in (name for name, part in now.items() if checks.get(name) is not part):
            report(cell=number, replaced=name)
        checks = now
    report(done=True)


def _checks(notebook: notebooks.Notebook) -> dict[str, Any]:
    """What a verdict depends on, by name: a notebook that replaces one of these checks itself."""
    sheets = {int(name.split(".")[0]) for name in notebook.checks}
    own = {f"exercise {name}": each for sheet in sheets for name, each in exercises(sheet).items()}
    answers = {f"the answer to {name.split()[1]}": vars(each).get("reference") for name, each in own.items()}
    modules = {"kvae.worksheet": ("check",), "kvae.worksheet.checking": ("check", "judge", "find", "report")}
    modules |= {"kvae.worksheet.exercise": ("judge", "compare", "Exercise"), "json": ("dumps",)}
    modules |= {"numpy": ("allclose", "isclose", "array_equal")}
    parts = {
        f"{module}.{name}": getattr(sys.modules[module], name) for module, names in modules.items() for name in names
    }
    parts |= {
        f"Exercise.{name}": vars(checking.Exercise).get(name) for name in ("result", "numbers", "same", "outcome")
    }
    return parts | own | answers


def run_cell(number: int, source: str, namespace: dict[str, Any]) -> None:
    """Run the code of one cell; notebook commands (`%pip`, `!ls`) are skipped if it is not valid Python otherwise."""
    name = f"<cell {number}>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)  # for tracebacks and AutoGraph
    try:
        code = compile(source, name, "exec")
    except SyntaxError:
        code = compile(MAGIC.sub(r"\1pass", source), name, "exec")
    exec(code, namespace)


def limit_memory(size: int) -> None:
    """Limit the data of this process to `size` bytes; Unix only."""
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_DATA, (size, size))
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**30, 2**30))  # and the size of each file


if __name__ == "__main__":
    main(*sys.argv[1:])
