"""The page: one HTML file with its style, its program and its data inside, which asks nothing of any network."""

from __future__ import annotations

import base64
import hashlib
import html
import sys
from importlib import resources
from pathlib import Path
from typing import Any

from kvae.explorer import packing
from kvae.io import atomic
from kvae.types import PathLike

SCRIPTS = ("decode.js", "pictures.js", "space.js", "plane.js", "panels.js", "main.js")
FRAME_HEIGHT = 900  # pixels, in a notebook


class Page:
    """A page that explores a latent space; a notebook shows it where it is the last value of a cell.

    Attributes:
        html: str, the whole file.
        notes: sentences that say what is not as one might expect, such as how a large latent space is projected.
    """

    def __init__(self, title: str, data: dict[str, Any], notes: list[str]) -> None:
        self.notes = notes
        script = "(() => {\n'use strict';\n" + "".join(map(_static, SCRIPTS)) + "})();"
        style = _static("style.css")
        # Nothing is loaded from anywhere, and no other script runs, whatever the data should contain.
        policy = f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; img-src data:; "
        policy += "base-uri 'none'; form-action 'none'"
        parts = {
            "policy": html.escape(policy),
            "title": html.escape(title),
            "notes": "".join(f"<p>{html.escape(note)}</p>" for note in notes),
            "style": style,
            "data": packing.json_text(data),
            "script": script,
        }
        first, *others = _static("page.html").split("{{")
        filled = [first]
        for each in others:
            name, rest = each.split("}}", 1)
            filled += [parts[name], rest]
        self.html = "".join(filled)

    def save(self, path: PathLike) -> Path:
        """Write the page to a file, atomically; its folder is created.

        Args:
            path: str or path.

        Returns:
            The path as a `pathlib.Path`.
        """
        path = Path(path)
        atomic.make_folder(path.parent)
        with atomic.replacing(path) as aside:
            aside.write_text(self.html, encoding="utf-8")
        return path

    def _repr_html_(self) -> str:
        # A frame of its own: neither the page's style nor its program reaches the notebook.
        frame = f'style="width: 100%; height: {FRAME_HEIGHT}px; border: 0" sandbox="allow-scripts"'
        return f'<iframe title="Latent space explorer" {frame} srcdoc="{html.escape(self.html)}"></iframe>'


def in_notebook() -> bool:
    """Whether this is code of a Jupyter notebook, or of another one with an IPython kernel."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return hasattr(shell, "kernel")


def _static(name):
    return resources.files("kvae.explorer").joinpath("static").joinpath(name).read_text(encoding="utf-8")


def _hash(text):
    digest = base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
    return f"'sha256-{digest}'"
