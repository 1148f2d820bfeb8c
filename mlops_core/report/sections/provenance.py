"""The digests, environment and step keys that make the run verifiable."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core.datasets.licences import shown_licence
from mlops_core.evaluation.comparability import SPLITS_NOTE, TEST_CONTENT_NOTE, TEST_SET_NOTE
from mlops_core.evaluation.coverage import facts_of_note
from mlops_core.evaluation.metrics import MetricReport
from mlops_core.quantities import counted, format_size
from mlops_core.report.facts import recorded_licences
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
from mlops_core.report.sections.step_groups import SHOWN_STEPS

if TYPE_CHECKING:
    from mlops_core.datasets.licences import PretrainedModel
    from mlops_core.report.evidence import Evidence
    from mlops_core.workspace.records import RunRecord, StepRecord

_DETAILED_STEPS = 60
"""For a longer pipeline only the keys are listed, without their components."""
_SHORT_KEY = 12


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
        facts["Data size"] = f"{counted(dataset.files, 'file')}, {format_size(dataset.size_bytes)}"
        facts["Data licence"] = shown_licence(dataset.licence)
        facts["Data path"] = code(dataset.path)
    for model in _base_models(record):
        facts[f"Base model {model.name}"] = group(shown_licence(model.licence), " ", digest(model.sha256))
    test_set = report.notes.get(TEST_SET_NOTE) if isinstance(report, MetricReport) else None
    facts["Test set digest"] = _full_digest(str(test_set)) if test_set else "not recorded"
    if isinstance(report, MetricReport) and report.notes.get(TEST_CONTENT_NOTE):
        facts["Test content digest"] = _full_digest(str(report.notes[TEST_CONTENT_NOTE]))
    facts |= _splits(record, report)
    model_digest = _model_digest(record)
    facts["Model digest"] = _full_digest(model_digest) if model_digest else "no model"
    return group(element("h3", "Data and model"), facts_list(facts, class_="wide"))


def _base_models(record: RunRecord) -> tuple[PretrainedModel, ...]:
    licences = recorded_licences(record)
    return (licences.base_models or ()) if licences else ()


def _splits(record: RunRecord, report: object) -> dict[str, Node]:
    """Return digest and part sizes of each split manifest; sizes are known of those that the evaluation read."""
    known = facts_of_note(report.notes.get(SPLITS_NOTE) if isinstance(report, MetricReport) else None)
    facts: dict[str, Node] = {}
    for reference, value in {**record.splits, **{name: one.digest for name, one in known.items()}}.items():
        sizes = known[reference].parts if reference in known else {}
        text = ", ".join(f"{count} {part or 'without a part'}" for part, count in sizes.items())
        facts[f"Split {reference}"] = group(_full_digest(value), f" ({text})" if text else "")
    return facts or {"Split": "not recorded"}


def _full_digest(value: str) -> Markup:
    return element("code", value, class_="whole digest")


def _model_digest(record: RunRecord) -> str:
    step_name, _, output = str(record.pipeline.get("model", "")).rpartition(".")
    step = record.step(step_name)
    return str(step.outputs.get(output, "")) if step else ""


def _environment(record: RunRecord) -> Markup:
    if not record.environment:
        return missing_note("the run record contains no environment.")
    return facts_list({name: code(value) for name, value in record.environment.items()})


def _steps(record: RunRecord) -> Markup:
    if not record.steps:
        return missing_note("no step was recorded.")
    if len(record.steps) > SHOWN_STEPS:
        listing = "\n".join(f"{step.name}  {step.key[:_SHORT_KEY]}" for step in record.steps)
        note = element("p", muted("Whole keys, inputs and outputs: "), element("a", "run.json", href="run.json"))
        return group(details(f"Keys of {len(record.steps)} steps", element("pre", listing)), note)
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
