"""The digests, environment and step keys that make the run verifiable."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core.evaluation.comparability import TEST_SET_NOTE
from mlops_core.evaluation.metrics import MetricReport
from mlops_core.quantities import format_size
from mlops_core.report.kit import (
    Markup,
    Node,
    PageSection,
    code,
    data_table,
    details,
    digest,
    element,
    facts_list,
    group,
    missing_note,
    muted,
)

if TYPE_CHECKING:
    from mlops_core.report.evidence import Evidence
    from mlops_core.workspace.records import RunRecord, StepRecord

_DETAILED_STEPS = 60
"""For a longer pipeline only the keys are listed, without their components."""


def provenance_section(evidence: Evidence) -> PageSection:
    """Return digests, environment and step keys."""
    return PageSection(
        anchor="provenance",
        title="Provenance",
        lead="Equal digests mean equal content; equal step keys mean equal code, inputs and settings.",
        body=group(
            _digests(evidence),
            element("h3", "Environment"),
            _environment(evidence.record),
            element("h3", "Step keys"),
            _steps(evidence.record),
        ),
    )


def _digests(evidence: Evidence) -> Markup:
    record = evidence.record
    report = evidence.facts.evaluation
    facts: dict[str, Node] = {
        "Use case": code(f"{record.use_case} ({record.plugin})"),
        "Runner": code(record.runner),
        "Seed": code(str(record.seed)),
    }
    dataset = record.dataset
    facts["Data set"] = code(dataset.name) if dataset else "none"
    if dataset:
        facts["Data digest"] = _full_digest(dataset.digest)
        facts["Data size"] = f"{dataset.files} files, {format_size(dataset.size_bytes)}"
        facts["Data licence"] = dataset.licence or "not specified"
        facts["Data path"] = code(dataset.path)
    test_set = report.notes.get(TEST_SET_NOTE) if isinstance(report, MetricReport) else None
    facts["Test set digest"] = _full_digest(str(test_set)) if test_set else "not recorded"
    model_digest = _model_digest(record)
    facts["Model digest"] = _full_digest(model_digest) if model_digest else "no model"
    return group(element("h3", "Data and model"), facts_list(facts, class_="wide"))


def _full_digest(value: str) -> Markup:
    return element("code", value, class_="whole digest")


def _model_digest(record: RunRecord) -> str:
    step_name, _, output = str(record.pipeline.get("model", "")).partition(".")
    step = record.step(step_name)
    return str(step.outputs.get(output, "")) if step else ""


def _environment(record: RunRecord) -> Markup:
    if not record.environment:
        return missing_note("the run record contains no environment.")
    return facts_list({name: code(value) for name, value in record.environment.items()})


def _steps(record: RunRecord) -> Markup:
    if not record.steps:
        return missing_note("no step was recorded.")
    rows: list[tuple[Node, ...]] = [
        (code(step.name), digest(step.key), _artifacts(step.inputs), _artifacts(step.outputs)) for step in record.steps
    ]
    headings = ("Step", "Key", "Inputs", "Outputs")
    table = data_table("Step keys, inputs and outputs", headings, rows, is_caption_visible=False)
    is_detailed = len(record.steps) <= _DETAILED_STEPS
    return group(table, *(map(_components, record.steps) if is_detailed else ()))


def _artifacts(digests: object) -> Node:
    if not isinstance(digests, dict) or not digests:
        return muted("-")
    return group(*(element("div", name, " ", digest(value)) for name, value in digests.items()))


def _components(step: StepRecord) -> Markup | None:
    if not step.key_components:
        return None
    facts: dict[str, Node] = {
        name: element("code", value, class_="whole") for name, value in step.key_components.items()
    }
    summary = group("Key components of ", code(step.name), f" ({len(facts)})")
    return details(summary, facts_list(facts, class_="wide"))
