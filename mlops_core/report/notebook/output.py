"""The HTML of a notebook's cell: the kit's elements in a block with a style sheet of its own.

The page around the block belongs to the notebook, so every rule applies to the block only, and text has the colour of
the page. The other colours are readable on light and on dark pages: front ends do not agree on how to ask which it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mlops_core.report.kit import element, style

if TYPE_CHECKING:
    from mlops_core.report.kit import Node

STYLESHEET = Path(__file__).parents[1] / "assets" / "notebook.css"


def output_html(*children: Node) -> str:
    """Return the HTML of a cell's output; text in it is escaped."""
    return element("div", style(STYLESHEET.read_text(encoding="utf-8")), *children, class_="mlops-output").html
