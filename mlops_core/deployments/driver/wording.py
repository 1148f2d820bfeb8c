"""How messages show the state of an endpoint, and the command that deploys a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlops_core.deployments.plan import DeploymentPlan
    from mlops_core.deployments.states import EndpointStatus


def in_service_note(status: EndpointStatus) -> str:
    """Return that an endpoint answers with a deployment, and where."""
    where = f" at {status.address}" if status.address else ""
    return f"the endpoint answers with it{where}{f'; {status.note}' if status.note else ''}"


def shown_status(status: EndpointStatus) -> str:
    """Return the state of an endpoint as messages show it."""
    configuration = f" with {status.configuration}" if status.configuration else ""
    return f"{status.phase}{configuration}{f' ({status.reason})' if status.reason else ''}"


def deploy_command(plan: DeploymentPlan) -> str:
    """Return the command that deploys a plan, or resumes its deployment."""
    return f"mlops deploy -u {plan.model.use_case} --to {plan.stage} --model {plan.model.version}"
