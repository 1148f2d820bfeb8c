"""The report of a run: its sections in order, in the page of the kit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mlops_core.report.contents import CONTENTS_NAME, contents_of
from mlops_core.report.kit import render_page
from mlops_core.report.search_section import search_section
from mlops_core.report.sections.comparison import comparison_section
from mlops_core.report.sections.configuration import configuration_section
from mlops_core.report.sections.matrix import matrix_section
from mlops_core.report.sections.metrics import metrics_section
from mlops_core.report.sections.model_card import model_card_section
from mlops_core.report.sections.overview import page_header
from mlops_core.report.sections.provenance import provenance_section
from mlops_core.report.sections.samples import samples_section
from mlops_core.report.sections.steps import steps_section
from mlops_core.report.sections.training import training_section
from mlops_core.report.sections.verdict import verdict_section

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlops_core.report.evidence import Evidence

_STYLESHEET = Path(__file__).parent / "assets" / "report.css"
_SECTIONS = (
    verdict_section,
    metrics_section,
    matrix_section,
    search_section,
    training_section,
    samples_section,
    steps_section,
    comparison_section,
    configuration_section,
    provenance_section,
    model_card_section,
)


def render(evidence: Evidence, *, losses: Sequence[str] = ()) -> str:
    """Return the report of a run as HTML.

    Args:
        evidence: what it shows.
        losses: what an earlier report of the run shows and this one cannot.
    """
    record = evidence.record
    return render_page(
        title=f"{record.use_case} {record.run_id}: {record.status}",
        brand="run report",
        header=page_header(evidence, losses=losses),
        sections=[section for build in _SECTIONS if (section := build(evidence)) is not None],
        stylesheet=_STYLESHEET.read_text(encoding="utf-8"),
        metadata={CONTENTS_NAME: contents_of(evidence).to_text()},
    )
