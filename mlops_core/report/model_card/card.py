"""A model card: its title, its front matter and its sections."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core.report.model_card.front_matter import front_matter
from mlops_core.report.model_card.markdown import markdown_text
from mlops_core.report.model_card.sections import (
    data_section,
    intended_use_section,
    limits,
    lineage_section,
    metrics_section,
)

if TYPE_CHECKING:
    from mlops_core.report.model_card.facts import CardFacts


def model_card(facts: CardFacts) -> str:
    """Return the model card as Markdown."""
    name = _title(facts)
    sections = {
        "Intended use": intended_use_section(facts),
        "Data": data_section(facts),
        "Metrics": metrics_section(facts),
        "Limits": (f"- {limit}" for limit in limits(facts)),
        "Lineage": lineage_section(facts),
    }
    body = [f"# {markdown_text(name)}", ""]
    for heading, lines in sections.items():
        body += [f"## {heading}", "", *lines, ""]
    return f"---\n{front_matter(facts, name)}---\n\n" + "\n".join(body).rstrip("\n") + "\n"


def _title(facts: CardFacts) -> str:
    version = "" if facts.version is None else f" version {facts.version}"
    return f"{facts.record.use_case}{version}"
