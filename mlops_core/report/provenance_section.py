"""The configuration as used, and everything by which the run can be checked again: digests, environment, step keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core.metrics import MetricReport
from mlops_core.quantities import format_size
from mlops_core.report.blocks import PageSection, code, data_table, details, digest, facts_list, missing_note, muted
from mlops_core.report.markup import Markup, Node, element, group
from mlops_core.steps.execution import TEST_SET_NOTE

if TYPE_CHECKING:
    from mlops_core.report.evidence import Evidence
    from mlops_core.workspace.records import RunRecord, StepRecord

_CONFIG_LIMIT = 200_000
_DETAILED_STEPS = 60
"""Of a pipeline with more steps only the keys are listed, not what each is made of."""


def configuration_section(evidence: Evidence) -> PageSection:
    """Return the parameters and the configuration as used."""
    record = evidence.record
    return PageSection(
        anchor="configuration",
        title="Configuration",
        lead="As used, with defaults and overrides; secrets are left out.",
        body=group(_parameters(record), _config(record)),
    )


def _parameters(record: RunRecord) -> Markup:
    if not record.parameters:
        return element("p", muted("The pipeline has no parameters."))
    defaults = {
        parameter.get("name"): parameter.get("default")
        for parameter in record.pipeline.get("parameters", ())
        if isinstance(parameter, dict)
    }
    rows: list[tuple[Node, ...]] = [
        (code(name), code(str(value)), _default(value, defaults.get(name))) for name, value in record.parameters.items()
    ]
    return data_table("Parameters of the run", ("Parameter", "Value", "Default"), rows)


def _default(value: object, default: object) -> Node:
    return muted("the default") if value == default else code(str(default))


def _config(record: RunRecord) -> Markup:
    if not record.config.strip():
        return missing_note("the record holds no configuration.")
    text = record.config
    if len(text) > _CONFIG_LIMIT:
        more = len(text) - _CONFIG_LIMIT
        text = f"{text[:_CONFIG_LIMIT]}\n# ... {more} more characters: mlops runs show --json"
    return group(
        element("h3", "user_config.yaml, as used"),
        element("pre", text, class_="config", tabindex=0, aria_label="Configuration as used"),
    )


def provenance_section(evidence: Evidence) -> PageSection:
    """Return digests, environment and step keys."""
    return PageSection(
        anchor="provenance",
        title="Provenance",
        lead="Equal keys and digests mean equal content.",
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
    facts: dict[str, Node] = {"use case": code(f"{record.use_case} ({record.plugin})"), "runner": code(record.runner)}
    facts["seed"] = code(str(record.seed))
    data = record.dataset
    facts["data"] = code(data.name) if data else "no data were read"
    if data:
        facts["data digest"] = _whole(data.digest)
        facts["data size"] = f"{data.files} files, {format_size(data.size_bytes)}"
        facts["data licence"] = data.licence or "not stated"
        facts["data read from"] = code(data.path)
    test_set = report.notes.get(TEST_SET_NOTE) if isinstance(report, MetricReport) else None
    facts["test set digest"] = _whole(str(test_set)) if test_set else "not recorded"
    facts["model digest"] = _whole(_model_digest(record)) if _model_digest(record) else "no model"
    return group(element("h3", "Data and model"), facts_list(facts, class_="wide"))


def _whole(value: str) -> Markup:
    return element("code", value, class_="whole digest")


def _model_digest(record: RunRecord) -> str:
    step_name, _, output = str(record.pipeline.get("model", "")).partition(".")
    step = record.step(step_name)
    return str(step.outputs.get(output, "")) if step else ""


def _environment(record: RunRecord) -> Markup:
    if not record.environment:
        return missing_note("the record holds no environment.")
    return facts_list({name: code(value) for name, value in record.environment.items()})


def _steps(record: RunRecord) -> Markup:
    if not record.steps:
        return missing_note("no step was recorded.")
    is_detailed = len(record.steps) <= _DETAILED_STEPS
    rows: list[tuple[Node, ...]] = [
        (code(step.name), digest(step.key), _pairs(step.inputs), _pairs(step.outputs)) for step in record.steps
    ]
    table = data_table("The key of each step, and what it read and wrote", ("Step", "Key", "Inputs", "Outputs"), rows)
    return group(table, *(map(_components, record.steps) if is_detailed else ()))


def _pairs(digests: object) -> Node:
    if not isinstance(digests, dict) or not digests:
        return muted("-")
    return group(*(element("div", name, " ", digest(value)) for name, value in digests.items()))


def _components(step: StepRecord) -> Markup | None:
    if not step.key_components:
        return None
    facts: dict[str, Node] = {
        name: element("code", value, class_="whole") for name, value in step.key_components.items()
    }
    return details(
        group("What the key of ", code(step.name), f" is made of ({len(facts)})"), facts_list(facts, class_="wide")
    )
