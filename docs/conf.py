"""Configuration of the documentation. Build it with `sphinx-build -W --keep-going docs build/docs`."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parent / "_tools"))

import kvae

project = "kvae"
author = "The kvae authors"
version = release = kvae.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]
extensions += ["reference"]  # in _tools
exclude_patterns = ["_tools", "generated/_*"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3

default_role = "py:obj"  # `x` in a docstring is code, and a link if it names something in the reference
smartquotes_action = "D"  # dashes alone: "bernoulli" is to be copied as it is
autodoc_typehints = "none"  # the text says what an argument may be
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_param = False  # one entry may describe several arguments
napoleon_use_ivar = True
napoleon_use_rtype = False

html_theme = "furo"
html_title = f"kvae {version}"
# One file draws formulas as SVG, without fonts or further files: not all browsers load these where there is no server.
mathjax = Path(find_spec("sphinx-mathjax-offline").origin).parent / "static" / "mathjax" / "tex-svg-full.js"
mathjax_path = mathjax.name
html_static_path = ["_static", str(mathjax)]
html_css_files = ["style.css"]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_theme_options = {
    "source_repository": "https://github.com/kvae/kvae/",
    "source_branch": "main",
    "source_directory": "docs/",
}
