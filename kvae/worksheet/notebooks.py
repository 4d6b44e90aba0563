"""Notebooks as files: where the students' lie, and what stands in one. A notebook is JSON, so no Jupyter is needed."""

import re
from pathlib import Path
from typing import NamedTuple

from kvae.io import limits

CHECK = re.compile(r"^[^#\n]*\bcheck\(\s*[\"']([0-9]{1,2})\.([0-9]{1,2})[\"']", re.MULTILINE)


class Notebook(NamedTuple):
    """What is read of a notebook.

    Attributes:
        cells: list of `(number, source)`, its code cells, numbered among themselves from 1 as a reader counts them.
        about: dict, what its builder wrote: `worksheet` (its number), `topic`, `lectures`, `minutes`; empty if lost.
    """

    cells: list
    about: dict

    @property
    def checks(self):
        """The exercises that its check lines name, in order; one that stands twice comes twice."""
        return [f"{sheet}.{number}" for _, source in self.cells for sheet, number in CHECK.findall(source)]


def read(path):
    """Read a notebook's code.

    Args:
        path: str or path of an `.ipynb` file.

    Returns:
        A `Notebook`.

    Raises:
        ValueError: if the file is no notebook, in words for whoever handed it in.
        OSError: if it cannot be read.
    """
    text = limits.read_bytes(path, limits.NOTEBOOK)
    if not text.strip():
        raise ValueError("an empty file")
    try:
        content = limits.parse_json(text)
        cells = [cell for cell in content["cells"] if cell["cell_type"] == "code"]
        sources = [source if isinstance(source := cell["source"], str) else "".join(source) for cell in cells]
        about = dict(content.get("metadata", {}).get("kvae", {}))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError("not a notebook: an .ipynb file is wanted, as Jupyter and Colab save it") from error
    if about.get("worksheet") not in range(1, 100):
        about.pop("worksheet", None)
    filled = [source for source in sources if source.strip()]
    if not filled:
        raise ValueError("a notebook without code")
    return Notebook(list(enumerate(filled, 1)), about)


def student_notebooks():
    """The student notebooks that kvae brings along: a dict from worksheet number to path."""
    here = Path(__file__).parent / "student"  # in an installed package; in a checkout they lie where they are built
    folder = here if here.is_dir() else Path(__file__).parents[2] / "workshops" / "student"
    return {int(path.name[1:3]): path for path in sorted(folder.glob("w[0-9][0-9]_*.ipynb"))}
