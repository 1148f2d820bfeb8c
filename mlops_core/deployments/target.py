"""What an engine provides so that models can be deployed on it: `DeploymentTarget`.

A runner plugin returns one from `RunnerPlugin.deployment_target` and lists `Ability.DEPLOY`. The order of the calls,
the ledger, approvals, the deployment test and the exit codes are core's (`mlops_core.deployments.driver`); a target
only does what it is asked, and says what it sees.

Every method is idempotent: the process that calls it may be killed at any moment, and calls it again when it resumes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from mlops_core.deployments.plan import DeploymentPlan, ModelReference
    from mlops_core.deployments.states import EndpointStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthlyCost:
    """What an endpoint costs in a month of 730 hours.

    Attributes:
        usd: US dollars; None where a price is not known, with which a limit of the cost refuses it.
        basis: of what, for people, such as ``2 machines of 4 cores``.
        max_usd: with the most machines to which it scales; None where it does not scale or a price is not known.
    """

    usd: float | None
    basis: str = ""
    max_usd: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointRequest:
    """A request to an endpoint.

    Attributes:
        body: what is sent.
        content_type: its media type.
        accept: media type of the answer.
    """

    body: bytes
    content_type: str
    accept: str = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointAnswer:
    """What the model answered.

    Attributes:
        status: HTTP status of the model's server, not that of an engine's gateway.
        body: the answer; for an error, its text.
        content_type: its media type.
        duration_s: as the caller sees it.
        configuration: name of the plan that answered, where the engine says; empty where it does not.
    """

    status: int
    body: bytes
    content_type: str = "application/json"
    duration_s: float = 0.0
    configuration: str = ""


class DeploymentTarget(Protocol):
    """The endpoints of one engine.

    Attributes:
        name: that of the runner.
    """

    name: str

    def find_model(self, use_case: str, wanted: str | None) -> ModelReference | None:
        """Return a version as the engine's own model registry has it, with its approval as it is now.

        Called before a deployment begins, and again directly before production changes.

        Args:
            use_case: name of the use case.
            wanted: number of the version or an address at the engine; None for the newest that is not rejected.

        Returns:
            None where the engine has no registry, or it does not have this version: the workspace decides alone. Where
            it has, both must have approved a version that goes to production.

        Raises:
            UsageError: the version was deleted.
        """

    def faults(self, plan: DeploymentPlan) -> tuple[str, ...]:
        """Return what hinders a deployment, one line each, before anything is created; empty for nothing.

        Names that are too long, settings that the engine lacks (by name: nothing is ignored), a version that cannot be
        served, alarms that do not exist or fire already, missing rights.
        """

    def monthly_cost(self, plan: DeploymentPlan) -> MonthlyCost:
        """Return what the endpoint would cost."""

    def status(self, endpoint: str) -> EndpointStatus:
        """Return what the endpoint is doing; `EndpointPhase.ABSENT` where there is none. Changes nothing."""

    def begin(self, plan: DeploymentPlan, *, at_once: bool = False) -> EndpointStatus:
        """Begin to deploy a plan: create what is missing, re-use what exists under the plan's names, return at once.

        Nothing happens where the plan is in service or under way. The old configuration is kept, for a rollback. The
        status that is returned, and that of `status` afterwards, is not settled until the engine has decided.

        Args:
            plan: what is deployed.
            at_once: move all traffic at once, whatever the settings say, and do not bake: a person rolls back.

        Raises:
            RunnerError: the engine refuses, or another change of the endpoint is under way.
        """

    def advance(self, plan: DeploymentPlan) -> EndpointStatus:
        """Do what is due of a deployment that was begun, and return where it is, within seconds.

        Called every few seconds until the status is settled. An engine that shifts traffic and watches alarms by itself
        only looks; on another one, this moves traffic, reads alarms, and begins to roll back where one fires. It must
        not begin again what was rolled back.

        Raises:
            RunnerError: the engine cannot be reached, or the endpoint is gone.
        """

    def cancel(self, plan: DeploymentPlan, *, reason: str) -> EndpointStatus:
        """Bring the old configuration back while `plan` is under way; `advance` follows until the status is settled."""

    def invoke(self, endpoint: str, request: EndpointRequest, *, timeout_s: float) -> EndpointAnswer:
        """Send a request to an endpoint and return the answer, also one that is an error of the model.

        Raises:
            RunnerError: the endpoint does not exist, or did not answer in time.
        """

    def delete(self, endpoint: str) -> EndpointStatus:
        """Delete an endpoint with what was created for it alone; repeat until it is `EndpointPhase.ABSENT`."""
