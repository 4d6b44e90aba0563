"""Notebook files: where the student notebooks are, and the code in one. They are JSON, so Jupyter is not needed."""

import re
from pathlib import Path
from typing import Any, NamedTuple

from kvae.io import limits
from kvae.types import PathLike

CHECK = re.compile(r"^[^#\n]*\bcheck\(\s*[\"']([0-9]{1,2})\.([0-9]{1,2})[\"']", re.MULTILINE)


class Notebook(NamedTuple):
    """The code and metadata of a notebook.

    Attributes:
        cells: its code cells as `(number, source)`, numbered from 1 without the other cells.
        about: metadata from the build: `worksheet` (its number), `topic`, `lectures`, `minutes`; empty if missing.
    """

    cells: list[tuple[int, str]]
    about: dict[str, Any]

    @property
    def checks(self) -> list[str]:
        """The exercises named by its check lines, in order and with repetitions."""
        return [f"{sheet}.{number}" for _, source in self.cells for sheet, number in CHECK.findall(source)]


def read(path: PathLike) -> Notebook:
    """Read the code of a notebook.

    Args:
        path: an `.ipynb` file.

    Returns:
        The notebook.

    Raises:
        ValueError: if the file is not a notebook; the message is for the person who submitted it.
        OSError: if the file cannot be read.
    """
    return parse(limits.read_bytes(path, limits.NOTEBOOK))


def parse(text: bytes) -> Notebook:
    """The code of a notebook from the content of its file, in the format of today or before 2015 (nbformat 3 and 2).

    Raises:
        ValueError: if it is not a notebook; the message is for the person who submitted it.
    """
    if not text.strip():
        raise ValueError("an empty file")
    try:
        content = limits.parse_json(text)
        sheets = [content] if "cells" in content else content["worksheets"]
        cells = [cell for sheet in sheets for cell in sheet["cells"] if cell["cell_type"] == "code"]
        sources = [cell["source"] if "source" in cell else cell["input"] for cell in cells]
        sources = [source if isinstance(source, str) else "".join(source) for source in sources]
        about = dict(content.get("metadata", {}).get("kvae", {}))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError("not a notebook: expected an .ipynb file, as saved by Jupyter and Colab") from error
    if about.get("worksheet") not in range(1, 100):
        about.pop("worksheet", None)
    filled = [source for source in sources if source.strip()]
    if not filled:
        raise ValueError("a notebook without code")
    return Notebook(list(enumerate(filled, 1)), about)


def student_notebooks() -> dict[int, Path]:
    """Paths of the student notebooks that come with kvae, by worksheet number."""
    here = Path(__file__).parent / "student"  # in an installed package; a checkout has them in the build folder
    folder = here if here.is_dir() else Path(__file__).parents[2] / "workshops" / "student"
    return {int(path.name[1:3]): path for path in sorted(folder.glob("w[0-9][0-9]_*.ipynb"))}
