"""The page: its sections in order, the navigation between them, the style sheet and the script, in one document.

Nothing is loaded from anywhere: a content security policy forbids it, and allows the page's own style sheet and
script by their digests only.
"""

from __future__ import annotations

import base64
import hashlib
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_core.report.comparison_section import comparison_section
from mlops_core.report.markup import Markup, document, element, group, script, style
from mlops_core.report.matrix_section import matrix_section
from mlops_core.report.metrics_section import metrics_section
from mlops_core.report.provenance_section import configuration_section, provenance_section
from mlops_core.report.samples_section import samples_section
from mlops_core.report.steps_section import steps_section
from mlops_core.report.training_section import training_section
from mlops_core.report.verdict_section import page_header, verdict_section

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlops_core.report.blocks import PageSection
    from mlops_core.report.evidence import Evidence

_ASSETS = Path(__file__).parent / "assets"
_SECTIONS = (
    verdict_section,
    metrics_section,
    matrix_section,
    training_section,
    samples_section,
    steps_section,
    comparison_section,
    configuration_section,
    provenance_section,
)


def render(evidence: Evidence) -> str:
    """Return the page of a run as HTML."""
    sections = [build(evidence) for build in _SECTIONS]
    record = evidence.record
    return document(
        _head(f"{record.use_case} {record.run_id}: {record.status}"),
        element(
            "body",
            element("a", "Skip to the verdict", href="#verdict", class_="skip"),
            element(
                "div",
                _navigation(sections),
                element(
                    "main", page_header(evidence), *(section.markup() for section in sections), _footer(), id="top"
                ),
                class_="layout",
            ),
            script(_asset("page.js")),
        ),
        language="en",
    )


def _head(title: str) -> Markup:
    css, js = _asset("page.css"), _asset("page.js")
    policy = (
        f"default-src 'none'; style-src '{_digest(css)}'; script-src '{_digest(js)}'; "
        "img-src data:; media-src data:; base-uri 'none'; form-action 'none'"
    )
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="generator", content=f"mlops-usecases {version('mlops-usecases')}"),
        element("title", title),
        style(css),
    )


def _navigation(sections: Sequence[PageSection]) -> Markup:
    links = (element("li", element("a", section.title, href=f"#{section.anchor}")) for section in sections)
    brand = element("a", group(element("strong", "mlops"), " run report"), href="#top", class_="brand")
    return element("nav", brand, element("ul", *links), class_="contents", aria_label="Sections")


def _footer() -> Markup:
    return element(
        "footer", "Written by mlops-usecases ", version("mlops-usecases"), ". This page holds everything that it shows."
    )


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode('ascii')}"
