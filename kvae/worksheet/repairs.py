"""Find one edit of a function's source after which it is right: the step that is off, and what it should be.

A student's function has a few lines, so all small edits can be tried: another function of the same kind, another axis,
operator, constant or variable, an expression left out or wrapped in a function.
"""

import ast
import copy
import inspect
import linecache
import textwrap
import time
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

Edit = tuple[ast.AST, ast.AST | None]  # a node and what replaces it; `None` leaves a statement out

SECONDS = 4.0  # of the processor, for a search
KINDS = [
    "mean sum median average max min prod nanmean",
    "logsumexp max mean sum",
    "std var",
    "exp log log2 log10 log1p expm1 square sqrt abs",
    "argmax argmin max min",
    "rint floor ceil trunc round",
    "maximum minimum add",
    "pdf cdf logpdf ppf logcdf sf",
    "repeat tile",
    "relu sigmoid softplus tanh softmax",
    "zeros_like ones_like",
    "matmul multiply",
    "permutation shuffle choice",
    "concatenate stack",
    "linspace arange",
]
OPERATORS: dict[type[ast.AST], list[type[ast.AST]]] = {
    ast.Add: [ast.Sub, ast.Mult],
    ast.Sub: [ast.Add, ast.Div],
    ast.Mult: [ast.Div, ast.Add, ast.Pow, ast.MatMult],
    ast.Div: [ast.Mult, ast.Sub],
    ast.FloorDiv: [ast.Div],
    ast.Pow: [ast.Mult],
    ast.MatMult: [ast.Mult],
    ast.Lt: [ast.Gt, ast.LtE],
    ast.Gt: [ast.Lt, ast.GtE],
    ast.LtE: [ast.Lt, ast.GtE],
    ast.GtE: [ast.Gt, ast.LtE],
    ast.Eq: [ast.NotEq],
    ast.NotEq: [ast.Eq],
}
WRAPS = ["exp({})", "log({})", "sqrt({})", "square({})", "abs({})"]
# Calls with an effect beyond their result are not repeated.
EFFECTS = {"open", "exec", "eval", "compile", "input", "breakpoint", "exit", "quit", "setattr", "delattr", "check"}
LIBRARIES = {"numpy", "keras", "scipy", "math", "tensorflow", "jax", "torch"}


def find(answer: Any, right: Callable[[Any], bool]) -> str:
    """The first edit of a function after which `right` accepts it, in words; "" if there is none.

    Args:
        answer: a function whose source can be read; anything else has no edit.
        right: whether a function is right.
    """
    tree = _source(answer)
    if tree is None:
        return ""
    nodes = list(ast.walk(tree))
    end = time.process_time() + SECONDS
    for old, new in _edits(tree, answer):
        if time.process_time() > end:
            break
        changed = copy.deepcopy(tree)
        twin = list(ast.walk(changed))[next(i for i, node in enumerate(nodes) if node is old)]
        _replace(changed, twin, new)
        edited = _compiled(changed, answer)
        if edited is not None and right(edited):
            return _words(old, new)
    return ""


def _source(answer: Any) -> ast.FunctionDef | None:
    """The tree of a function's definition, or `None` if it has none or does more than compute."""
    if not isinstance(answer, FunctionType):
        return None
    linecache.checkcache(answer.__code__.co_filename)
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(answer)))
    except (OSError, TypeError, SyntaxError, ValueError):
        return None
    definition = tree.body[0] if tree.body else None
    if isinstance(definition, ast.Assign) and isinstance(value := definition.value, ast.Lambda):
        definition = ast.FunctionDef("answer", value.args, [ast.Return(value.body)], [], None, None)
    if not isinstance(definition, ast.FunctionDef) or not all(map(_harmless, ast.walk(definition))):
        return None
    definition.decorator_list = []
    definition.returns = None
    return ast.fix_missing_locations(definition)


def _harmless(node: ast.AST) -> bool:
    if isinstance(node, (ast.Global, ast.Nonlocal)):
        return False
    if isinstance(node, ast.Import):
        return all(each.name.split(".")[0] in LIBRARIES for each in node.names)
    if isinstance(node, ast.ImportFrom):
        return (node.module or "").split(".")[0] in LIBRARIES
    if isinstance(node, ast.Attribute):
        return not node.attr.startswith("__") and isinstance(node.ctx, ast.Load)
    return not (isinstance(node, ast.Name) and (node.id in EFFECTS or node.id.startswith("__")))


def _compiled(tree: ast.FunctionDef, answer: FunctionType) -> Any:
    """The function of an edited tree, with the globals and the closure of the answer."""
    names = dict(answer.__globals__)
    for name, cell in zip(answer.__code__.co_freevars, answer.__closure__ or (), strict=True):
        names[name] = cell.cell_contents
    try:
        module = ast.fix_missing_locations(ast.Module([tree], []))
        exec(compile(module, "<edited>", "exec"), names)
    except (SyntaxError, ValueError, TypeError, NameError):
        return None
    return names[tree.name]


