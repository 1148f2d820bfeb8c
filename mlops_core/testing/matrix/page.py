"""The matrix as one self-contained HTML page: a group of rows for each use case, one row for each runner.

On a narrow screen each row becomes a block of its own with the column's name before each value.
"""

from __future__ import annotations

import html
import platform
from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING

from mlops_core.testing.matrix.cells import comparison_text, metrics_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mlops_core.testing.matrix.cells import Cell

_COLUMNS = ("runner", "outcome", "metrics", "outputs", "seconds", "steps, seconds")
_STYLE = """
:root{color-scheme:light dark;--bg:#f4f6f8;--surface:#fff;--line:#d8dee6;--text:#16202c;--muted:#52606f;
--good:#07635a;--warn:#6f4b00;--bad:#9c3206}
@media(prefers-color-scheme:dark){:root{--bg:#0e1318;--surface:#161d25;--line:#2b3642;--text:#e7edf3;--muted:#a2afbd;
--good:#5fd6c4;--warn:#f3c65a;--bad:#ff9f75}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:80rem;padding:1.5rem;background:var(--bg);color:var(--text);
font:15px/1.5 system-ui,sans-serif;font-variant-numeric:tabular-nums}
h1{margin:0;font-size:1.5rem}
small,footer{color:var(--muted)}
footer{margin-top:1rem;font-size:.85rem}
table{width:100%;border-collapse:collapse;background:var(--surface);border:1px solid var(--line)}
th,td{padding:.4rem .8rem;border-top:1px solid var(--line);text-align:left;vertical-align:top}
thead th{font-weight:600;color:var(--muted)}
tbody th{padding-top:1rem;font-size:1.05rem}
tbody th small{font-weight:400}
td:first-child{white-space:nowrap}
.message{color:var(--muted);font-size:.85rem}.message,small,footer{overflow-wrap:anywhere}
.accepted,.same{color:var(--good)}.rejected{color:var(--warn)}.failed,.broken,.DIFFER{color:var(--bad);font-weight:600}
@media(max-width:50rem){body{padding:.75rem}thead{display:none}tr,td,tbody th{display:block;border:0}
tbody tr{padding:.3rem 0;border-top:1px solid var(--line)}td{display:flex;gap:.6rem;padding:.1rem .8rem}
td::before{content:attr(data-label);flex:0 0 6.5rem;color:var(--muted)}}
"""


def html_page(cells: Sequence[Cell], *, title: str) -> str:
    """Return the matrix as one page that needs no other file."""
    counts = Counter(cell.status for cell in cells)
    summary = ", ".join(f'<span class="{name}">{count} {name}</span>' for name, count in counts.items())
    head = "".join(f"<th>{name}</th>" for name in _COLUMNS)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body>\n<h1>{html.escape(title)}</h1>\n"
        f"<p>{summary or 'no use case is installed'}</p>\n"
        f"<table><thead><tr>{head}</tr></thead>\n{_groups(cells)}\n</table>\n"
        "<footer>Each use case at its smallest configuration; its outputs on a runner are compared, byte by byte, with "
        f"those on the first. Python {platform.python_version()} on {html.escape(platform.platform(terse=True))}."
        "</footer>\n</body></html>\n"
    )


def _groups(cells: Iterable[Cell]) -> str:
    return "\n".join(_group(list(group)) for _, group in groupby(cells, key=lambda cell: cell.use_case))


def _group(cells: Sequence[Cell]) -> str:
    first = cells[0]
    about = "; ".join(filter(None, (first.plugin, first.configuration)))
    heading = f"{html.escape(first.use_case)} <small>{html.escape(about)}</small>"
    rows = "\n".join(map(_row, cells))
    return f'<tbody><tr><th colspan="{len(_COLUMNS)}">{heading}</th></tr>\n{rows}</tbody>'


def _row(cell: Cell) -> str:
    message = f'<div class="message">{html.escape(cell.message)}</div>' if cell.message else ""
    compared = comparison_text(cell)
    values = (
        html.escape(cell.runner) or "none",
        f'<div><span class="{cell.status}">{cell.status}</span>{message}</div>',
        html.escape(metrics_text(cell)) or "-",
        f'<span class="{compared}">{compared}</span>',
        f"{cell.duration_s:.1f}" if cell.duration_s else "-",
        html.escape(", ".join(f"{name} {seconds:.1f}" for name, seconds in cell.steps_s.items())) or "-",
    )
    labelled = zip(_COLUMNS, values, strict=True)
    return "<tr>" + "".join(f'<td data-label="{name}">{value}</td>' for name, value in labelled) + "</tr>"
