"""Writes the pages that follow from the package: the reference, reference cards and the table of worksheets."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable, Mapping, Set
from pathlib import Path
from types import ModuleType
from typing import Any

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.inspect import signature as signature_of
from sphinx.util.inspect import stringify_signature

import kvae

LOGGER = logging.getLogger(__name__)
SOURCES = Path(__file__).parents[2] / "workshops" / "src"
FENCE = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SPECIAL = re.compile(r"(`[^`]+`)(\w?)|[*|]")
TYPED = re.compile(r"\A(.*?)\n+:type: (.*?)\n*\Z", re.DOTALL)
REQUEST = re.compile(r"set_\w+_request")  # methods that scikit-learn gives to every estimator


def public_names(module: ModuleType) -> list[str]:
    """What a namespace offers: its `__all__`, or else what it defines under a name without an underscore."""
    names = getattr(module, "__all__", None)
    if names is None:
        names = [
            name
            for name, value in vars(module).items()
            if getattr(value, "__module__", None) == module.__name__ or name.isupper()
        ]
        names = [name for name in names if name != "TYPE_CHECKING"]
    return sorted((name for name in names if not name.startswith("_")), key=str.lower)


def namespaces() -> dict[str, ModuleType]:
    """`kvae`, and the modules among the names of a namespace, by the names that users write."""
    found, todo = {"kvae": kvae}, ["kvae"]
    while todo:
        above = todo.pop()
        inside = {f"{above}.{name}": getattr(found[above], name) for name in public_names(found[above])}
        modules = {path: value for path, value in inside.items() if inspect.ismodule(value)}
        found |= modules
        todo += modules
    return found


def heading(text: str) -> str:
    """A title in reStructuredText."""
    return f"{text}\n{'=' * len(text)}\n"


def documented_elsewhere(path: str, value: type) -> str:
    """Names of the bases whose members a class's entry leaves out: Keras's, and those with an entry of their own.

    A class of `kvae` itself has a page of its own, with all that it inherits from kvae.
    """
    whole = path.count(".") == 1
    public = (
        [] if whole else [getattr(module, name) for module in namespaces().values() for name in public_names(module)]
    )
    others = [base for base in value.__mro__[1:] if not base.__module__.startswith("kvae.") or base in public]
    return ", ".join(base.__name__ for base in others)


def entry(path: str, value: Any) -> str:
    """The directive that documents a name."""
    if inspect.isclass(value):
        inherited = f"   :inherited-members: {documented_elsewhere(path, value)}\n"
        return f".. autoclass:: {path}\n   :members:\n   :show-inheritance:\n{inherited}"
    if isinstance(value, Callable):
        return f".. autofunction:: {path}\n"
    what = ", ".join(f"``{each!r}``" for each in (value if isinstance(value, Mapping | tuple | Set) else [value]))
    module, name = path.rsplit(".", 1)
    return f".. py:data:: {name}\n   :module: {module}\n\n   {what}\n"


def reference() -> dict[str, str]:
    """The pages of the reference by name: one per namespace, and one per class of `kvae` itself."""
    pages = {}
    for path, module in namespaces().items():
        parts = []
        for name in public_names(module):
            value = getattr(module, name)
            if inspect.ismodule(value):
                continue
            if path == "kvae" and inspect.isclass(value):
                pages[f"kvae.{name}"] = f"{heading(f'kvae.{name}')}\n{entry(f'kvae.{name}', value)}"
            elif path != "kvae" and getattr(kvae, name, None) is value:
                parts.append(f"* :py:obj:`kvae.{name}`\n")
            else:
                parts.append(entry(f"{path}.{name}", value))
        summary = "" if path == "kvae" else f".. automodule:: {path}\n   :no-members:\n"
        pages[path] = "\n".join([heading(path if path != "kvae" else "kvae: functions"), summary, *parts])
    return pages


def cards() -> str:
    """The reference cards as a table in Markdown."""
    from kvae.evaluation import reference_cards

    columns = ("command", "result", "band", "mean ± standard error", "seeds", "published")
    rows = [columns, ("---",) * len(columns)]
    for card in reference_cards.load():
        metric = reference_cards.METRICS[card.metric]
        low, high, mean, error = (f"{x:.{metric.digits}f}" for x in (*card.band, card.mean, card.standard_error))
        value, source, why = (card.published[key] for key in ("value", "source", "why"))
        published = [] if value is None else [f"{value} ({source})"]
        published += [] if why is None else [f"not comparable: {why}"]
        result = ", ".join(filter(None, [card.metric.replace("_", " "), metric.unit.strip()]))
        row = (
            f"`{card.command}`",
            result,
            f"{low} to {high}",
            f"{mean} ± {error}",
            len(card.values),
            "; ".join(published),
        )
        rows.append(row)
    return "".join(f"| {' | '.join(map(str, row))} |\n" for row in rows)


def worksheets() -> str:
    """A section for each worksheet: what it is about, what it teaches, and its notebooks to download."""
    sections = []
    for path in sorted(SOURCES.glob("w[0-9][0-9]_*.py")):
        text = path.read_text(encoding="utf-8")
        about = dict(re.findall(r'^#     (\w+): "?(.*?)"?$', text, re.MULTILINE))
        (outcomes,) = re.findall(r"After it you can\n#\n(.*?)\n#\n", text, re.DOTALL)
        student, solution = (
            f"{{download}}`{kind} <../workshops/{folder}/{path.stem}.ipynb>`"
            for kind, folder in (("student notebook", "student"), ("solution", "solutions"))
        )
        sections.append(
            f"## {about['worksheet']}. {about['topic']}\n\n"
            f"*{about['minutes']} minutes; lectures {about['lectures']}: {about['about']}.* "
            f"{student}, {solution}. After it you can\n\n" + re.sub(r"^# ", "", outcomes, flags=re.MULTILINE) + "\n"
        )
    return "\n".join(sections)


def write_pages(app: Sphinx) -> None:
    """Write all pages into `docs/generated`, before Sphinx looks for them; it reads again only those that change."""
    folder = Path(app.srcdir) / "generated"
    folder.mkdir(exist_ok=True)
    pages = {f"{name}.rst": text for name, text in reference().items()}
    pages |= {"_cards.md": cards(), "_worksheets.md": worksheets()}
    for old in folder.iterdir():
        if old.name not in pages:
            old.unlink()
    for name, text in pages.items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def escaped(text: str) -> str:
    """Text in which `*` and `|` stand for themselves, and a plural may follow code; examples stay as they are."""

    def replace(found):
        code, letter = found.groups()
        return f"\\{found[0]}" if code is None else f"{code}\\ {letter}" if letter else code

    paragraphs = re.split(r"(\n\s*\n)", text)
    return "".join(each if each.lstrip().startswith(">>>") else SPECIAL.sub(replace, each) for each in paragraphs)


def from_markdown(app: Sphinx, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """Turn the Markdown of a docstring into reStructuredText."""
    parts = FENCE.split("\n".join(lines))
    parts[::2] = map(escaped, parts[::2])
    parts[1::2] = (".. code-block:: python\n\n" + textwrap.indent(code, "   ") for code in parts[1::2])
    lines[:] = "".join(parts).splitlines()


def as_written(app: Sphinx, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """Undo what napoleon does to the docstring of a property, where it takes what is before a colon for the type."""
    if what == "property":
        lines[:] = TYPED.sub(r"\2: \1", "\n".join(lines)).splitlines()


def signature_of_class(
    app: Sphinx, what: str, name: str, value: Any, options: Any, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """The signature of a constructor, where Keras's `__new__` would be found first: `(*args, **kwargs)`."""
    if what == "class" and signature == "(*args, **kwargs)":
        found = signature_of(value.__init__, bound_method=True)
        return stringify_signature(found, show_annotation=False), returns
    return signature, returns


def skip(app: Sphinx, what: str, name: str, value: Any, skipped: bool, options: Any) -> bool | None:
    """Leave out methods without a docstring of their own, which do what the base class or Keras says."""
    without = callable(value) and not getattr(value, "__doc__", None)
    return True if without or REQUEST.fullmatch(name) else None


def check_complete(app: Sphinx, env: BuildEnvironment) -> None:
    """Fail if a public name of kvae is not in the reference, under its own name or as part of `kvae` itself."""
    documented = env.domaindata["py"]["objects"]
    for path, module in namespaces().items():
        for name in public_names(module):
            if f"{path}.{name}" not in documented and f"kvae.{name}" not in documented:
                LOGGER.warning("%s.%s is not in the reference", path, name)


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect to Sphinx."""
    app.connect("builder-inited", write_pages)
    app.connect("autodoc-process-docstring", from_markdown, priority=100)  # before napoleon
    app.connect("autodoc-process-docstring", as_written, priority=900)  # after it
    app.connect("autodoc-process-signature", signature_of_class)
    app.connect("autodoc-skip-member", skip)
    app.connect("env-check-consistency", check_complete)
    return {"parallel_read_safe": True}
