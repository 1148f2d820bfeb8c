"""How the states of runs, steps and models are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_core.report.kit import BadgeKind, Markup, badge, element
from mlops_core.workspace.model_versions import ApprovalStatus
from mlops_core.workspace.records import RunStatus, StepStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

RUN_KINDS: Mapping[str, BadgeKind] = {
    RunStatus.ACCEPTED: "good",
    RunStatus.REJECTED: "bad",
    RunStatus.FAILED: "bad",
    RunStatus.UNDECIDED: "warn",
    RunStatus.STOPPED: "warn",
    RunStatus.RUNNING: "reused",
    RunStatus.PARTIAL: "plain",
    "damaged": "bad",
}
STEP_KINDS: Mapping[str, BadgeKind] = {
    StepStatus.DONE: "good",
    StepStatus.REUSED: "reused",
    StepStatus.FAILED: "bad",
    StepStatus.STOPPED: "warn",
}
APPROVALS: Mapping[str, tuple[str, BadgeKind]] = {
    ApprovalStatus.APPROVED: ("approved", "good"),
    ApprovalStatus.REJECTED: ("rejected", "bad"),
    ApprovalStatus.PENDING: ("pending approval", "warn"),
}


def run_badge(status: str) -> Markup:
    """Return the status of a run."""
    return badge(str(status), RUN_KINDS.get(status, "plain"))


def step_badge(status: str) -> Markup:
    """Return the status of a step."""
    return badge(str(status), STEP_KINDS.get(status, "plain"))


def approval_badge(status: str) -> Markup:
    """Return the approval of a model version."""
    return badge(*APPROVALS.get(status, (str(status) or "unknown", "plain")))


def moment(text: str) -> Markup:
    """Return a time of a record to the second, in UTC."""
    return element("time", text[:19].replace("T", " "), datetime=text)
