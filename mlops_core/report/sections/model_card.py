"""The model card, as text to copy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core.report.kit import PageSection, code, details, element, group, missing_note
from mlops_core.report.model_card import model_card

if TYPE_CHECKING:
    from mlops_core.report.evidence import Evidence


def model_card_section(evidence: Evidence) -> PageSection:
    """Return the model card of the run's model as Markdown."""
    title, anchor = "Model card", "model-card"
    if evidence.card is None:
        return PageSection(anchor=anchor, title=title, body=missing_note("the run has no evaluation."))
    record = evidence.record
    command = None
    if record.model_version is not None:
        command = element("p", "Write it: ", code(f"mlops models card -u {record.use_case} {record.model_version}"))
    return PageSection(
        anchor=anchor,
        title=title,
        lead="Markdown with the front matter of the Hugging Face Hub; it is also beside every exported model.",
        body=group(details("Show the Markdown", element("pre", model_card(evidence.card), tabindex=0)), command),
    )
