"""The HTML and SVG kit that every page of mlops is built with: run reports, the matrix page, later pages.

A page is a value that is built from the inside out::

    section = PageSection(anchor="metrics", title="Metrics", body=data_table("All metrics", ("Metric", "Value"), rows))
    html = render_page(title="Run 42", header=element("header", element("h1", "Run 42")), sections=[section])

* `markup`: elements. Every text and attribute is escaped; only the functions of this module create `Markup`.
* `blocks`: sections, tables, fact lists, badges, callouts, legends.
* `svg`: scales and the two kinds of drawing, inline (coloured by the style sheet) and standalone files.
* `charts`: intervals, curves, bars and histograms; each one has a text alternative.
* `parallel`: parallel coordinates.
* `scatter`: a quantity against another one, or against names.
* `pages`: the document around the sections: navigation, style sheet, script, content security policy.

The kit knows nothing about runs. What a page shows is decided by the modules that use it.
"""

from __future__ import annotations

from mlops_core.report.kit.blocks import (
    BadgeKind,
    PageSection,
    badge,
    callout,
    code,
    data_table,
    details,
    digest,
    facts_list,
    legend,
    lines,
    missing_note,
    muted,
    tile,
)
from mlops_core.report.kit.charts import (
    TONES,
    Curve,
    CurveKind,
    IntervalMark,
    curve_chart,
    histogram_svg,
    interval_chart,
    share_bar,
    span_bar,
    step_svg,
)
from mlops_core.report.kit.markup import Attribute, Markup, Node, data_uri, document, element, group, script, style
from mlops_core.report.kit.pages import render_page
from mlops_core.report.kit.parallel import CoordinateLine, parallel_chart
from mlops_core.report.kit.scatter import ScatterPoint, scatter_chart
from mlops_core.report.kit.svg import Scale, inline_svg, nice_scale, standalone_svg

__all__ = [
    "TONES",
    "Attribute",
    "BadgeKind",
    "CoordinateLine",
    "Curve",
    "CurveKind",
    "IntervalMark",
    "Markup",
    "Node",
    "PageSection",
    "Scale",
    "ScatterPoint",
    "badge",
    "callout",
    "code",
    "curve_chart",
    "data_table",
    "data_uri",
    "details",
    "digest",
    "document",
    "element",
    "facts_list",
    "group",
    "histogram_svg",
    "inline_svg",
    "interval_chart",
    "legend",
    "lines",
    "missing_note",
    "muted",
    "nice_scale",
    "parallel_chart",
    "render_page",
    "scatter_chart",
    "script",
    "share_bar",
    "span_bar",
    "standalone_svg",
    "step_svg",
    "style",
    "tile",
]
