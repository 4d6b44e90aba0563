"""Run a notebook's code cells in this process: `python -m kvae.worksheet.run_notebook NOTEBOOK MEGABYTES`.

Progress is written, line by line, to the file named by `KVAE_REPORT`: `{"cell": 3}` at the start of a cell, its error
if it raises one, `{"done": true}` at the end; the checks write their verdicts there too. Not meant to be run by hand:
`kvae.worksheet.grading` starts it.
"""

import ast
import linecache
import re
import sys
from typing import Any
from unittest.mock import MagicMock

from kvae.types import PathLike
from kvae.worksheet import checking, notebooks
from kvae.worksheet.checking import exercises, find, report
from kvae.worksheet.messages import describe

RETURNED = re.compile(r"^(\w+) = .*\bcheck\(\s*[\"'](\d+\.\d+)[\"']", re.MULTILINE)
# A notebook command, `!pip install x`, `%pip install x` or `files = !ls`, up to the end of its last line.
COMMAND = re.compile(r"^([ \t]*)((?:\w+ *= *)?)([%!](?:.*\\\n)*.*)$", re.MULTILINE)
OTHER_LANGUAGE = re.compile(r"\s*%%(?!capture|time|timeit|prun)\w+")  # the first line of a cell that is not Python
COLAB = "_google_colab"  # the variable that stands for Colab's modules


def main(path: PathLike, megabytes: int | str) -> None:
    """Run the notebook at `path`; a cell that raises does not stop the cells below."""
    limit_memory(int(megabytes) * 2**20)
    namespace: dict[str, Any] = {"__name__": "__main__", "display": lambda *args, **kwargs: None}
    namespace["get_ipython"] = MagicMock()
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
    """Run the code of one cell without what only works in a notebook, and report what was left out.

    These are commands (`%pip`, `!ls`) in a cell that is not valid Python otherwise, cells in another language, and what
    `google.colab` is imported for: an import that is not in a `try` gives an object on which every call does nothing.
    """
    name = f"<cell {number}>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)  # for tracebacks and AutoGraph
    skipped: list[str] = []

    def leave_out(command: re.Match[str]) -> str:
        skipped.append(command[3].split("\n")[0])
        return f"{command[1]}{command[2]}None" + "\n" * command[3].count("\n")

    if language := OTHER_LANGUAGE.match(source):
        report(cell=number, skipped=language[0].strip())
        return
    try:
        tree = ast.parse(source, name)
    except SyntaxError:
        tree = ast.parse(COMMAND.sub(leave_out, source), name)
    tree = _WithoutColab(skipped).visit(tree)
    if skipped:
        report(cell=number, skipped="; ".join(skipped))
        namespace.setdefault(COLAB, MagicMock())
    exec(compile(ast.fix_missing_locations(tree), name, "exec"), namespace)


class _WithoutColab(ast.NodeTransformer):
    """Replaces imports of `google.colab`, except those in a `try`, which are there to find out if this is Colab."""

    def __init__(self, skipped: list[str]) -> None:
        self.skipped = skipped

    def visit_Try(self, node: ast.Try) -> ast.AST:
        return node

    def visit_Import(self, node: ast.Import) -> ast.AST | list[ast.AST]:
        return self._without(node, [each.name for each in node.names])

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | list[ast.AST]:
        return self._without(node, [f"{node.module}.{each.name}" for each in node.names])

    def _without(self, node: ast.Import | ast.ImportFrom, modules: list[str]) -> ast.AST | list[ast.AST]:
        ours = [i for i, module in enumerate(modules) if f"{module}.".startswith("google.colab.")]
        if not ours:
            return node
        self.skipped.append(ast.unparse(node))
        names = [(node.names[i].asname or node.names[i].name.split(".")[0]).replace("*", "_") for i in ours]
        node.names = [each for i, each in enumerate(node.names) if i not in ours]
        stand_ins = ast.parse("\n".join(f"{name} = {COLAB}" for name in names)).body
        return [*([node] if node.names else []), *(ast.copy_location(each, node) for each in stand_ins)]


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