def _edits(tree: ast.FunctionDef, answer: FunctionType) -> Iterator[Edit]:
    """Small edits, the most common ones first."""
    body = [node for statement in tree.body for node in ast.walk(statement)]
    yield from (edit for node in body for edit in _left_out(node))
    yield from (edit for node in body for edit in _other_functions(node))
    yield from (edit for node in body for edit in _other_axes(node))
    yield from (edit for node in body for edit in _other_operators(node))
    yield from (edit for node in body for edit in _regrouped(node))
    yield from _other_names(tree, body)
    yield from (edit for node in body for edit in _other_constants(node))
    yield from _other_statements(tree)
    yield from _wrapped(body, answer)


def _other_functions(node: ast.AST) -> Iterator[Edit]:
    if not isinstance(node, ast.Call):
        return
    name = getattr(node.func, "attr", getattr(node.func, "id", ""))
    for kind in KINDS:
        for other in kind.split() if name in kind.split() else ():
            if other != name:
                new = copy.deepcopy(node)
                setattr(new.func, "attr" if isinstance(node.func, ast.Attribute) else "id", other)
                yield node, new
    if isinstance(node.func, ast.Attribute) and name in ("var", "std") and not node.keywords:
        yield node, _call(node, keywords=[ast.keyword("ddof", ast.Constant(1))])


def _other_axes(node: ast.AST) -> Iterator[Edit]:
    if not isinstance(node, ast.Call):
        return
    for i, keyword in enumerate(node.keywords):
        others = [*node.keywords[:i], *node.keywords[i + 1 :]]
        if keyword.arg == "axis":
            for axis in (0, 1, -1, 2, -2, (1, 2, 3), (0, 1), (1, 2)):
                value = ast.parse(repr(axis), mode="eval").body
                if ast.dump(value) != ast.dump(keyword.value):
                    yield node, _call(node, keywords=[*others, ast.keyword("axis", value)])
        yield node, _call(node, keywords=others)
    name = getattr(node.func, "attr", "")
    if name in " ".join(KINDS[:4]).split() and not any(each.arg == "axis" for each in node.keywords):
        for axis in (0, 1, -1):
            value = ast.parse(repr(axis), mode="eval").body
            yield node, _call(node, keywords=[*node.keywords, ast.keyword("axis", value)])


def _other_operators(node: ast.AST) -> Iterator[Edit]:
    if isinstance(node, ast.BinOp):
        for other in OPERATORS.get(type(node.op), ()):
            yield node, ast.BinOp(node.left, other(), node.right)  # type: ignore[arg-type]
        yield node, ast.BinOp(node.right, node.op, node.left)
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        for other in OPERATORS.get(type(node.ops[0]), ()):
            yield node, ast.Compare(node.left, [other()], node.comparators)  # type: ignore[list-item]
    if isinstance(node, ast.Call) and len(node.args) >= 2:
        for i in range(len(node.args) - 1):
            args = [*node.args]
            args[i], args[i + 1] = args[i + 1], args[i]
            yield node, _call(node, args=args)
    if isinstance(node, (ast.Tuple, ast.List)) and len(node.elts) == 2 and isinstance(node.ctx, ast.Load):
        yield node, type(node)(node.elts[::-1], node.ctx)


def _regrouped(node: ast.AST) -> Iterator[Edit]:
    """The same operations in another order: f(a) + b for f(a + b), (a · b) + c for a · (b + c)."""
    if isinstance(node, ast.BinOp):
        if isinstance(inner := node.left, ast.BinOp):
            for operator in (type(node.op), *OPERATORS.get(type(node.op), ())):  # a + b · c for a + b + c, too
                yield node, ast.BinOp(inner.left, inner.op, ast.BinOp(inner.right, operator(), node.right))
        if isinstance(inner := node.right, ast.BinOp):
            yield node, ast.BinOp(ast.BinOp(node.left, node.op, inner.left), inner.op, inner.right)
        if isinstance(inner := node.left, ast.Call) and inner.args:
            inside = ast.BinOp(inner.args[0], node.op, node.right)
            yield node, _call(inner, args=[inside, *inner.args[1:]])
        if isinstance(inner := node.right, ast.Call) and inner.args:
            inside = ast.BinOp(node.left, node.op, inner.args[0])
            yield node, _call(inner, args=[inside, *inner.args[1:]])
    if isinstance(node, ast.Call) and node.args and isinstance(inner := node.args[0], ast.BinOp):
        yield node, ast.BinOp(_call(node, args=[inner.left, *node.args[1:]]), inner.op, inner.right)
        yield node, ast.BinOp(inner.left, inner.op, _call(node, args=[inner.right, *node.args[1:]]))
    if (
        isinstance(node, ast.Call)
        and len(node.args) == 1
        and isinstance(inner := node.args[0], ast.Call)
        and inner.args
    ):
        yield node, _call(inner, args=[_call(node, args=[inner.args[0]]), *inner.args[1:]])


