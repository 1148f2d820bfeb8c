"""Sphinx's settings. `docs/site/build.py` gathers the pages and calls Sphinx: ``make site``."""

from pygments.lexers import TextLexer
from sphinx.highlighting import lexers

import mlops_core

project = "mlops"
author = "the mlops authors"
copyright = author  # noqa: A001  Sphinx's name
version = release = mlops_core.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["colon_fence", "fieldlist"]
myst_heading_anchors = 3
# The blocks without a language are shell sessions and output.
highlight_language = "text"
lexers["csv"] = TextLexer()
# An attribute called `type` makes the reference of the annotation `type[...]` ambiguous.
suppress_warnings = ["ref.python"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"
napoleon_google_docstring = True
napoleon_numpy_docstring = False

# The text between single backquotes in a docstring is code.
default_role = "code"

# Furo uses the fonts of the reader's system: the site is built, and can be read, without a network.
html_theme = "furo"
html_title = "mlops"
html_copy_source = False
html_show_sourcelink = False
