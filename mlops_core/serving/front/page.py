"""The page of a server at ``/``: which model it serves, what the gate said about it, and a form that tries a file.

The same facts are a JSON document for a request that does not accept HTML.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_core.quantities import format_size
from mlops_core.report.kit import (
    BadgeKind,
    Markup,
    Node,
    PageSection,
    badge,
    code,
    data_table,
    element,
    facts_list,
    group,
    missing_note,
    render_page,
)
from mlops_core.serving.front.drift_section import drift_section

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlops_core.serving.models import ServedModel
    from mlops_core.serving.protocols import ServiceFacts
    from mlops_core.serving.watch.watching import DriftReport
    from mlops_core.serving.workers.pool import LoadedModel

_ASSETS = Path(__file__).parent / "assets"
_APPROVALS: Mapping[str, tuple[str, BadgeKind]] = {
    "Approved": ("approved", "good"),
    "Rejected": ("rejected", "bad"),
    "PendingManualApproval": ("not approved yet", "warn"),
}
_OUTCOMES: Mapping[str, tuple[str, BadgeKind]] = {
    "accepted": ("accepted by the gate", "good"),
    "rejected": ("rejected by the gate", "bad"),
}
_UNDECIDED: tuple[str, BadgeKind] = ("not decided by the gate", "warn")
_CLAUSES: Mapping[str, tuple[str, BadgeKind]] = {"accepted": ("passed", "good"), "rejected": ("failed", "bad")}


def model_document(
    model: ServedModel, loaded: LoadedModel | None, facts: ServiceFacts, *, drift: DriftReport | None = None
) -> dict[str, Any]:
    """Return what is known about the model and the server as JSON types."""
    return {
        "use_case": model.use_case,
        "model": model.label,
        "is_ready": loaded is not None,
        "classes": list(loaded.classes) if loaded else [],
        "content_types": [each.media_type for each in facts.content_types],
        "max_body_bytes": facts.max_body_bytes,
        "workers": facts.workers,
        **{name: model.facts[name] for name in ("version", "status", "run_id", "metrics") if name in model.facts},
        "drift": drift.to_json() if drift else None,
    }


def model_page(
    model: ServedModel,
    loaded: LoadedModel | None,
    facts: ServiceFacts,
    *,
    drift: DriftReport | None = None,
    unwatched: str = "",
) -> str:
    """Return the page as HTML.

    Args:
        model: that is served.
        loaded: what the workers report; None until one is ready.
        facts: about the server.
        drift: what the drift detector says; None without one.
        unwatched: why there is none.
    """
    sections = [
        PageSection(anchor="try", title="Try a file", lead=_try_lead(facts), body=_form(facts)),
        drift_section(drift, unwatched=unwatched),
        PageSection(anchor="model", title="Model", body=_model_facts(model, loaded)),
        PageSection(anchor="verdict", title="Verdict", body=_verdict(model.facts.get("verdict"))),
    ]
    return render_page(
        title=f"{model} - mlops serve",
        brand="serve",
        header=_header(model, drift),
        sections=sections,
        stylesheet=_asset("page.css"),
        served_script=_asset("page.js"),
    )


def _header(model: ServedModel, drift: DriftReport | None) -> Markup:
    badges: list[Markup] = []
    status = str(model.facts.get("status"))
    if status in _APPROVALS:
        badges.append(badge(*_APPROVALS[status]))
    if model.facts.get("is_generated_data"):
        badges.append(badge("trained on generated data", "warn"))
    if drift is not None and drift.alarms:
        badges.append(badge(f"drift alarm on {drift.alarms[0].raised_at[:10]}", "warn"))
    line = group(*(group(each, " ") for each in badges)) if badges else "A model that is not in a registry."
    return element(
        "header",
        element("p", "Served model", class_="eyebrow"),
        element("h1", str(model)),
        element("p", line, class_="outcome"),
        class_="page-header",
    )


def _try_lead(facts: ServiceFacts) -> str:
    suffixes = ", ".join(dict.fromkeys(each.suffix for each in facts.content_types)) or "any file"
    return f"Accepted: {suffixes}; up to {format_size(facts.max_body_bytes)}."


def _form(facts: ServiceFacts) -> Markup:
    types: dict[str, str] = {}
    for each in facts.content_types:
        types.setdefault(each.suffix, each.media_type)
    form = element(
        "form",
        element("input", type="file", name="file", required=True, aria_label="File to predict"),
        element("button", "Predict", type="submit"),
        id="try-form",
        data_types=json.dumps(types),
    )
    return group(form, element("div", id="try-result", role="status", aria_live="polite"))


def _model_facts(model: ServedModel, loaded: LoadedModel | None) -> Markup:
    known = model.facts
    pairs: dict[str, Node] = {"Use case": model.use_case, "Model": model.label}
    names = {"run_id": "Run", "plugin": "Plugin", "dataset": "Data set", "created": "Registered"}
    pairs |= {label: str(known[name]) for name, label in names.items() if known.get(name)}
    if known.get("aliases"):
        pairs["Aliases"] = ", ".join(map(str, known["aliases"]))
    pairs["Classes"] = _classes(loaded)
    metrics = known.get("metrics") or {}
    if not metrics:
        return facts_list(pairs, class_="wide")
    rows = [(name, f"{value:.4g}") for name, value in metrics.items()]
    return group(facts_list(pairs, class_="wide"), data_table("Metrics on the test set", ("Metric", "Value"), rows))


def _classes(loaded: LoadedModel | None) -> str:
    if loaded is None:
        return "the model is being loaded"
    return ", ".join(loaded.classes) or "none: it predicts a number"


def _verdict(verdict: Mapping[str, Any] | None) -> Markup:
    if not verdict:
        return missing_note("the run that made the model is not in this workspace")
    rows = [
        (
            code(clause["clause"]),
            badge(*_CLAUSES.get(clause["outcome"], ("not decided", "warn"))),
            _number(clause["value"]),
            _number(clause["threshold"]),
        )
        for clause in verdict["clauses"]
    ]
    outcome = badge(*_OUTCOMES.get(verdict["outcome"], _UNDECIDED))
    table = data_table("Clauses of the gate", ("Clause", "Result", "Value", "Threshold"), rows)
    return group(element("p", outcome), table)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


@functools.cache
def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")
