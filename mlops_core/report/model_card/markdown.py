"""Text from elsewhere as Markdown, where it means nothing but itself, and tables of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mlops_core.control_characters import escape_line
from mlops_core.datasets.licences import shown_licence

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|&~$])")
_ADDRESS = re.compile(r"(?i)(://)|(\bwww)\.")
_NAME_LIMIT = 200


def markdown_text(text: object) -> str:
    r"""Return a text as one line of Markdown that shows it and means nothing else.

    Example:
        >>> print(markdown_text("<b>cat</b> | [dog](x)"))
        \<b\>cat\</b\> \| \[dog\](x)
    """
    line = one_line(text)
    return _ADDRESS.sub(lambda match: r"\://" if match[1] else rf"{match[2]}\.", _MARKDOWN.sub(r"\\\1", line))


def one_line(text: object) -> str:
    """Return a text on one line, shortened where it is longer than a name."""
    line = escape_line(str(text).strip())
    return line if len(line) <= _NAME_LIMIT else f"{line[: _NAME_LIMIT - 1]}…"


def licence_text(licence: str) -> str:
    """Return a licence as Markdown, also one that is unknown."""
    return markdown_text(shown_licence(licence))


def table_lines(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a table; its cells are Markdown already."""
    yield f"| {' | '.join(heading or ' ' for heading in headings)} |"
    yield f"|{'---|' * len(headings)}"
    for row in rows:
        yield f"| {' | '.join(cell or '-' for cell in row)} |"
