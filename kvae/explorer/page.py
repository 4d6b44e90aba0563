"""The page: one HTML file with its style, its program and its data inside, which asks nothing of any network."""

from __future__ import annotations

import html
import sys
from pathlib import Path
from typing import Any

from kvae.explorer import packing
from kvae.io import html_page
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
        parts = {
            "policy": html_page.policy(style, script),
            "title": html.escape(title),
            "notes": html_page.join(*(html_page.element("p", note) for note in notes)),
            "style": style,
            "data": packing.json_text(data),
            "script": script,
        }
        self.html = html_page.fill(_static("page.html"), parts)

    def save(self, path: PathLike) -> Path:
        """Write the page to a file, atomically; its folder is created.

        Args:
            path: str or path.

        Returns:
            The path as a `pathlib.Path`.
        """
        return html_page.save(self.html, path)

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
    return html_page.static("kvae.explorer", name)
