"""The effective configuration of the run: parameters and ``user_config.yaml``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core.report.kit import Markup, Node, PageSection, code, data_table, element, group, missing_note, muted

if TYPE_CHECKING:
    from mlops_core.report.evidence import Evidence
    from mlops_core.workspace.records import RunRecord

_LIMIT = 200_000


def configuration_section(evidence: Evidence) -> PageSection:
    """Return the parameters and the effective configuration."""
    record = evidence.record
    return PageSection(
        anchor="configuration",
        title="Configuration",
        lead="Effective values, including defaults and overrides. Secrets are omitted.",
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
    return data_table("Pipeline parameters", ("Parameter", "Value", "Default"), rows)


def _default(value: object, default: object) -> Node:
    return element("code", str(default), class_="muted" if value == default else None)


def _config(record: RunRecord) -> Markup:
    if not record.config.strip():
        return missing_note("the run record contains no configuration.")
    text = record.config
    if len(text) > _LIMIT:
        more = len(text) - _LIMIT
        text = f"{text[:_LIMIT]}\n# ... {more} more characters: mlops runs show --json"
    return group(
        element("h3", code("user_config.yaml")),
        element("pre", text, class_="config", tabindex=0, aria_label="Effective configuration"),
    )
