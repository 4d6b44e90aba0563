"""Self-contained HTML pages: text is escaped, and a policy keeps a browser from loading or running anything else."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from kvae.io import atomic, limits
from kvae.types import PathLike

VOID = {"br", "img"}  # elements without an end tag
LONGEST = 20_000  # letters of one text


class Markup(str):
    """HTML, as opposed to text, which `element` escapes."""


def element(tag: str, *contents: object, **attributes: object) -> Markup:
    """An HTML element.

    Args:
        tag: its name.
        *contents: `Markup`, or anything else, which becomes text.
        **attributes: from names, with a trailing underscore for Python's keywords, to values.

    Returns:
        `Markup`.

    Example:

    >>> from kvae.io.html_page import element
    >>> element("p", "a < b ", element("b", "not c"), class_="note")
    '<p class="note">a &lt; b <b>not c</b></p>'
    """
    named = "".join(f' {name.rstrip("_").replace("_", "-")}="{text(value)}"' for name, value in attributes.items())
    return Markup(f"<{tag}{named}>" + ("" if tag in VOID else f"{join(*contents)}</{tag}>"))


def join(*contents: object) -> Markup:
    """Pieces of `Markup`, or of text, after one another."""
    return Markup("".join(each if isinstance(each, Markup) else text(each) for each in contents))


def text(content: object) -> Markup:
    """What reads as `content` in HTML, without control characters."""
    return Markup(html.escape(limits.printable(content, LONGEST)))


def policy(style: str, script: str = "") -> str:
    """A Content-Security-Policy under which a page loads nothing, and runs and styles nothing but these two texts."""
    scripts = f"script-src {_hash(script)}; " if script else ""
    rules = f"default-src 'none'; {scripts}style-src {_hash(style)}; img-src data:; base-uri 'none'; form-action 'none'"
    return html.escape(rules)


def fill(template: str, parts: Mapping[str, str]) -> str:
    """Replace each `{{name}}` of a template by a part, in which nothing is replaced."""
    first, *others = template.split("{{")
    filled = [first]
    for each in others:
        name, rest = each.split("}}", 1)
        filled += [parts[name], rest]
    return "".join(filled)


def static(package: str, name: str) -> str:
    """A text file in the folder `static` of a package."""
    return resources.files(package).joinpath("static").joinpath(name).read_text(encoding="utf-8")


def save(page: str, path: PathLike) -> Path:
    """Write a page to a file, atomically; its folder is created."""
    path = Path(path)
    atomic.make_folder(path.parent)
    with atomic.replacing(path) as aside:
        aside.write_text(page, encoding="utf-8")
    return path


def _hash(content):
    digest = base64.b64encode(hashlib.sha256(content.encode("utf-8")).digest()).decode("ascii")
    return f"'sha256-{digest}'"