def _left_out(node: ast.AST) -> Iterator[Edit]:
    if isinstance(node, ast.BinOp):
        yield node, node.left
        yield node, node.right
    if isinstance(node, ast.UnaryOp):
        yield node, node.operand
    if isinstance(node, ast.Call):
        for argument in node.args:
            yield node, argument
        if isinstance(node.func, ast.Attribute):
            yield node, node.func.value
    if isinstance(node, (ast.Attribute, ast.Subscript)) and isinstance(node.ctx, ast.Load):
        yield node, node.value


def _other_constants(node: ast.AST) -> Iterator[Edit]:
    if not isinstance(node, ast.Constant) or not isinstance(node.value, (int, float)):
        return
    value = node.value
    if isinstance(value, bool):
        yield node, ast.Constant(not value)
        return
    for other in (2 * value, value / 2, -value, value + 1, value - 1, 0, 1, value**2, 1 / (value or 1), None):
        if other != value and (other is None or abs(other) < 1e9):
            whole = isinstance(value, int) and other is not None and other == int(other)
            yield node, ast.Constant(int(other) if whole else other)  # type: ignore[arg-type]


def _other_names(tree: ast.FunctionDef, body: list[ast.AST]) -> Iterator[Edit]:
    known = [each.arg for each in tree.args.args]
    known += [node.id for node in body if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
    for node in body:
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in known:
            for other in dict.fromkeys(known):
                if other != node.id:
                    yield node, ast.Name(other, ast.Load())
            yield node, ast.Attribute(node, "T", ast.Load())
        elif isinstance(node, (ast.Call, ast.Subscript, ast.Constant)):
            yield from ((node, ast.Name(other, ast.Load())) for other in dict.fromkeys(known))
    for node in body:  # a size written as a number, or the size of another array
        whole = isinstance(node, ast.Constant) and isinstance(node.value, int)
        if whole or (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)):
            yield from ((node, ast.parse(f"len({name})", mode="eval").body) for name in dict.fromkeys(known))


def _other_statements(tree: ast.FunctionDef) -> Iterator[Edit]:
    for statement in tree.body[:-1]:
        if not isinstance(statement, ast.Expr):
            yield statement, None


def _wrapped(body: list[ast.AST], answer: FunctionType) -> Iterator[Edit]:
    prefix = next((name for name in ("ops", "np", "numpy", "tf") if name in answer.__globals__), "")
    uses = {node.id for node in body if isinstance(node, ast.Name)}
    prefix = next((name for name in ("ops", "np", "numpy") if name in uses), prefix)
    inside = {id(node.func) for node in body if isinstance(node, ast.Call)}
    for node in body:
        if not isinstance(node, (ast.Name, ast.BinOp, ast.Call, ast.Subscript)) or id(node) in inside:
            continue
        if isinstance(getattr(node, "ctx", None), ast.Store) or (
            isinstance(node, ast.Name) and node.id in (prefix, "f")
        ):
            continue
        for form in ["-({})", "2 * ({})", "0.5 * ({})", "1 - ({})", *(f"{prefix}.{wrap}" for wrap in WRAPS if prefix)]:
            yield node, ast.parse(form.format(ast.unparse(node)), mode="eval").body
        if prefix:
            for axis in ("-1", "0"):
                yield node, ast.parse(f"{prefix}.sum({ast.unparse(node)}, axis={axis})", mode="eval").body


def _call(node: ast.Call, args: list[Any] | None = None, keywords: list[Any] | None = None) -> ast.Call:
    return ast.Call(node.func, node.args if args is None else args, node.keywords if keywords is None else keywords)


def _replace(tree: ast.AST, old: ast.AST, new: ast.AST | None) -> None:
    for parent in ast.walk(tree):
        for field, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, field, copy.deepcopy(new))
            elif isinstance(value, list):
                for i, each in enumerate(value):
                    if each is old:
                        value[i : i + 1] = [] if new is None else [copy.deepcopy(new)]
                        return


def _words(old: ast.AST, new: ast.AST | None) -> str:
    before = ast.unparse(old)
    if new is None:
        return f"it would be right without the line `{before}`"
    after, where = ast.unparse(new), ""
    if isinstance(old, ast.Call) and isinstance(new, ast.Call) and _inside(old) == _inside(new):
        before, after, where = _last(old.func), _last(new.func), f" in `{_clipped(before)}`"
    return f"it would be right with `{_clipped(after)}` in place of `{_clipped(before)}`{where}"


def _inside(call: ast.Call) -> list[str]:
    return [ast.dump(each) for each in (*call.args, *call.keywords)]


def _last(function: ast.AST) -> str:
    return function.attr if isinstance(function, ast.Attribute) else ast.unparse(function)


def _clipped(text: str) -> str:
    return text if len(text) < 75 else f"{text[:72]}…"
